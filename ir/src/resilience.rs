//! What TrafficPolicies set to keep backends from being harmed by slow clients and by too many requests.

use crate::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Requests are read whole before an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestBuffer {
    /// Bytes of a body, at most 64 MiB; 413 above. 0: nothing is buffered.
    pub max_bytes: u64,
}

/// A limit on the requests that a backend works on at one time, which follows how long it takes to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdaptiveConcurrency {
    /// The least limit, at least 1.
    pub min_requests: u32,
    /// The largest limit, at least `min_requests`. 0: there is none at all.
    pub max_requests: u32,
    /// By how many percent of the time without load answers may be slower before the limit falls; 5 to 400.
    pub latency_increase_percent: u32,
    /// How often the time without load is measured anew; 1 s to 1 h.
    #[serde(with = "duration::ms")]
    pub probe_interval: Duration,
}

/// A further try at another endpoint while one is slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedging {
    /// How long an answer is waited for before a further try starts; 1 ms to 60 s.
    #[serde(with = "duration::ms")]
    pub delay: Duration,
    /// Further tries of one request, at most 3. 0: there are none.
    pub extra_tries: u32,
    /// Further tries in percent of the requests that may have them, 1 to 100.
    pub percent: u32,
    /// Only these methods; empty: the idempotent ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}
