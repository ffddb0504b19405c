//! Law 3 at the level of the compiled configuration: what a proxy has after any sequence of deltas answers like one
//! that got the newest snapshot at once.
//!
//! (Law 2, incremental translation equals full, stands in `controller/translate`; law 7, the search equals a slow and
//! obvious one, in `proxy/route`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use http::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_ir as ir;
use sluice_proxy::http::{Decision, RequestView, decide};
use sluice_proxy::snapshot::{BindPlan, Compiler, Runtime};
use sluice_proxy::telemetry::Metrics;
use sluice_proxy::upstream::{Resolver, Upstreams};
use sluice_tests::ir_samples;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const HOSTS: [&str; 5] = ["a.example", "b.example", "x.a.example", "example", "other.test"];
const PATTERNS: [&str; 4] = ["*", "*.example", "a.example", "*.a.example"];
const PATHS: [&str; 5] = ["/", "/a", "/a/b", "/ab", "/a/b/c"];
const PORTS: [u16; 2] = [80, 81];
const BACKENDS: [&str; 3] = ["x", "y", "z"];

/// A change of one resource of a small universe, so that they collide.
#[derive(Clone, Debug)]
enum Edit {
    Listener { slot: usize, port: usize, host: usize },
    NoListener(usize),
    Route { slot: usize, listeners: Vec<usize>, host: usize, path: usize, exact: bool, backend: usize },
    NoRoute(usize),
    Backend { slot: usize, h2c: bool },
    NoBackend(usize),
    Gateway { heads: u32 },
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (0..3_usize, 0..PORTS.len(), 0..PATTERNS.len()).prop_map(|(slot, port, host)| Edit::Listener { slot, port, host }),
        1 => (0..3_usize).prop_map(Edit::NoListener),
        6 => (0..4_usize, vec(0..3_usize, 0..3), 0..PATTERNS.len(), 0..PATHS.len(), any::<bool>(), 0..BACKENDS.len()).prop_map(
            |(slot, listeners, host, path, exact, backend)| Edit::Route { slot, listeners, host, path, exact, backend }
        ),
        2 => (0..4_usize).prop_map(Edit::NoRoute),
        2 => (0..BACKENDS.len(), any::<bool>()).prop_map(|(slot, h2c)| Edit::Backend { slot, h2c }),
        1 => (0..BACKENDS.len()).prop_map(Edit::NoBackend),
        1 => (1..5_u32).prop_map(|heads| Edit::Gateway { heads }),
    ]
}

fn listener_key(slot: usize) -> ir::ListenerKey {
    ir::ListenerKey::new(format!("Gateway/default/web/l{slot}"))
}

fn route_key(slot: usize) -> ir::RouteKey {
    ir::RouteKey::new(format!("HTTPRoute/default/r{slot}"))
}

fn apply(snapshot: &mut ir::Snapshot, edit: &Edit) {
    match edit {
        Edit::Listener { slot, port, host } => {
            let listener = ir::Listener {
                key: listener_key(*slot),
                hostname: ir::HostPattern::parse(PATTERNS[*host]),
                ..(*ir_samples::listener(PORTS[*port])).clone()
            };
            snapshot.listeners.insert(listener.key.clone(), Arc::new(listener));
        }
        Edit::NoListener(slot) => drop(snapshot.listeners.remove(&listener_key(*slot))),
        Edit::Route { slot, listeners, host, path, exact, backend } => {
            let path = PATHS[*path].into();
            let path = if *exact { ir::PathMatch::Exact(path) } else { ir::PathMatch::Prefix(path) };
            let rule = ir_samples::rule(0, ir::Match { path, ..ir::Match::default() }, BACKENDS[*backend]);
            let listeners: BTreeSet<_> = listeners.iter().copied().collect();
            let attachments = listeners.into_iter().map(|listener| ir::Attachment {
                listener: listener_key(listener),
                hostnames: [ir::HostPattern::parse(PATTERNS[*host])].into(),
            });
            let route = ir::Route {
                key: route_key(*slot),
                attachments: attachments.collect(),
                ..(*ir_samples::route("r", vec![rule])).clone()
            };
            snapshot.routes.insert(route.key.clone(), Arc::new(route));
        }
        Edit::NoRoute(slot) => drop(snapshot.routes.remove(&route_key(*slot))),
        Edit::Backend { slot, h2c } => {
            let name = BACKENDS[*slot];
            let protocol = if *h2c { ir::BackendProtocol::H2c } else { ir::BackendProtocol::Http1 };
            let set = ir_samples::endpoints(name, &["127.0.0.1:1".parse().unwrap()]);
            snapshot.endpoint_sets.insert(set.key.clone(), set);
            let backend = ir_samples::backend(name, protocol);
            snapshot.backends.insert(backend.key.clone(), backend);
        }
        Edit::NoBackend(slot) => {
            let backend = ir_samples::backend(BACKENDS[*slot], ir::BackendProtocol::Http1);
            snapshot.backends.remove(&backend.key);
            snapshot.endpoint_sets.remove(&backend.endpoints);
        }
        Edit::Gateway { heads } => {
            let mut settings = ir::Settings::standard();
            settings.limits.request_headers = *heads;
            let gateway = ir_samples::gateway(settings);
            snapshot.gateways.insert(gateway.key.clone(), gateway);
        }
    }
}

