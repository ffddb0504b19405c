//! The authorities of `tests/pki`, whose certificates stand in fixtures, and what they sign while a test runs.

use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::path::Path;

/// An authority of `tests/pki`.
pub struct Pki {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is asked to carry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Name of the authority: `first` or `second`.
    pub signed_by: String,
    /// DNS names.
    #[serde(default)]
    pub names: Vec<String>,
    /// Uniform resource identifiers, as SPIFFE IDs are.
    #[serde(default)]
    pub uris: Vec<String>,
}

impl Pki {
    /// The authority of this name.
    pub fn named(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pki");
        let read = |extension: &str| {
            let path = folder.join(format!("{name}.{extension}"));
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let certificate = read("crt");
        let key = KeyPair::from_pem(&read("key")).expect("a key of an authority");
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).expect("a certificate of an authority");
        Self { certificate, issuer }
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// Only this authority.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        roots.add(certificate).expect("a valid authority");
        roots
    }
}

impl Wish {
    /// The certificate with its key.
    pub fn issue(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let (certificate, key) = self.make();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (vec![certificate.der().clone()], key)
    }

    /// The same as PEM.
    pub fn pem(&self) -> (String, String) {
        let (certificate, key) = self.make();
        (certificate.pem(), key.serialize_pem())
    }

    fn make(&self) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(self.names.clone()).expect("valid names");
        let uris = self.uris.iter().map(|it| SanType::URI(it.as_str().try_into().expect("a valid URI")));
        params.subject_alt_names.extend(uris);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &Pki::named(&self.signed_by).issuer).expect("a certificate");
        (certificate, key)
    }
}
