//! An authority of the mesh and what it issues.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_proxy::identity::Identity;
use sluice_xds::svid::Roots;
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The identity of a service account of namespace `shop`, which trusts these authorities.
    pub(crate) fn issue(&self, account: &str, roots: &[&Self]) -> Arc<Identity> {
        let (certificate, key) = self.sign(account);
        let roots: String = roots.iter().map(|it| it.0.pem()).collect();
        let roots = Arc::new(Roots::from_pem(roots.as_bytes()).unwrap());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(Identity::new(vec![certificate.der().clone()], key, roots, SystemTime::now()).unwrap())
    }

    /// The same as files: chain, key and roots.
    #[allow(dead_code)]
    pub(crate) fn issue_pem(&self, account: &str) -> (String, String, String) {
        let (certificate, key) = self.sign(account);
        (certificate.pem(), key.serialize_pem(), self.0.pem())
    }

    fn sign(&self, account: &str) -> (Certificate, KeyPair) {
        let id = format!("spiffe://cluster.local/ns/shop/sa/{account}");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str()).unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}
