//! Shakes hands as an authority does for TLS-ALPN-01 (RFC 8737 §3).

use super::{Seen, TIMEOUT, is_no_way};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Protocol of the challenge.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// Whether the gateway at this address answers with this certificate.
pub(super) async fn look(at: SocketAddr, host: &str, expected: &[u8]) -> Result<Seen, String> {
    let fault = |what: String| format!("TLS: {host} at {at} {what}; does the name lead to this gateway?");
    let stream = match tokio::time::timeout(TIMEOUT, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_no_way(&error) => return Ok(Seen::NoWay),
        Ok(Err(error)) => return Err(fault(format!("can't be reached: {error}"))),
        Err(_) => return Err(fault(format!("does not accept within {} s", TIMEOUT.as_secs()))),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(config(expected)?));
    match tokio::time::timeout(TIMEOUT, connector.connect(name, stream)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(PROTOCOL) => Ok(Seen::Ours),
        Ok(Ok(_)) => Err(fault("does not choose the protocol acme-tls/1".to_owned())),
        Ok(Err(error)) => Err(fault(format!("does not answer with the challenge's certificate: {error}"))),
        Err(_) => Err(fault(format!("does not shake hands within {} s", TIMEOUT.as_secs()))),
    }
}

fn config(expected: &[u8]) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Exactly { expected: expected.to_vec(), provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// Takes one certificate and no other: nobody signs the one of a challenge.
#[derive(Debug)]
struct Exactly {
    expected: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is offered".to_owned()))
    }

    /// With the bare key: the usual check refuses the certificate's critical extension, which it does not know.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        verify_tls13_signature_with_raw_key(
            message,
            &key,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
