//! Laws of the store: after any sequence of changes each Gateway holds what a walk over everything finds, and what
//! looks different to somebody was marked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::store::{Digest, Store};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_ir::{self as ir, Resource, ResourceKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const GATEWAYS: [&str; 3] = ["a/web", "b/web", "c/web"];

#[derive(Clone, Debug)]
enum Edit {
    Gateway {
        slot: usize,
        certificate: Option<usize>,
        authorizer: Option<usize>,
    },
    Listener {
        slot: usize,
        gateway: usize,
        certificate: Option<usize>,
        asks: Option<u8>,
        authorizer: Option<usize>,
    },
    Route {
        slot: usize,
        listeners: BTreeSet<usize>,
        backends: BTreeSet<usize>,
        mirror: Option<usize>,
        authorizer: Option<usize>,
        age: i64,
    },
    Stream {
        slot: usize,
        listeners: BTreeSet<usize>,
        backends: BTreeSet<usize>,
        age: i64,
    },
    Backend {
        slot: usize,
        set: usize,
    },
    Set {
        slot: usize,
        size: usize,
    },
    Certificate {
        slot: usize,
        content: u8,
    },
    Challenge {
        slot: usize,
        content: u8,
    },
    Remove {
        kind: usize,
        slot: usize,
    },
}

fn edit() -> impl Strategy<Value = Edit> {
    let slot = || 0..4_usize;
    let some = || proptest::collection::btree_set(slot(), 0..3);
    let maybe = || proptest::option::of(slot());
    prop_oneof![
        2 => (0..3_usize, maybe(), maybe())
            .prop_map(|(slot, certificate, authorizer)| Edit::Gateway { slot, certificate, authorizer }),
        4 => (slot(), 0..3_usize, maybe(), proptest::option::of(0..2_u8), maybe()).prop_map(
            |(slot, gateway, certificate, asks, authorizer)| {
                Edit::Listener { slot, gateway, certificate, asks, authorizer }
            }
        ),
        6 => (slot(), some(), some(), maybe(), maybe(), 0..3_i64).prop_map(
            |(slot, listeners, backends, mirror, authorizer, age)| {
                Edit::Route { slot, listeners, backends, mirror, authorizer, age }
            }
        ),
        3 => (slot(), some(), some(), 0..3_i64).prop_map(
            |(slot, listeners, backends, age)| Edit::Stream { slot, listeners, backends, age }
        ),
        3 => (slot(), slot()).prop_map(|(slot, set)| Edit::Backend { slot, set }),
        2 => (slot(), 0..3_usize).prop_map(|(slot, size)| Edit::Set { slot, size }),
        2 => (slot(), any::<u8>()).prop_map(|(slot, content)| Edit::Certificate { slot, content }),
        2 => (slot(), any::<u8>()).prop_map(|(slot, content)| Edit::Challenge { slot, content }),
        5 => (0..8_usize, slot()).prop_map(|(kind, slot)| Edit::Remove { kind, slot }),
    ]
}

fn stream_key(slot: usize) -> ir::StreamRouteKey {
    ir::StreamRouteKey::new(format!("t{slot}"))
}

fn origin() -> ir::Origin {
    ir::Origin::new("Gateway", "a", "b")
}

fn gateway_key(slot: usize) -> ir::GatewayKey {
    ir::GatewayKey::new(GATEWAYS[slot % GATEWAYS.len()])
}

fn listener_key(slot: usize) -> ir::ListenerKey {
    ir::ListenerKey::new(format!("l{slot}"))
}

fn backend_key(slot: usize) -> ir::BackendKey {
    ir::BackendKey::new(format!("s{slot}"))
}

fn set_key(slot: usize) -> ir::EndpointSetKey {
    ir::EndpointSetKey::new(format!("e{slot}"))
}

fn certificate_key(slot: usize) -> ir::CertificateKey {
    ir::CertificateKey::new(format!("c{slot}"))
}

/// Of listeners that have certificates obtained at handshakes, and of those certificates.
fn asked_key(content: u8) -> ir::OnDemandKey {
    ir::OnDemandKey::new(format!("d{content}"))
}

fn challenge(slot: usize, content: u8) -> ir::Challenge {
    let (gateway, host) = (gateway_key(slot), format!("h{slot}"));
    let key_authorization = ir::SecretBytes::new(vec![content]);
    let answer = ir::ChallengeAnswer::Http01 { token: "t".to_owned(), key_authorization };
    ir::Challenge {
        key: ir::Challenge::key_of(&gateway, &host, &answer),
        origin: origin(),
        gateway,
        host,
        answer,
    }
}

