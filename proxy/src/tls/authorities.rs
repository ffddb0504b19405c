//! Authorities from PEM, for verifying either side.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The certificates of a bundle. Those that can't vouch for others are left out; it is an error, told in words, when
/// none is left or the text is no PEM.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("no PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err("no certificate in it can be used".to_owned()),
        _ => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use super::roots;

    #[test]
    fn a_bundle_without_a_usable_certificate_is_an_error() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for bundle in ["", "no pem at all", broken, "-----BEGIN CERTIFICATE-----\n!\n"] {
            assert!(roots(bundle.as_bytes()).is_err(), "{bundle:?}");
        }
    }
}
