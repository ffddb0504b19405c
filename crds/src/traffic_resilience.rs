//! `buffer`, `concurrency` and `hedging` of a TrafficPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Requests are read whole before a backend is troubled with them.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BufferSpec {
    /// Bytes of a request body; 413 above. 0: nothing is buffered, whatever a less specific policy says. Default: 1048576.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 67_108_864))]
    pub max_bytes: Option<i64>,
}

/// A limit on the requests that a backend works on at one time, found from how long it takes to answer. Each data plane
/// finds its own, for each backend apart; 503 above.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencySpec {
    /// The limit is never below this. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub min_requests: Option<i64>,
    /// The limit is never above this. Default: 1000, or `minRequests` if that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_requests: Option<i64>,
    /// By how many percent answers may become slower under load before the limit falls. Default: 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 400))]
    pub latency_increase_percent: Option<i64>,
    /// How often the limit is lowered for a moment to see how fast the backend is without load: 1s to 1h. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub probe_interval: Option<String>,
    /// Switches off the limit of less specific policies; stands alone. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A further try at another endpoint while one is slow; the first good answer is used, the others are dropped. Only for
/// requests without a body, or with one that `buffer` has read whole.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HedgingSpec {
    /// How long an answer is waited for before a further try starts: 1ms to 60s. Needed unless `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub delay: Option<String>,
    /// Further tries of one request, each after another delay. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3))]
    pub extra_tries: Option<i64>,
    /// Further tries in percent of the requests that may have them; up to ten are saved up. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_percent: Option<i64>,
    /// Only requests of these methods. Default: those that are idempotent (RFC 9110 §9.2.2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub methods: Vec<HedgingMethod>,
    /// Switches off the hedging of less specific policies; stands alone. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A method that may be sent twice.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HedgingMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// POST: only where sending it twice does no harm, as for queries and gRPC reads.
    Post,
    /// PATCH, likewise.
    Patch,
}

impl HedgingMethod {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Post => "POST",
            Self::Patch => "PATCH",
        }
    }
}
