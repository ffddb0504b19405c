//! TLS of an echo, and what is told of it.

use anyhow::{Context as _, Result};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What the echo saw of a handshake.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSeen {
    /// The name that was asked for (SNI).
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    /// How many certificates the client showed, its own and those above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificates: Option<usize>,
}

impl TlsSeen {
    pub(super) fn of(session: &rustls::ServerConnection) -> Self {
        Self {
            server_name: session.server_name().map(str::to_owned),
            client_certificates: session.peer_certificates().map(<[_]>::len),
        }
    }
}

/// TLS with `tls.crt` and `tls.key` of a folder. Where it has `clients.crt`, every client must show a certificate of these
/// authorities.
pub(super) fn acceptor(folder: &Path) -> Result<TlsAcceptor> {
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let named = |path: &Path| format!("{} can't be used; see tls= of --listen", path.display());
    let read =
        CertificateDer::pem_file_iter(&chain).and_then(|all| all.collect::<std::result::Result<Vec<_>, _>>());
    let certificates = read.with_context(|| named(&chain))?;
    let private = PrivateKeyDer::from_pem_file(&key).with_context(|| named(&key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients(&folder.join("clients.crt"))?)
        .with_single_cert(certificates, private)
        .with_context(|| named(&chain))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What is asked of clients.
fn clients(path: &Path) -> Result<Arc<dyn ClientCertVerifier>> {
    if !path.exists() {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    let pem =
        CertificateDer::pem_file_iter(path).with_context(|| format!("{} can't be read", path.display()))?;
    roots.add_parsable_certificates(pem.filter_map(Result::ok));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.with_context(|| format!("{} holds no authority that can be used", path.display()))
}
