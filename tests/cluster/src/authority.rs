//! Authorities of workloads that users bring, in the Secret `cacerts`.

use crate::space::Space;
use crate::wait::eventually;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use sluice_controller::identity::BROUGHT;
use sluice_proxy::identity::Identity;
use std::collections::BTreeMap;

impl Space {
    /// Puts this into the Secret `cacerts` of a namespace.
    pub async fn bring(&self, namespace: &str, data: &BTreeMap<String, ByteString>) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        eventually("the Secret is written", async || {
            let found = secrets.get_opt(BROUGHT).await?;
            let metadata = ObjectMeta {
                name: Some(BROUGHT.to_owned()),
                resource_version: found.as_ref().and_then(|it| it.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            };
            let secret = Secret { metadata, data: Some(data.clone()), ..Secret::default() };
            match found {
                None => secrets.create(&PostParams::default(), &secret).await,
                Some(_) => secrets.replace(BROUGHT, &PostParams::default(), &secret).await,
            }
        })
        .await;
    }
}

type Ca = CertifiedIssuer<'static, KeyPair>;

/// An authority of a user: a root, and one below it that signs.
pub struct Authority {
    root: Ca,
    signer: Ca,
}

impl Authority {
    /// A new one.
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

    /// The same as its bytes.
    pub fn root_der(&self) -> &[u8] {
        self.root.der()
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
