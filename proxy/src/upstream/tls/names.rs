//! Verification by the names that a policy lists, in place of the server name.

use crate::tls::checked_signatures;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sluice_ir::SubjectName;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;

/// Accepts a certificate that leads to the authorities and carries one of the names.
#[derive(Debug)]
pub(super) struct ByName {
    names: Vec<SubjectName>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Checks chains with lists of revoked certificates, which the function for chains alone does not take.
    revocations: Option<Arc<WebPkiServerVerifier>>,
}

impl ByName {
    /// At least one name: without any, no certificate is accepted.
    pub(super) fn new(names: Vec<SubjectName>, roots: Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { names, roots, algorithms, revocations: None }
    }

    /// The same, with the lists that `verifier` has.
    pub(super) fn with_revocations(self, verifier: Arc<WebPkiServerVerifier>) -> Self {
        Self { revocations: Some(verifier), ..self }
    }

    fn names_one_of(&self, leaf: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> bool {
        self.names.iter().any(|name| match name {
            SubjectName::Dns(name) if !name.starts_with("*.") => ServerName::try_from(name.as_str())
                .is_ok_and(|name| verify_server_name(parsed, &name).is_ok()),
            SubjectName::Dns(_) | SubjectName::Uri(_) => carries(leaf, name),
        })
    }
}

/// Whether a subject alternative name of the certificate is this one. webpki compares neither URIs nor wildcards that
/// we ask for. A certificate that can't be read, or that has the extension twice, carries nothing.
fn carries(leaf: &CertificateDer<'_>, wanted: &SubjectName) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match (name, wanted) {
        (GeneralName::URI(uri), SubjectName::Uri(wanted)) => uri == wanted,
        (GeneralName::DNSName(name), SubjectName::Dns(wanted)) => within(name, wanted),
        _ => false,
    })
}

/// Whether a name is the wildcard itself or lies one label below it (RFC 9525 §6.3).
fn within(name: &str, wildcard: &str) -> bool {
    let Some(suffix) = wildcard.strip_prefix("*.") else { return false };
    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(suffix))
}

impl ServerCertVerifier for ByName {
    /// The server name that was sent says nothing here: only the listed names do (GEP-1897).
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if let Some(verifier) = &self.revocations {
            // It compares the name last: with a chain that is refused there is no word of the name.
            match verifier.verify_server_cert(leaf, intermediates, server_name, ocsp, now) {
                Ok(_)
                | Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        if self.names_one_of(leaf, &parsed) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    checked_signatures!();
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_wildcard_spans_one_label() {
        assert!(within("a.shop.example", "*.shop.example") && within("*.shop.example", "*.Shop.example"));
        for other in ["shop.example", "a.b.shop.example", ".shop.example", "a.example"] {
            assert!(!within(other, "*.shop.example"), "{other}");
        }
    }
}
