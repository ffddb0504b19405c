//! Test certificates, Secrets that hold them, and TLS clients.

use crate::client::{Io, plain};
use crate::pki::Wish;
use crate::wait::soon;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
pub struct Issued {
    /// The leaf.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// A certificate for these names; `*.` makes a wildcard.
    pub fn issue(&self, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(CertificateParams::new(names).expect("valid names"))
    }

    /// The same with an RSA key, as old clients want it.
    pub fn issue_rsa(&self, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("valid names");
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        self.signed(params, &key)
    }

    /// A certificate of the test's own making.
    pub fn sign(&self, params: CertificateParams) -> Issued {
        self.signed(params, &KeyPair::generate().expect("a key"))
    }

    fn signed(&self, params: CertificateParams, key: &KeyPair) -> Issued {
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The authority's own certificate, for `curl --cacert`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that believes only this authority and offers these protocols.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a valid authority");
        with_alpn(builder(rustls::DEFAULT_VERSIONS).with_root_certificates(roots).with_no_client_auth(), alpn)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Issued {
    /// A Secret of type kubernetes.io/tls in the namespace `default`.
    pub fn secret(&self, name: &str) -> String {
        let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
        format!(
            "\n---\napiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: {name}}}\nstringData:\n  \
             tls.crt: |\n{}  tls.key: |\n{}",
            indent(&self.certificate),
            indent(&self.key)
        )
    }
}

/// A client that believes any certificate: the test looks at it itself.
pub fn trusting(alpn: &[&str]) -> ClientConfig {
    blind(Trusting::default(), alpn)
}

/// The same, also of a certificate that nobody could verify: that of a TLS-ALPN-01 challenge has a critical extension
/// which is known to no verifier (RFC 8737 §3), so that not even its signature can be looked at.
pub fn trusting_challenges(alpn: &[&str]) -> ClientConfig {
    blind(Trusting { ignores_signatures: true, ..Trusting::default() }, alpn)
}

fn blind(verifier: Trusting, alpn: &[&str]) -> ClientConfig {
    let config = builder(rustls::DEFAULT_VERSIONS).dangerous();
    with_alpn(config.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth(), alpn)
}

/// The same, with a certificate of its own if it is asked for one.
pub fn presenting(alpn: &[&str], certificate: &Wish) -> ClientConfig {
    let verifier = Arc::new(Trusting::default());
    let config = builder(rustls::DEFAULT_VERSIONS).dangerous().with_custom_certificate_verifier(verifier);
    let (chain, key) = certificate.issue();
    with_alpn(config.with_client_auth_cert(chain, key).expect("a certificate with its key"), alpn)
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("known versions")
}

fn with_alpn(mut config: ClientConfig, alpn: &[&str]) -> ClientConfig {
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Connects, sends this server name and shakes hands.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<Box<dyn Io>>> {
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(name.to_owned()).expect("a valid server name");
    soon("TLS handshake", connector.connect(name, plain(address).await)).await
}

#[derive(Debug)]
struct Trusting {
    provider: CryptoProvider,
    ignores_signatures: bool,
}

impl Default for Trusting {
    fn default() -> Self {
        Self { provider: aws_lc_rs::default_provider(), ignores_signatures: false }
    }
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.ignores_signatures {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.ignores_signatures {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A ClientHello that asks for this name, or for none.
pub fn hello(name: &str) -> Vec<u8> {
    // An address is no server name (RFC 6066 §3).
    let name = if name.is_empty() { "192.0.2.1" } else { name }.to_owned();
    let name = ServerName::try_from(name).expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(trusting(&[])), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}
