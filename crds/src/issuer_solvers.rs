//! The parts of CertificateIssuer that say how names are proven, and which namespaces may come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One way to prove names.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SolverSpec {
    /// The way.
    #[serde(rename = "type")]
    pub r#type: SolverType,
    /// Exactly these names, a wildcard as `*.example.com`. Without names and zones the solver is for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub names: Vec<String>,
    /// These domains and everything below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub zones: Vec<String>,
    /// A DNS server that takes updates (RFC 2136). For DNS01, one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfc2136: Option<Rfc2136Spec>,
    /// A service of yours that sets records. For DNS01, one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSpec>,
}

/// The way of a solver.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SolverType {
    /// A path under http://NAME/.well-known/acme-challenge/ (RFC 8555 §8.3). Not for wildcards.
    #[default]
    #[serde(rename = "HTTP01")]
    Http01,
    /// A handshake for the protocol acme-tls/1 (RFC 8737). Not for wildcards.
    #[serde(rename = "TLSALPN01")]
    TlsAlpn01,
    /// A TXT record (RFC 8555 §8.4).
    #[serde(rename = "DNS01")]
    Dns01,
}

/// A DNS server that takes updates signed with TSIG (RFC 8945).
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rfc2136Spec {
    /// ADDRESS or ADDRESS:PORT; port 53 where there is none. It is spoken to over TCP.
    #[schemars(length(min = 1, max = 64))]
    pub server: String,
    /// The zone to update. Default: found by its SOA record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub zone: Option<String>,
    /// The key that updates are signed with.
    pub tsig: TsigSpec,
}

/// A TSIG key.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TsigSpec {
    /// Its name at the server.
    #[schemars(length(min = 1, max = 253))]
    pub key_name: String,
    /// Default: HMACSHA256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<TsigAlgorithmSpec>,
    /// Secret of this namespace whose key `tsig-key` has the key, base64.
    pub secret_ref: SecretName,
}

/// Algorithm of a TSIG key.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TsigAlgorithmSpec {
    /// hmac-sha256.
    #[default]
    #[serde(rename = "HMACSHA256")]
    HmacSha256,
    /// hmac-sha384.
    #[serde(rename = "HMACSHA384")]
    HmacSha384,
    /// hmac-sha512.
    #[serde(rename = "HMACSHA512")]
    HmacSha512,
}

/// A service that sets and removes TXT records.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSpec {
    /// Where to POST, https.
    #[schemars(length(min = 1, max = 2_048))]
    pub url: String,
    /// PEM certificates that vouch for it beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub ca_bundle: Option<String>,
    /// A header that it knows us by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<WebhookHeaderSpec>,
    /// The zone to tell it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub zone: Option<String>,
}

/// A header with a secret value.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookHeaderSpec {
    /// Its name: Authorization.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Secret of this namespace whose key `webhook-header` has the value.
    pub secret_ref: SecretName,
}

/// A Secret of the object's own namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretName {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Which namespaces.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamespacesSpec {
    /// Default: Same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces, with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Namespaces by a word.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromNamespaces {
    /// The issuer's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those with some labels.
    Selector,
}

/// Labels that are asked for; all must hold.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Label to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<NamespaceExpression>,
}

/// A condition on a label.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamespaceExpression {
    /// The label.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: String,
    /// Its values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
}
