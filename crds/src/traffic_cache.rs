//! `cache` of a TrafficPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Answers to GET that are kept for those who ask again, as far as they allow it themselves (RFC 9111).
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheSpec {
    /// `true`, alone: what less specific policies say of this does not hold here. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Bytes that are kept by each data plane, with those that are being received. Default: 67108864 (64 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 65_536, max = 1_099_511_627_776_i64))]
    pub max_bytes: Option<i64>,
    /// Bytes of one answer; larger ones are not kept. Not more than a half of `maxBytes`. Default: 1048576 (1 MiB), or that half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_object_bytes: Option<i64>,
    /// How long a 200 is fresh that says nothing about it: 1s to 24h. Default: such answers are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub default_ttl: Option<String>,
    /// Whether answers tell how the cache took part, in the field Cache-Status. Default: Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<CacheHeaders>,
}

/// Whether answers tell how the cache took part.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheHeaders {
    /// They do.
    Enabled,
    /// They do not.
    Disabled,
}
