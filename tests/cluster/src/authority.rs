//! An authority of workloads that a user brings, in the form of the Secret `cacerts`.

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use sluice_proxy::identity::Identity;
use std::collections::BTreeMap;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// An authority of a user: a root, and one below it that signs.
pub struct Authority {
    root: Ca,
    signer: Ca,
}

impl Authority {
    /// A new one; its name is told by the subjects of its certificates.
    pub fn new(name: &str) -> Self {
        let params = |part: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, format!("{name} {part}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let root = Ca::self_signed(params("root"), KeyPair::generate().unwrap()).unwrap();
        let signer = Ca::signed_by(params("signer"), KeyPair::generate().unwrap(), &root).unwrap();
        Self { root, signer }
    }

    /// The root, in PEM.
    pub fn root(&self) -> String {
        self.root.pem()
    }

    /// What signs, in PEM.
    pub fn chain(&self) -> String {
        self.signer.pem()
    }

    /// Its key.
    pub fn key(&self) -> String {
        self.signer.key().serialize_pem()
    }

    /// As Istio has it, with these roots.
    pub fn secret(&self, roots: &[&Self]) -> BTreeMap<String, ByteString> {
        let roots: String = roots.iter().map(|it| it.root()).collect();
        let entries = [
            ("ca-cert.pem", self.chain()),
            ("ca-key.pem", self.key()),
            ("cert-chain.pem", format!("{}{}", self.chain(), self.root())),
            ("root-cert.pem", roots),
        ];
        entries.into_iter().map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))).collect()
    }

    /// Whether it has signed the certificate of an identity.
    pub fn signed(&self, identity: &Identity) -> bool {
        identity.certified.cert.get(1).is_some_and(|it| it == self.signer.der())
    }
}
