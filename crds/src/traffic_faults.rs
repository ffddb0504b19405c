//! `faults` of a TrafficPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Faults on purpose; the delay comes first.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultsSpec {
    /// Keeps requests waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<FaultDelaySpec>,
    /// Answers requests with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<FaultAbortSpec>,
    /// Switches off the faults of less specific policies; stands alone. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Keeps requests waiting.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultDelaySpec {
    /// How long: 1ms to 60s.
    #[schemars(regex(pattern = DURATION))]
    pub duration: String,
    /// Percent of the requests whose header fits. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i64>,
    /// The same, finer. Not together with `percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<FractionSpec>,
    /// Only requests whose header fits all of these. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderMatchSpec>,
}

/// Answers requests with an error.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultAbortSpec {
    /// Status of the answer. Default: 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub status: Option<i64>,
    /// Status of gRPC that a gRPC client gets in its place. Default: 14 (UNAVAILABLE).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub grpc_status: Option<i64>,
    /// Percent of the requests whose header fits. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i64>,
    /// The same, finer. Not together with `percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<FractionSpec>,
    /// Only requests whose header fits all of these. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderMatchSpec>,
}

/// A share of requests.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FractionSpec {
    /// So many.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub numerator: i64,
    /// Of so many. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub denominator: Option<i64>,
}

/// A header field, as HTTPRoute matches it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatchSpec {
    /// How the value is compared. Default: Exact.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<HeaderMatchKind>,
    /// Name of the field.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value, or an expression that covers all of it.
    #[schemars(length(min = 1, max = 4_096))]
    pub value: String,
}

/// How a value is compared.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeaderMatchKind {
    /// It is the same.
    Exact,
    /// It matches as a whole.
    RegularExpression,
}
