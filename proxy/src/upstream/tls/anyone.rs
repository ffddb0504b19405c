//! No verification of who answers, where a user said so (`insecureSkipVerify` of a DestinationRule). That the endpoint
//! holds the key of the certificate that it shows is checked all the same.

use crate::tls::checked_signatures;
use rustls::Error;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Believes whoever answers.
#[derive(Debug)]
pub struct Anyone {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anyone {
    /// With what a provider can check signatures.
    pub fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    checked_signatures!();
}
