//! TLS-ALPN-01 (RFC 8737): a handshake with a certificate that only proves who answers for the name.

use crate::tls::TlsError;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sluice_ir::{CertificateKey, SecretBytes};
use std::sync::Arc;

/// The protocol that a certificate authority offers, alone.
pub const ALPN: &[u8] = b"acme-tls/1";

/// Whether the client offers `acme-tls/1` and nothing beside it (RFC 8737 §3).
pub(crate) fn is_asked(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else { return false };
    offered.next() == Some(ALPN) && offered.next().is_none()
}

/// A configuration for that one handshake: no session is worth resuming.
pub(super) fn config(
    certificate: &SecretBytes,
    private_key: &SecretBytes,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unread = |reason: String| TlsError::Chain { key: CertificateKey::new("challenge"), reason };
    let certificate =
        CertificateDer::from_pem_slice(certificate.expose()).map_err(|error| unread(error.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_slice(private_key.expose()).map_err(|error| unread(error.to_string()))?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| unread(error.to_string()))?;
    // Whether they fit can't be asked: acmeIdentifier is critical and known to no verifier.
    let certified = CertifiedKey::new(vec![certificate], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Config { source })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
