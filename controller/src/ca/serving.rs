//! The serving certificate in use.

use super::root::{CaError, Root};
use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A certificate that can be replaced while it is served: new handshakes use the new one.
pub struct ServingCertificate {
    names: Vec<String>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

struct Current(ArcSwap<CertifiedKey>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Asks for a certificate and takes any, and none: a data plane need not have one, and what one is worth is judged anew
/// at each call that is made by it. Who shows one must hold its key.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl ServingCertificate {
    /// For these DNS names, signed by `root`.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(root: &Root, names: Vec<String>, now: SystemTime) -> Result<Self, CaError> {
        let current = Arc::new(Current(ArcSwap::from_pointee(root.sign(&names, now)?)));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let anybody = Arc::new(Anybody(provider.signature_verification_algorithms));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| CaError::Read(format!("TLS 1.3 is not there: {error}")))?;
        let mut config = builder.with_client_cert_verifier(anybody).with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { names, current, config: Arc::new(config) })
    }

    /// Replaces the certificate by a new one.
    ///
    /// # Errors
    /// When it can't be made; the one before stays.
    pub fn renew(&self, root: &Root, now: SystemTime) -> Result<(), CaError> {
        self.current.0.store(Arc::new(root.sign(&self.names, now)?));
        Ok(())
    }

    /// For accepting connections of other protocols than gRPC, by their ALPN names.
    pub fn config_for(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        Arc::new(config)
    }

    /// For accepting connections.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}
