//! CertificateIssuer: our own kind, an ACME authority (RFC 8555) that certificates of listeners are ordered from. The
//! CRD in `yaml/` is generated from this file (`UPDATE_CRDS=1 cargo test -p sluice-crds`).

use crate::issuer_solvers::{NamespacesSpec, SecretName, SolverSpec};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// An authority that certificates are ordered from.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "CertificateIssuer",
    plural = "certificateissuers",
    singular = "certificateissuer",
    namespaced,
    status = "CertificateIssuerStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "An ACME authority that certificates of listeners are ordered from.",
    printcolumn = r#"{"name": "Directory", "type": "string", "jsonPath": ".spec.directory"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateIssuerSpec {
    /// URL of the authority's directory, https.
    #[schemars(length(min = 1, max = 2_048))]
    pub directory: String,
    /// Mail addresses that the authority may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub contacts: Vec<String>,
    /// The account that exists at the authority already, where it asks for one (RFC 8555 §7.3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<AccountBindingSpec>,
    /// Kind of the certificates' keys. Default: ECDSAP256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_type: Option<KeyTypeSpec>,
    /// How names are proven: for each name the first that fits. Default: HTTP01, then TLSALPN01.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub solvers: Vec<SolverSpec>,
    /// PEM certificates that vouch for the directory beside the system's, for a private authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub ca_bundle: Option<String>,
    /// The same from the key ca.crt of a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<ConfigMapName>,
    /// Profile of the certificates, by a name that the authority knows. Default: the authority's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub profile: Option<String>,
    /// Limits of ours, below the authority's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<BudgetsSpec>,
    /// Whether and how we look for our own challenge before the authority does. Default: we do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightSpec>,
    /// DNS servers to ask, ADDRESS or ADDRESS:PORT. Default: the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub resolvers: Vec<String>,
    /// Lets names be ordered when a client first asks for them, at listeners with a wildcard or without hostname. No data
    /// plane asks yet: without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemandSpec>,
    /// Gateways and ListenerSets of which namespaces may name this issuer. Default: those of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<NamespacesSpec>,
    /// Who may order what: a name is ordered only when one of these lets its listener's namespace have it. Default:
    /// every name that a listener has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub domains: Vec<DomainRuleSpec>,
}

/// How an issuer stands.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CertificateIssuerStatus {
    /// `Accepted`: the object can be used. `Ready`: it has an account at the authority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<IssuerCondition>,
}

/// A condition as Kubernetes has them.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerCondition {
    /// For example Accepted.
    #[serde(rename = "type")]
    pub r#type: String,
    /// True or False.
    pub status: String,
    /// One word for programs.
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// When the status changed.
    pub last_transition_time: String,
    /// Generation of the object that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A ConfigMap of the issuer's namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigMapName {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An account that exists at the authority already.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountBindingSpec {
    /// Key identifier, from the authority.
    #[schemars(length(min = 1, max = 512))]
    pub key_id: String,
    /// Secret of this namespace whose key `eab-key` has the HMAC key, base64url as the authority hands it out.
    pub secret_ref: SecretName,
}

/// Kind and size of a certificate's key.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyTypeSpec {
    /// ECDSA on P-256.
    #[default]
    #[serde(rename = "ECDSAP256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ECDSAP384")]
    EcdsaP384,
    /// RSA of 2048 bits.
    #[serde(rename = "RSA2048")]
    Rsa2048,
    /// RSA of 3072 bits.
    #[serde(rename = "RSA3072")]
    Rsa3072,
    /// RSA of 4096 bits.
    #[serde(rename = "RSA4096")]
    Rsa4096,
}

/// Limits of orders; they outlive a restart.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetsSpec {
    /// New certificates for each registered domain (`example.co.uk`) within domainWindow; renewals don't count.
    /// Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_domain: Option<i64>,
    /// Default 168h, a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub domain_window: Option<String>,
    /// Orders of the account, renewals too, within accountWindow. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_account: Option<i64>,
    /// Default 3h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub account_window: Option<String>,
}

/// The look for our own challenge before an order.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightSpec {
    /// Off where the gateway can't reach its own public address. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Port of HTTP-01. Default 80, as at every public authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub http_port: Option<i64>,
    /// Port of TLS-ALPN-01. Default 443, as at every public authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub tls_port: Option<i64>,
    /// Port of the authoritative DNS servers, which are asked whether they show a TXT record. Default 53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub dns_port: Option<i64>,
}

/// Orders for names that clients ask for.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnDemandSpec {
    /// Asked with `?domain=NAME` before each order; an answer of 200 allows it, any other forbids it.
    #[schemars(length(min = 1, max = 2_048))]
    pub allow: String,
    /// Names that may hold a certificate at one time. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_names: Option<i64>,
    /// Orders within window, whoever asks. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_window: Option<i64>,
    /// Default 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub window: Option<String>,
    /// How long a yes of the endpoint holds. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub allowed_for: Option<String>,
    /// How long a no of the endpoint holds. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub refused_for: Option<String>,
}

/// Lets listeners of some namespaces have some names.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DomainRuleSpec {
    /// Namespaces of the Gateways and ListenerSets. Default: the issuer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespacesSpec>,
    /// Names: `shop.example.com` for this name alone, `*.example.com` for every name below and the wildcard itself.
    #[schemars(length(min = 1, max = 256))]
    pub names: Vec<String>,
}

/// The CustomResourceDefinition of CertificateIssuer, generated from the types above.
pub const ISSUER_CRD_YAML: &str = include_str!("../yaml/certificateissuers.sluice.dev.yaml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{CertificateIssuer, ISSUER_CRD_YAML};
    use kube::CustomResourceExt;

    /// `UPDATE_CRDS=1 cargo test -p sluice-crds` writes the file anew.
    #[test]
    fn the_crd_in_yaml_is_that_of_the_types() {
        let crd = serde_json::to_value(CertificateIssuer::crd()).unwrap();
        let text = format!(
            "# Generated from crds/src/issuer.rs by UPDATE_CRDS=1 cargo test -p sluice-crds\n{}",
            serde_saphyr::to_string(&crd).unwrap()
        );
        if std::env::var_os("UPDATE_CRDS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/yaml/certificateissuers.sluice.dev.yaml");
            std::fs::write(path, text).unwrap();
            return;
        }
        assert!(text == ISSUER_CRD_YAML, "stale: run UPDATE_CRDS=1 cargo test -p sluice-crds");
        let read: serde_json::Value = serde_saphyr::from_str(ISSUER_CRD_YAML).unwrap();
        assert_eq!(read, crd);
    }
}
