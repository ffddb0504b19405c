//! A certificate of the engine as the Secret that listeners name and the translation reads.

use super::convert::secret_of;
use super::names::{ISSUED, ISSUED_LABEL, ISSUED_ON_DEMAND, ISSUER, ON_DEMAND};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_acme::{CertificateKey, Data};
use std::collections::BTreeMap;

/// The Secret of a certificate's record.
pub fn certificate(key: &CertificateKey, data: &Data) -> Secret {
    let reference = secret_of(key);
    let word = if is_on_demand(key) { ISSUED_ON_DEMAND } else { ISSUED };
    let bytes = |(name, text): (&String, &String)| (name.clone(), ByteString(text.clone().into_bytes()));
    Secret {
        metadata: ObjectMeta {
            namespace: Some(reference.namespace.to_string()),
            name: Some(reference.name.to_string()),
            labels: Some(BTreeMap::from([(ISSUED_LABEL.to_owned(), word.to_owned())])),
            annotations: Some(issuer(data).map(|it| (ISSUER.to_owned(), it)).into_iter().collect()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.0.iter().map(bytes).collect()),
        ..Secret::default()
    }
}

/// Whether a handshake asked for the certificate.
pub fn is_on_demand(key: &CertificateKey) -> bool {
    secret_of(key).name.starts_with(ON_DEMAND)
}

/// The issuer that a certificate's record names.
fn issuer(data: &Data) -> Option<String> {
    let about: serde_json::Value = serde_json::from_str(data.get("acme.json")?).ok()?;
    about.get("issuer")?.as_str().map(str::to_owned)
}
