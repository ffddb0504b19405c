//! How endpoints are asked whether they are well.

use crate::{Origin, duration};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a HealthCheckPolicy says of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The HealthCheckPolicy.
    pub origin: Origin,
    /// How an endpoint is asked.
    pub probe: HealthProbe,
    /// The port that is asked; `None`: the endpoint's own. 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Checks speak no TLS, whatever requests do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_plain: bool,
    /// From the beginning of a check to that of the next; at least a second.
    #[serde(with = "duration::ms")]
    pub interval: Duration,
    /// So long a check may take.
    #[serde(with = "duration::ms")]
    pub timeout: Duration,
    /// Each wait is changed at random by up to this part of the interval, in percent; at most 50.
    pub jitter_percent: u8,
    /// Failed checks in a row that take an endpoint out; at least 1.
    pub unhealthy_after: u32,
    /// Good checks in a row that take it in again; at least 1.
    pub healthy_after: u32,
    /// A new endpoint gets nothing before its first good check.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starts_pending: bool,
    /// With a smaller part of the endpoints healthy all are used, in percent; 0: never.
    pub min_healthy_percent: u8,
}

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthProbe {
    /// By a request, in the protocol of the backend.
    Http {
        /// HEAD instead of GET.
        is_head: bool,
        /// Path and query.
        path: String,
        /// Value of `Host` or `:authority`.
        host: String,
        /// Good answers; not empty.
        statuses: Vec<StatusRange>,
    },
    /// By `grpc.health.v1.Health/Check`.
    Grpc {
        /// Value of `:authority`.
        host: String,
        /// The service; empty: the whole server.
        service: String,
    },
    /// By a connection, and the handshake where TLS is spoken.
    Tcp,
}

/// Statuses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRange {
    /// 200 to 599.
    pub first: u16,
    /// Not below `first`.
    pub last: u16,
}

impl StatusRange {
    /// Whether the status is one of them.
    pub fn has(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}
