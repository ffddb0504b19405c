//! `connectionPool` and `retryBudget` of a DestinationRule.

use super::model::Pool;
use super::values::{Faults, count, duration};
use sluice_crds::{ConnectionPoolSpec, HttpPoolSpec, KeepaliveSpec, RetryBudgetSpec, TcpPoolSpec};
use sluice_ir::{Keepalive, RetryBudget};
use std::time::Duration;

/// Linux's own, where the rule does not say (tcp(7)).
const PROBES: u32 = 9;
const PROBES_AFTER: Duration = Duration::from_secs(7_200);
const PROBES_EVERY: Duration = Duration::from_secs(75);
/// What `0s` comes to: a silent stream may stay for a year, a connection without a request for an hour.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);
const AN_HOUR: Duration = Duration::from_secs(3_600);
/// Streams of one HTTP/2 connection.
const STREAMS: std::ops::RangeInclusive<u32> = 2..=1_000;
/// A budget where the rule does not say (Istio).
const BUDGET_PERCENT: f64 = 20.0;
const BUDGET_LEAST: u32 = 3;

pub(super) fn pool(it: &ConnectionPoolSpec, field: &str, faults: &mut Faults) -> Pool {
    let mut pool = Pool::default();
    if let Some(tcp) = &it.tcp {
        read_tcp(tcp, &format!("{field}.tcp"), &mut pool, faults);
    }
    if let Some(http) = &it.http {
        read_http(http, &format!("{field}.http"), &mut pool, faults);
    }
    if pool.circuit.waiting.is_some() && pool.circuit.connections.is_none() {
        faults.warn(
            format!("{field}.http.http1MaxPendingRequests"),
            "has no effect: nothing waits while connections have no bound",
            "set tcp.maxConnections",
        );
    }
    pool
}

fn read_tcp(it: &TcpPoolSpec, field: &str, pool: &mut Pool, faults: &mut Faults) {
    pool.circuit.connections = limit(it.max_connections, &format!("{field}.maxConnections"), faults);
    let connect_timeout = duration(it.connect_timeout.as_ref(), &format!("{field}.connectTimeout"), faults);
    pool.connections.connect_timeout = connect_timeout.filter(|it| !it.is_zero());
    pool.connections.silent_for = duration(it.idle_timeout.as_ref(), &format!("{field}.idleTimeout"), faults)
        .map(|it| zero_is(it, A_YEAR));
    let duration =
        duration(it.max_connection_duration.as_ref(), &format!("{field}.maxConnectionDuration"), faults);
    pool.connections.lives_for = duration.filter(|it| !it.is_zero()).map(|it| it.min(A_YEAR));
    if let Some(keepalive) = &it.tcp_keepalive {
        pool.connections.keepalive =
            Some(read_keepalive(keepalive, &format!("{field}.tcpKeepalive"), faults));
    }
}

fn read_keepalive(it: &KeepaliveSpec, field: &str, faults: &mut Faults) -> Keepalive {
    let mut time = |name: &str, text: Option<&String>, default| {
        let given = duration(text, &format!("{field}.{name}"), faults).filter(|it| !it.is_zero());
        given.unwrap_or(default)
    };
    let (after, interval) =
        (time("time", it.time.as_ref(), PROBES_AFTER), time("interval", it.interval.as_ref(), PROBES_EVERY));
    let probes = limit(it.probes, &format!("{field}.probes"), faults).unwrap_or(PROBES);
    Keepalive { probes, after, interval }
}

fn read_http(it: &HttpPoolSpec, field: &str, pool: &mut Pool, faults: &mut Faults) {
    let circuit = &mut pool.circuit;
    circuit.waiting =
        limit(it.http1_max_pending_requests, &format!("{field}.http1MaxPendingRequests"), faults);
    circuit.requests = limit(it.http2_max_requests, &format!("{field}.http2MaxRequests"), faults);
    circuit.retries = limit(it.max_retries, &format!("{field}.maxRetries"), faults);
    pool.connections.kept_for = duration(it.idle_timeout.as_ref(), &format!("{field}.idleTimeout"), faults)
        .map(|it| zero_is(it, AN_HOUR));
    let requests = format!("{field}.maxRequestsPerConnection");
    match limit(it.max_requests_per_connection, &requests, faults) {
        None => {}
        Some(1) => pool.connections.is_used_once = true,
        Some(number) => pool.connections.requests = Some(number),
    }
    let streams = format!("{field}.maxConcurrentStreams");
    match limit(it.max_concurrent_streams, &streams, faults) {
        Some(number) if !STREAMS.contains(&number) => {
            faults.refuse(streams, format!("{number} is out of range"), "use 2 to 1000");
        }
        other => pool.connections.streams = other,
    }
    match it.h2_upgrade_policy.as_deref() {
        None | Some("DEFAULT" | "DO_NOT_UPGRADE") => {}
        Some("UPGRADE") => pool.is_upgraded = true,
        Some(other) => {
            let message = format!("{other:?} is not known");
            faults.refuse(format!("{field}.h2UpgradePolicy"), message, "use UPGRADE or DO_NOT_UPGRADE");
        }
    }
    pool.connections.speaks_as_client = it.use_client_protocol == Some(true);
    if pool.connections.speaks_as_client && pool.is_upgraded {
        faults.refuse(
            format!("{field}.h2UpgradePolicy"),
            "has no effect beside useClientProtocol",
            "keep one of them",
        );
    }
}

pub(super) fn budget(it: &RetryBudgetSpec, field: &str, faults: &mut Faults) -> RetryBudget {
    let percent = it.percent.unwrap_or(BUDGET_PERCENT);
    let is_share = (0.0..=100.0).contains(&percent);
    if !is_share {
        faults.refuse(format!("{field}.percent"), format!("{percent} is no percentage"), "use 0 to 100");
    }
    let percent = if is_share { percent } else { BUDGET_PERCENT };
    let least = count(it.min_retry_concurrency, &format!("{field}.minRetryConcurrency"), faults);
    // At most 100,000: it fits.
    RetryBudget { share: (percent * 1_000.0).round() as u32, least: least.unwrap_or(BUDGET_LEAST) }
}

/// A number where 0 stands for none.
fn limit(value: Option<i64>, field: &str, faults: &mut Faults) -> Option<u32> {
    count(value, field, faults).filter(|it| *it != 0)
}

fn zero_is(time: Duration, instead: Duration) -> Duration {
    if time.is_zero() { instead } else { time.min(A_YEAR) }
}