/// What a policy sets that asks the backend.
fn traffic(authorizer: Option<usize>) -> ir::TrafficSettings {
    let given = authorizer.map(|slot| {
        let value = ir::ExtAuth::Ask(Box::new(ir::Authorizer {
            target: ir::BackendTarget::Backend(backend_key(slot)),
            protocol: ir::AuthProtocol::Grpc { context: BTreeMap::new() },
            request_headers: Vec::new(),
            body_bytes: 0,
            timeout: ir::Authorizer::TIMEOUT,
            allows_on_failure: false,
            failure_status: ir::Authorizer::FAILURE_STATUS,
        }));
        Arc::new(ir::Given { policy: origin(), value })
    });
    ir::TrafficSettings { ext_auth: given, ..ir::TrafficSettings::default() }
}

fn route(
    slot: usize,
    listeners: &BTreeSet<usize>,
    backends: &BTreeSet<usize>,
    mirror: Option<usize>,
    age: i64,
) -> ir::Route {
    let target = |slot: &usize| ir::BackendTarget::Backend(backend_key(*slot));
    let mirrored =
        |slot: usize| ir::Filter::Mirror(ir::Mirror { target: target(&slot), fraction: ir::Ratio::ALL });
    let weighted = |slot| ir::WeightedBackend { target: target(slot), weight: 1, filters: Box::default() };
    let rule = ir::Rule {
        index: 0,
        name: None,
        matches: [ir::Match::default()].into(),
        filters: mirror.map(mirrored).into_iter().collect(),
        backends: backends.iter().map(weighted).collect(),
        timeouts: None,
        retry: None,
        session_persistence: None,
    };
    let attachment = |slot: &usize| ir::Attachment {
        listener: listener_key(*slot),
        hostnames: [ir::HostPattern::Any].into(),
    };
    ir::Route {
        key: ir::RouteKey::new(format!("r{slot}")),
        origin: origin(),
        kind: ir::RouteKind::Http,
        created_s: age,
        attachments: listeners.iter().map(attachment).collect(),
        traffic: None,
        rules: [rule].into(),
    }
}

fn stream_route(
    slot: usize,
    listeners: &BTreeSet<usize>,
    backends: &BTreeSet<usize>,
    age: i64,
) -> ir::StreamRoute {
    let plain = route(slot, listeners, backends, None, age);
    ir::StreamRoute {
        key: stream_key(slot),
        origin: origin(),
        kind: ir::StreamKind::Tcp,
        created_s: age,
        attachments: plain.attachments,
        backends: plain.rules[0].backends.clone(),
    }
}

