//! Certificates in PEM, one by one: bundles are taken apart at the door, so that nothing of what stands between them, a
//! private key least of all, is ever handed on.

use crate::ca::CaError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Characters of a line (RFC 7468 §2).
const LINE: usize = 64;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) der: CertificateDer<'static>,
    pub(super) pem: String,
}

impl Certificate {
    pub(super) fn new(der: CertificateDer<'static>) -> Self {
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        let text = STANDARD.encode(&der);
        let (lines, _) = text.as_bytes().as_chunks::<LINE>();
        for line in lines {
            pem.push_str(std::str::from_utf8(line).unwrap_or_default());
            pem.push('\n');
        }
        let rest = &text[lines.len() * LINE..];
        if !rest.is_empty() {
            pem.push_str(rest);
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        Self { der, pem }
    }

    /// All certificates of a text; other things in it are passed over.
    pub(super) fn all(text: &[u8]) -> Result<Vec<Self>, CaError> {
        let certificates = CertificateDer::pem_slice_iter(text).map(|it| it.map(Self::new));
        certificates
            .collect::<Result<_, _>>()
            .map_err(|error| CaError::Read(format!("the certificates can't be read: {error}")))
    }

    /// 16 hexadecimal digits of its SHA-256.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = String::with_capacity(16);
        for byte in Sha256::digest(&self.der).iter().take(8) {
            let _ = write!(hash, "{byte:02x}");
        }
        hash
    }
}

/// One after the other.
pub(super) fn joined<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    certificates.into_iter().map(|it| it.pem.as_str()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Certificate, joined};
    use crate::ca::Root;
    use std::time::SystemTime;

    #[test]
    fn a_bundle_is_taken_apart_and_put_together_without_what_stood_between() {
        let roots: Vec<Root> = (0..3).map(|_| Root::generate(SystemTime::now()).unwrap()).collect();
        let text: String =
            roots.iter().map(|it| format!("# a comment\n{}\n{}", it.key, it.certificate)).collect();
        let all = Certificate::all(text.as_bytes()).unwrap();
        assert_eq!(all.len(), 3);
        let joined = joined(&all);
        assert!(!joined.contains("PRIVATE") && !joined.contains('#'));
        assert_eq!(Certificate::all(joined.as_bytes()).unwrap(), all);
        assert!(
            all.iter()
                .zip(&roots)
                .all(|(it, root)| it.pem.trim() == root.certificate.replace("\r\n", "\n").trim())
        );
        assert_ne!(all[0].fingerprint(), all[1].fingerprint());
        assert!(Certificate::all(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").is_err());
    }
}
