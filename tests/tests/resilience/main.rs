//! What keeps a slow, failing or overloaded backend from harming clients, and copies from harming anybody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod buffer;
mod concurrency;
mod hedging;
mod mirrors;
mod tries;

use sluice_ir as ir;
use sluice_tests::{Stand, eventually, ir_samples};
use std::net::SocketAddr;
use std::sync::Arc;

/// A setting of the policy `default/careful`.
fn given<T>(value: T) -> ir::Setting<T> {
    let policy = ir::Origin::new("TrafficPolicy", "default", "careful");
    Some(Arc::new(ir::Given { policy, value }))
}

/// A route that sends everything to these endpoints, and what policies set for it.
fn governed(
    addresses: &[SocketAddr],
    settings: ir::TrafficSettings,
    edit: impl FnOnce(&mut ir::Rule),
) -> ir::Snapshot {
    let mut snapshot = ir_samples::everything_to(addresses[0]);
    let set = ir_samples::endpoints("main", addresses);
    snapshot.endpoint_sets.insert(set.key.clone(), set);
    let mut rule = ir_samples::rule(0, ir::Match::default(), "main");
    edit(&mut rule);
    let mut route = ir::Route::clone(&ir_samples::route("all", vec![rule]));
    route.traffic = ir::RouteTraffic { all: settings, ..ir::RouteTraffic::default() }.boxed();
    snapshot.routes.insert(route.key.clone(), Arc::new(route));
    snapshot
}

/// Value of one series; 0 when it is not there.
fn metric(stand: &Stand, series: &str) -> f64 {
    let text = stand.gateway().proxy().metrics().encode();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until a series has this value.
async fn metric_becomes(stand: &Stand, series: &str, value: f64) {
    eventually(&format!("{series} is {value}"), || async { metric(stand, series) == value }).await;
}

/// Waits until so many requests have ended so: each is counted a moment after its answer.
async fn end_so(stand: &Stand, outcome: &str, count: u64) {
    eventually(&format!("{count} requests are {outcome}"), || async { ended(stand, outcome) == count }).await;
}

/// Requests that ended so, over all routes and classes.
fn ended(stand: &Stand, outcome: &str) -> u64 {
    let text = stand.gateway().proxy().metrics().encode();
    let label = format!("outcome=\"{outcome}\"");
    let lines = text.lines().filter(|it| it.starts_with("sluice_requests_total{") && it.contains(&label));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}