fn delta(edits: &[Edit]) -> ir::Delta {
    let mut delta = ir::Delta::default();
    for edit in edits {
        let upsert = match edit.clone() {
            Edit::Gateway { slot, certificate, authorizer } => Resource::Gateway(Arc::new(ir::Gateway {
                key: gateway_key(slot),
                origin: origin(),
                settings: ir::Settings::standard(),
                backend_certificate: certificate.map(certificate_key),
                ticket_secrets: Vec::new(),
                traffic: traffic(authorizer).boxed(),
                authorization: Vec::new(),
                authentication: Vec::new(),
                telemetry: Vec::new(),
            })),
            Edit::Listener { slot, gateway, certificate, asks, authorizer } => {
                Resource::Listener(Arc::new(ir::Listener {
                    key: listener_key(slot),
                    origin: origin(),
                    gateway: gateway_key(gateway),
                    addresses: Vec::new(),
                    networks: Vec::new(),
                    port: 80,
                    protocol: match certificate {
                        Some(slot) => ir::ListenerProtocol::Https(ir::Tls {
                            on_demand: asks.map(asked_key),
                            ..ir::Tls::showing(vec![certificate_key(slot)])
                        }),
                        None => ir::ListenerProtocol::Http,
                    },
                    hostname: ir::HostPattern::Any,
                    destination: None,
                    traffic: traffic(authorizer).boxed(),
                }))
            }
            Edit::Route { slot, listeners, backends, mirror, authorizer, age } => {
                let all = traffic(authorizer);
                let traffic = ir::RouteTraffic { all, ..ir::RouteTraffic::default() }.boxed();
                let route = route(slot, &listeners, &backends, mirror, age);
                Resource::Route(Arc::new(ir::Route { traffic, ..route }))
            }
            Edit::Stream { slot, listeners, backends, age } => {
                Resource::StreamRoute(Arc::new(stream_route(slot, &listeners, &backends, age)))
            }
            Edit::Backend { slot, set } => Resource::Backend(Arc::new(ir::Backend {
                key: backend_key(slot),
                origin: origin(),
                protocol: ir::BackendProtocol::Http1,
                endpoints: set_key(set),
                tls: None,
                policy: None,
                health: None,
                mesh: ir::MeshTls::Off,
            })),
            Edit::Set { slot, size } => Resource::EndpointSet(Arc::new(ir::EndpointSet {
                is_external: false,
                takes_first: false,
                asked: None,
                key: set_key(slot),
                origin: origin(),
                endpoints: vec![
                    ir::Endpoint {
                        address: ir::EndpointAddress::Dns { host: "x".to_owned(), port: 1 },
                        state: ir::EndpointState::Ready,
                        weight: 1,
                        topology: None,
                        workload: None,
                    };
                    size
                ],
            })),
            Edit::Certificate { slot, content } => Resource::Certificate(Arc::new(ir::Certificate {
                key: certificate_key(slot),
                origin: origin(),
                names: Vec::new(),
                chain: ir::SecretBytes::new(vec![content]),
                private_key: ir::SecretBytes::new(Vec::new()),
                staple: None,
                on_demand: (content % 3 < 2).then(|| asked_key(content % 3)),
            })),
            Edit::Challenge { slot, content } => Resource::Challenge(Arc::new(challenge(slot, content))),
            Edit::Remove { kind, slot } => {
                let key = match kind {
                    0 => ResourceKey::Gateway(gateway_key(slot)),
                    1 => ResourceKey::Listener(listener_key(slot)),
                    2 => ResourceKey::Route(ir::RouteKey::new(format!("r{slot}"))),
                    3 => ResourceKey::Backend(backend_key(slot)),
                    4 => ResourceKey::EndpointSet(set_key(slot)),
                    5 => ResourceKey::StreamRoute(stream_key(slot)),
                    6 => ResourceKey::Challenge(challenge(slot, 0).key),
                    _ => ResourceKey::Certificate(certificate_key(slot)),
                };
                // A delta names each key once.
                if !delta.removals.contains(&key) && !delta.upserts.iter().any(|it| it.key() == key) {
                    delta.removals.push(key);
                }
                continue;
            }
        };
        delta.removals.retain(|key| *key != upsert.key());
        delta.upserts.retain(|it| it.key() != upsert.key());
        delta.upserts.push(upsert);
    }
    delta
}

type View = BTreeMap<ResourceKey, Resource>;

/// What a Gateway sees, according to the store.
fn seen(store: &Store, gateway: &ir::GatewayKey) -> View {
    let keys = store.scope(gateway).cloned();
    keys.filter_map(|key| store.view(gateway, &key).map(|(resource, _)| (key, resource))).collect()
}

/// The same by a walk over everything.
fn walked(all: &ir::Snapshot, gateway: &ir::GatewayKey) -> View {
    let mut view = View::new();
    let mut certificates = Vec::new();
    if let Some(it) = all.gateways.get(gateway) {
        certificates.extend(it.backend_certificate.clone());
        walk_policies(all, it.traffic.as_deref(), &mut view);
        view.insert(ResourceKey::Gateway(gateway.clone()), Resource::Gateway(it.clone()));
    }
    let own: BTreeMap<_, _> = all.listeners.iter().filter(|(_, it)| it.gateway == *gateway).collect();
    for (key, it) in &own {
        walk_policies(all, it.traffic.as_deref(), &mut view);
        let tls = it.protocol.tls();
        certificates.extend(tls.into_iter().flat_map(|tls| tls.certificates.clone()));
        let asks = tls.and_then(|tls| tls.on_demand.as_ref());
        let asked = all.certificates.values().filter(|it| asks.is_some() && it.on_demand.as_ref() == asks);
        certificates.extend(asked.map(|it| it.key.clone()));
        view.insert(ResourceKey::Listener((*key).clone()), Resource::Listener((*it).clone()));
    }
    for (key, it) in all.challenges.iter().filter(|(_, it)| it.gateway == *gateway) {
        view.insert(ResourceKey::Challenge(key.clone()), Resource::Challenge(it.clone()));
    }
    for key in certificates {
        if let Some(it) = all.certificates.get(&key) {
            view.insert(ResourceKey::Certificate(key), Resource::Certificate(it.clone()));
        }
    }
    for (key, it) in &all.routes {
        let mut route = (**it).clone();
        let attachments = route.attachments.iter();
        route.attachments = attachments.filter(|it| own.contains_key(&it.listener)).cloned().collect();
        if route.attachments.is_empty() {
            continue;
        }
        walk_policies(all, route.traffic.as_ref().map(|it| &it.all), &mut view);
        for rule in &route.rules {
            let mirrors = rule.filters.iter().filter_map(|filter| match filter {
                ir::Filter::Mirror(mirror) => Some(&mirror.target),
                _ => None,
            });
            for target in rule.backends.iter().map(|it| &it.target).chain(mirrors) {
                walk_backend(all, target, &mut view);
            }
        }
        view.insert(ResourceKey::Route(key.clone()), Resource::Route(Arc::new(route)));
    }
    for (key, it) in &all.stream_routes {
        let mut route = (**it).clone();
        let attachments = route.attachments.iter();
        route.attachments = attachments.filter(|it| own.contains_key(&it.listener)).cloned().collect();
        if !route.attachments.is_empty() {
            route.backends.iter().for_each(|it| walk_backend(all, &it.target, &mut view));
            view.insert(ResourceKey::StreamRoute(key.clone()), Resource::StreamRoute(Arc::new(route)));
        }
    }
    view
}

