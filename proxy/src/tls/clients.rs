//! Certificates of clients: who is asked for one, and what becomes of those who show none that is valid (GEP-91).

use super::signatures::checked_signatures;
use super::{TlsError, roots};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error};
use rustls_pki_types::{CertificateDer, UnixTime};
use sluice_ir::ClientValidation;
use std::sync::Arc;

/// Lets in who shows a valid certificate.
pub(super) fn strict(
    validation: &ClientValidation,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = roots(validation.authorities.expose()).map_err(|reason| TlsError::Authorities { reason })?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| TlsError::Authorities { reason: error.to_string() })
}

/// Lets everybody in, and asks for a certificate all the same.
pub(super) fn anybody(
    validation: &ClientValidation,
    provider: &Arc<CryptoProvider>,
) -> Arc<dyn ClientCertVerifier> {
    let hints = roots(validation.authorities.expose()).map(|roots| roots.subjects()).unwrap_or_default();
    Arc::new(Anybody { hints, algorithms: provider.signature_verification_algorithms })
}

/// Asks for a certificate and takes any, and none. Who shows one must hold its key all the same.
#[derive(Debug)]
struct Anybody {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    checked_signatures!();
}
