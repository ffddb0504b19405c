//! `rateLimit` of a TrafficPolicy.

use crate::traffic_rate_global::GlobalRateLimitSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// How often requests may come.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitSpec {
    /// Limits that each data plane counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalRateLimitSpec>,
    /// Limits that all data planes count together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalRateLimitSpec>,
    /// Switches off what less specific policies limit; stands alone. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Whether answers tell what is left, in the fields RateLimit and RateLimit-Policy. Default: Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<RateLimitHeaders>,
}

/// Limits that each data plane counts by itself.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRateLimitSpec {
    /// Asked in order; the first that refuses a request answers it with 429.
    #[schemars(length(min = 1, max = 16))]
    pub rules: Vec<RateRuleSpec>,
}

/// So many requests of each key.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateRuleSpec {
    /// Names the rule in answers. Default: rule-1 for the first, and so on; global-1 for the first of the global ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9._-]{1,63}$"))]
    pub name: Option<String>,
    /// Requests.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: i64,
    /// In this time, spread evenly: 1s to 24h. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub per: Option<String>,
    /// How many of them may come at once. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i64>,
    /// What requests are counted by, all parts together. Default: all requests are counted together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub key: Vec<RateKeySpec>,
    /// How many keys are counted apart at one time, about. More make the rule stricter. Default: 65536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 1_048_576))]
    pub max_keys: Option<i64>,
}

/// A part of what requests are counted by.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateKeySpec {
    /// What of a request.
    #[serde(rename = "type")]
    pub r#type: RateKeyType,
    /// Name of the header, or of the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
}

/// What of a request.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateKeyType {
    /// The client's address; all of one /64 of IPv6 are one.
    ClientAddress,
    /// The first header field of a name.
    Header,
    /// The path.
    Path,
    /// The method.
    Method,
    /// Nothing: all requests are counted together.
    Constant,
    /// A claim of the request's token, as a RequestAuthentication has verified it; `.` stands between nested names.
    Claim,
}

/// Whether answers tell what is left.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateLimitHeaders {
    /// They do.
    Enabled,
    /// They don't; a refused request is told when to come again all the same.
    Disabled,
}