fn walk_policies(all: &ir::Snapshot, traffic: Option<&ir::TrafficSettings>, view: &mut View) {
    let given = traffic.and_then(|it| it.ext_auth.as_ref());
    if let Some(authorizer) = given.and_then(|it| it.value.authorizer()) {
        walk_backend(all, &authorizer.target, view);
    }
}

fn walk_backend(all: &ir::Snapshot, target: &ir::BackendTarget, view: &mut View) {
    let ir::BackendTarget::Backend(key) = target else { return };
    let Some(backend) = all.backends.get(key) else { return };
    if let Some(set) = all.endpoint_sets.get(&backend.endpoints) {
        view.insert(set_resource(set).key(), set_resource(set));
    }
    view.insert(ResourceKey::Backend(key.clone()), Resource::Backend(backend.clone()));
}

fn set_resource(set: &Arc<ir::EndpointSet>) -> Resource {
    Resource::EndpointSet(set.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_gateway_holds_what_a_walk_finds_and_every_difference_is_marked(batches in vec(vec(edit(), 1..5), 1..15)) {
        let (mut store, mut all) = (Store::default(), ir::Snapshot::default());
        for batch in &batches {
            let delta = delta(batch);
            let before: Vec<_> = (0..3).map(|slot| seen(&store, &gateway_key(slot))).collect();
            let dirty = store.apply(&delta);
            let same = delta.upserts.iter().any(|it| all.get(&it.key()).as_ref() == Some(it));
            all.apply(&delta);
            let mut fresh = Store::default();
            fresh.apply(&ir::Snapshot::default().delta_to(&all));
            for (slot, before) in before.iter().enumerate() {
                let gateway = gateway_key(slot);
                let now = seen(&store, &gateway);
                prop_assert_eq!(&now, &walked(&all, &gateway));
                prop_assert_eq!(store.digest(&gateway), fresh.digest(&gateway));
                prop_assert_eq!(store.scope_size(&gateway), fresh.scope_size(&gateway));
                let marked = dirty.get(&gateway).cloned().unwrap_or_default();
                let keys: BTreeSet<_> = before.keys().chain(now.keys()).collect();
                for key in keys {
                    prop_assert!(before.get(key) == now.get(key) || marked.contains(key), "{} for {}", key, gateway);
                }
                // Nothing comes twice. (Several edits may undo each other; the same resource again is no delta.)
                let again = |key: &&ResourceKey| now.contains_key(key) && before.get(key) == now.get(key);
                let needless: Vec<_> = marked.iter().filter(again).collect();
                prop_assert!(batch.len() > 1 || same || needless.is_empty(), "{:?} for {}", needless, gateway);
            }
        }
        let everything: Vec<_> = all_keys(&all);
        store.apply(&ir::Delta { upserts: Vec::new(), removals: everything });
        for slot in 0..3 {
            let left = (store.scope_size(&gateway_key(slot)), store.digest(&gateway_key(slot)));
            prop_assert_eq!(left, (0, Digest::default()));
        }
    }
}

fn all_keys(all: &ir::Snapshot) -> Vec<ResourceKey> {
    ir::Snapshot::default().delta_to(all).upserts.iter().map(Resource::key).collect()
}
