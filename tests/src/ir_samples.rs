//! Small snapshots made by hand, for tests that are about the data plane alone.

use sluice_ir as ir;
use std::net::SocketAddr;
use std::sync::Arc;

/// Key of the one Gateway.
pub fn gateway_key() -> ir::GatewayKey {
    ir::GatewayKey::new("default/web")
}

/// Key of the one listener.
pub fn listener_key() -> ir::ListenerKey {
    ir::ListenerKey::new("Gateway/default/web/http")
}

/// One HTTP listener on port 80 and one route that sends everything to `address`.
pub fn everything_to(address: SocketAddr) -> ir::Snapshot {
    everything_to_speaking(address, ir::BackendProtocol::Http1)
}

/// The same with a protocol.
pub fn everything_to_speaking(address: SocketAddr, protocol: ir::BackendProtocol) -> ir::Snapshot {
    let mut snapshot = ir::Snapshot::default();
    let mut delta = ir::Delta::default();
    delta.upserts.push(ir::Resource::Gateway(gateway(ir::Settings::standard())));
    delta.upserts.push(ir::Resource::Listener(listener(80)));
    delta.upserts.push(ir::Resource::EndpointSet(endpoints("main", &[address])));
    delta.upserts.push(ir::Resource::Backend(backend("main", protocol)));
    delta.upserts.push(ir::Resource::Route(route("all", vec![rule(0, ir::Match::default(), "main")])));
    snapshot.apply(&delta);
    snapshot
}

/// The snapshot with other settings of its Gateway.
pub fn with_settings(mut snapshot: ir::Snapshot, edit: impl FnOnce(&mut ir::Settings)) -> ir::Snapshot {
    let mut settings = ir::Settings::standard();
    edit(&mut settings);
    snapshot.gateways.insert(gateway_key(), gateway(settings));
    snapshot
}

/// The Gateway.
pub fn gateway(settings: ir::Settings) -> Arc<ir::Gateway> {
    Arc::new(ir::Gateway::plain(gateway_key(), ir::Origin::new("Gateway", "default", "web"), settings))
}

/// A listener for every host.
pub fn listener(port: u16) -> Arc<ir::Listener> {
    Arc::new(ir::Listener {
        key: listener_key(),
        origin: ir::Origin::new("Gateway", "default", "web").section("http"),
        gateway: gateway_key(),
        addresses: Vec::new(),
        networks: Vec::new(),
        port,
        protocol: ir::ListenerProtocol::Http,
        hostname: ir::HostPattern::Any,
        destination: None,
        traffic: None,
    })
}

/// Ready endpoints.
pub fn endpoints(name: &str, addresses: &[SocketAddr]) -> Arc<ir::EndpointSet> {
    let endpoint = |address: &SocketAddr| ir::Endpoint {
        address: ir::EndpointAddress::Socket(*address),
        state: ir::EndpointState::Ready,
        weight: 1,
        topology: None,
        workload: None,
    };
    let mut endpoints: Vec<_> = addresses.iter().map(endpoint).collect();
    endpoints.sort();
    Arc::new(ir::EndpointSet {
        is_external: false,
        takes_first: false,
        asked: None,
        key: ir::EndpointSetKey::new(format!("Service/default/{name}:80")),
        origin: ir::Origin::new("Service", "default", name),
        endpoints,
    })
}

/// A backend of the endpoints of its name.
pub fn backend(name: &str, protocol: ir::BackendProtocol) -> Arc<ir::Backend> {
    Arc::new(ir::Backend {
        key: ir::BackendKey::new(format!("Service/default/{name}:80")),
        origin: ir::Origin::new("Service", "default", name),
        protocol,
        endpoints: ir::EndpointSetKey::new(format!("Service/default/{name}:80")),
        tls: None,
        policy: None,
        health: None,
        mesh: ir::MeshTls::Off,
    })
}

/// An HTTPRoute for every host of the one listener.
pub fn route(name: &str, rules: Vec<ir::Rule>) -> Arc<ir::Route> {
    Arc::new(ir::Route {
        key: ir::RouteKey::new(format!("HTTPRoute/default/{name}")),
        origin: ir::Origin::new("HTTPRoute", "default", name),
        kind: ir::RouteKind::Http,
        created_s: 0,
        attachments: [ir::Attachment { listener: listener_key(), hostnames: [ir::HostPattern::Any].into() }]
            .into(),
        traffic: None,
        rules: rules.into(),
    })
}

/// A rule with one match and one backend.
pub fn rule(index: u32, matching: ir::Match, backend: &str) -> ir::Rule {
    ir::Rule {
        index,
        name: None,
        matches: [matching].into(),
        filters: Box::default(),
        backends: [ir::WeightedBackend {
            target: ir::BackendTarget::Backend(ir::BackendKey::new(format!("Service/default/{backend}:80"))),
            weight: 1,
            filters: Box::default(),
        }]
        .into(),
        timeouts: None,
        retry: None,
        session_persistence: None,
    }
}
