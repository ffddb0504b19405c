//! `rateLimit.global` of a TrafficPolicy.

use crate::issuer_solvers::SecretName;
use crate::traffic_rate::RateRuleSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Limits that all data planes count together, in a Redis or Valkey server.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalRateLimitSpec {
    /// Asked in order, all of them in one round trip; the first that refuses a request answers it with 429. `maxKeys` has
    /// no meaning here: the server holds the keys.
    #[schemars(length(min = 1, max = 16))]
    pub rules: Vec<RateRuleSpec>,
    /// The server that counts.
    pub redis: RedisSpec,
    /// How long a request waits for the server's word: 1ms to 1s. Default: 20ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub timeout: Option<String>,
    /// What becomes of a request when the server gives no word in time. Default: Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<RateLimitFailure>,
}

/// What becomes of a request that nobody counts.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateLimitFailure {
    /// It is let through.
    Allow,
    /// It gets 503.
    Deny,
}

/// A Redis or Valkey server.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedisSpec {
    /// HOST:PORT; an address of IPv6 in brackets.
    #[schemars(length(min = 3, max = 260))]
    pub address: String,
    /// Number of the database. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub database: Option<i64>,
    /// Begins the names of all keys. Default: sluice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9._:-]{1,64}$"))]
    pub key_prefix: Option<String>,
    /// A Secret (type Opaque) of the policy's namespace with the key `password`, and with `username` where the server
    /// knows users. Default: the server asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<SecretName>,
    /// Speaks TLS. Default: plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTlsSpec>,
}

/// TLS to the server.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedisTlsSpec {
    /// The name that the server's certificate must carry. Default: the host of `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// A Secret of the policy's namespace: `ca.crt` has the authorities that are believed (without it: those of the
    /// system), `tls.crt` and `tls.key` what is shown to a server that asks for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
}