fn compiler() -> Compiler {
    let plan = BindPlan {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port_offset: 0,
        cluster_ports: false,
        is_captured: false,
    };
    Compiler::new(plan, Upstreams::new(Resolver::system()), Metrics::new())
}

/// Everything that requests can meet: for each port, host and path the rule, or the answer in its place.
fn answers(runtime: &Runtime) -> Vec<String> {
    let headers = HeaderMap::new();
    let mut all = Vec::new();
    for port in PORTS {
        let Some(port) = runtime.ports.get(&SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)) else {
            all.push(format!("{port}: not served"));
            continue;
        };
        for host in HOSTS {
            for path in PATHS {
                let view = RequestView {
                    method: "GET",
                    authority: host,
                    path,
                    query: None,
                    headers: &headers,
                    is_https_target: false,
                    server_name: None,
                };
                all.push(format!("{} {host}{path}: {}", port.port, answer(&decide(port, view))));
            }
        }
    }
    all
}

fn answer(decision: &Decision<'_, '_>) -> String {
    match decision {
        Decision::Answer(outcome) => outcome.word().to_owned(),
        Decision::Rule(matched) => {
            let rule = matched.found.target();
            let backends: Vec<_> = rule
                .backends
                .iter()
                .map(|backend| match &backend.target {
                    Ok(backend) => format!("{} {:?}", backend.backend.key, backend.backend.protocol),
                    Err(fail) => fail.reason.clone(),
                })
                .collect();
            format!(
                "{} of {} to {backends:?}",
                matched.found.route.route.origin, matched.listener.listener.key
            )
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deltas_one_by_one_equal_the_newest_snapshot_at_once(edits in vec(vec(edit(), 1..4), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let mut snapshot = ir::Snapshot::default();
        snapshot.gateways.insert(ir_samples::gateway_key(), ir_samples::gateway(ir::Settings::standard()));
        let mut step_by_step = compiler();
        step_by_step.apply(&ir::Snapshot::default().delta_to(&snapshot));
        for batch in &edits {
            let before = snapshot.clone();
            batch.iter().for_each(|edit| apply(&mut snapshot, edit));
            let compiled = step_by_step.apply(&before.delta_to(&snapshot));
            let at_once = compiler().apply(&ir::Snapshot::default().delta_to(&snapshot));
            prop_assert_eq!(step_by_step.snapshot(), &snapshot);
            prop_assert_eq!(answers(&compiled.runtime), answers(&at_once.runtime));
            let planned: Vec<_> = compiled.ports.iter().map(|(address, port)| (*address, port.listeners.clone())).collect();
            let wanted: Vec<_> = at_once.ports.iter().map(|(address, port)| (*address, port.listeners.clone())).collect();
            prop_assert_eq!(planned, wanted);
            prop_assert_eq!(compiled.failures, at_once.failures);
        }
    }
}
