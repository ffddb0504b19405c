//! Small configurations of several Gateways, and the slow, obvious answer to what belongs to one.

use sluice_ir as ir;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) fn gateway(gateway: &str) -> Arc<ir::Gateway> {
    let (namespace, name) = gateway.split_once('/').unwrap();
    Arc::new(ir::Gateway::plain(
        ir::GatewayKey::new(gateway),
        ir::Origin::new("Gateway", namespace, name),
        ir::Settings::standard(),
    ))
}

pub(crate) fn listener_key(gateway: &str, section: &str) -> ir::ListenerKey {
    ir::ListenerKey::new(format!("Gateway/{gateway}/{section}"))
}

pub(crate) fn http(of: &str, section: &str, port: u16) -> Arc<ir::Listener> {
    let (namespace, name) = of.split_once('/').unwrap();
    Arc::new(ir::Listener {
        key: listener_key(of, section),
        origin: ir::Origin::new("Gateway", namespace, name).section(section),
        gateway: ir::GatewayKey::new(of),
        addresses: Vec::new(),
        networks: Vec::new(),
        port,
        protocol: ir::ListenerProtocol::Http,
        hostname: ir::HostPattern::Any,
        destination: None,
        traffic: None,
    })
}

pub(crate) fn https(of: &str, section: &str, port: u16, certificate: &str) -> Arc<ir::Listener> {
    let tls = ir::Tls::showing(vec![ir::CertificateKey::new(format!("Secret/{certificate}"))]);
    Arc::new(ir::Listener {
        protocol: ir::ListenerProtocol::Https(tls),
        ..(*http(of, section, port)).clone()
    })
}

/// Its private key holds its name.
pub(crate) fn certificate(name: &str) -> Arc<ir::Certificate> {
    let (namespace, short) = name.split_once('/').unwrap();
    Arc::new(ir::Certificate {
        key: ir::CertificateKey::new(format!("Secret/{name}")),
        origin: ir::Origin::new("Secret", namespace, short),
        names: Vec::new(),
        chain: ir::SecretBytes::new(format!("chain of {name}").into_bytes()),
        private_key: ir::SecretBytes::new(format!("private key of {name}").into_bytes()),
        staple: None,
        on_demand: None,
    })
}

pub(crate) fn challenge(of: &str, host: &str, token: &str) -> Arc<ir::Challenge> {
    let (gateway, answer) = (
        ir::GatewayKey::new(of),
        ir::ChallengeAnswer::Http01 {
            token: token.to_owned(),
            key_authorization: ir::SecretBytes::new(format!("{token}.thumbprint").into_bytes()),
        },
    );
    Arc::new(ir::Challenge {
        key: ir::Challenge::key_of(&gateway, host, &answer),
        origin: ir::Origin::new("CertificateIssuer", "shop", "ca"),
        gateway,
        host: host.to_owned(),
        answer,
    })
}

pub(crate) fn endpoints(name: &str, addresses: &[SocketAddr]) -> Arc<ir::EndpointSet> {
    let (namespace, short) = name.split_once('/').unwrap();
    let endpoint = |address: &SocketAddr| ir::Endpoint {
        address: ir::EndpointAddress::Socket(*address),
        state: ir::EndpointState::Ready,
        weight: 1,
        topology: None,
        workload: None,
    };
    Arc::new(ir::EndpointSet {
        is_external: false,
        takes_first: false,
        asked: None,
        key: ir::EndpointSetKey::new(format!("Service/{name}:80")),
        origin: ir::Origin::new("Service", namespace, short),
        endpoints: addresses.iter().map(endpoint).collect(),
    })
}

pub(crate) fn backend(name: &str) -> Arc<ir::Backend> {
    let (namespace, short) = name.split_once('/').unwrap();
    Arc::new(ir::Backend {
        key: ir::BackendKey::new(format!("Service/{name}:80")),
        origin: ir::Origin::new("Service", namespace, short),
        protocol: ir::BackendProtocol::Http1,
        endpoints: ir::EndpointSetKey::new(format!("Service/{name}:80")),
        tls: None,
        policy: None,
        health: None,
        mesh: ir::MeshTls::Off,
    })
}

/// A route for every host of these listeners; `version` is set as a response header.
pub(crate) fn route(name: &str, listeners: &[ir::ListenerKey], to: &[&str], version: u32) -> Arc<ir::Route> {
    let (namespace, short) = name.split_once('/').unwrap();
    let target = |name: &&str| ir::WeightedBackend {
        target: ir::BackendTarget::Backend(ir::BackendKey::new(format!("Service/{name}:80"))),
        weight: 1,
        filters: Box::default(),
    };
    let set = ir::HeaderField { name: "x-version".to_owned(), value: version.to_string() };
    let rule = ir::Rule {
        index: 0,
        name: None,
        matches: [ir::Match::default()].into(),
        filters: vec![ir::Filter::ResponseHeaders(ir::HeaderEdit { set: vec![set], ..Default::default() })]
            .into(),
        backends: to.iter().map(target).collect(),
        timeouts: None,
        retry: None,
        session_persistence: None,
    };
    let attachment = |listener: &ir::ListenerKey| ir::Attachment {
        listener: listener.clone(),
        hostnames: [ir::HostPattern::Any].into(),
    };
    Arc::new(ir::Route {
        key: ir::RouteKey::new(format!("HTTPRoute/{name}")),
        origin: ir::Origin::new("HTTPRoute", namespace, short),
        kind: ir::RouteKind::Http,
        created_s: 0,
        attachments: listeners.iter().map(attachment).collect(),
        traffic: None,
        rules: [rule].into(),
    })
}

/// Adds resources.
pub(crate) fn with(
    mut snapshot: ir::Snapshot,
    upserts: impl IntoIterator<Item = ir::Resource>,
) -> ir::Snapshot {
    snapshot.apply(&ir::Delta { upserts: upserts.into_iter().collect(), removals: Vec::new() });
    snapshot
}

/// A service with one endpoint.
pub(crate) fn service(name: &str, address: SocketAddr) -> [ir::Resource; 2] {
    [ir::Resource::Backend(backend(name)), ir::Resource::EndpointSet(endpoints(name, &[address]))]
}

/// Gateways `shop/web` and `bank/web`, each with a certificate, a listener and a route of its own, and one route that
/// both serve.
pub(crate) fn two_gateways() -> ir::Snapshot {
    let mut all = Vec::new();
    let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
    for namespace in ["shop", "bank"] {
        let own = format!("{namespace}/web");
        let named = |name: &str| format!("{namespace}/{name}");
        all.push(ir::Resource::Gateway(gateway(&own)));
        all.push(ir::Resource::Certificate(certificate(&named("tls"))));
        all.push(ir::Resource::Listener(https(&own, "https", 443, &named("tls"))));
        all.push(ir::Resource::Listener(http(&own, "http", 80)));
        all.extend(service(&named("app"), address));
        all.push(ir::Resource::Route(route(
            &named("app"),
            &[listener_key(&own, "http")],
            &[&named("app")],
            1,
        )));
    }
    let both = [listener_key("shop/web", "http"), listener_key("bank/web", "https")];
    all.push(ir::Resource::Route(route("common/both", &both, &["common/both"], 1)));
    all.extend(service("common/both", address));
    // What nobody uses.
    all.extend(service("common/unused", address));
    all.push(ir::Resource::Certificate(certificate("common/unused")));
    with(ir::Snapshot::default(), all)
}

/// What belongs to a Gateway, by looking at everything.
pub(crate) fn scope(all: &ir::Snapshot, gateway: &str) -> ir::Snapshot {
    scopes(all, &[gateway.to_owned()])
}

/// The same for who has several scopes.
pub(crate) fn scopes(all: &ir::Snapshot, scopes: &[String]) -> ir::Snapshot {
    let is_own = |key: &ir::GatewayKey| scopes.iter().any(|it| it == key.as_str());
    let mut own = ir::Snapshot {
        gateways: all.gateways.iter().filter(|(it, _)| is_own(it)).map(clone).collect(),
        listeners: all.listeners.iter().filter(|(_, it)| is_own(&it.gateway)).map(clone).collect(),
        workloads: all.workloads.iter().filter(|(it, _)| is_own(&it.scope())).map(clone).collect(),
        ..ir::Snapshot::default()
    };
    for (name, route) in &all.routes {
        let mut route = (**route).clone();
        let attachments = route.attachments.iter();
        route.attachments =
            attachments.filter(|it| own.listeners.contains_key(&it.listener)).cloned().collect();
        if !route.attachments.is_empty() {
            own.routes.insert(name.clone(), Arc::new(route));
        }
    }
    for (name, route) in &all.stream_routes {
        let mut route = (**route).clone();
        let attachments = route.attachments.iter();
        route.attachments =
            attachments.filter(|it| own.listeners.contains_key(&it.listener)).cloned().collect();
        if !route.attachments.is_empty() {
            own.stream_routes.insert(name.clone(), Arc::new(route));
        }
    }
    let certificates = own
        .listeners
        .values()
        .flat_map(|listener| listener.protocol.tls().into_iter().flat_map(|tls| tls.certificates.clone()));
    let of_gateway = own.gateways.values().filter_map(|it| it.backend_certificate.clone());
    let certificates: BTreeSet<_> = certificates.chain(of_gateway).collect();
    own.certificates =
        all.certificates.iter().filter(|(it, _)| certificates.contains(*it)).map(clone).collect();
    let rules = own.routes.values().flat_map(|route| &route.rules);
    let targets = rules.flat_map(|rule| {
        let of_rule = rule.filters.iter();
        let mirrors =
            of_rule.chain(rule.backends.iter().flat_map(|it| &it.filters)).filter_map(|it| match it {
                ir::Filter::Mirror(mirror) => Some(mirror.target.clone()),
                _ => None,
            });
        rule.backends.iter().map(|it| it.target.clone()).chain(mirrors).collect::<Vec<_>>()
    });
    let streams = own.stream_routes.values().flat_map(|route| route.backends.iter());
    let targets = targets.chain(streams.map(|it| it.target.clone()));
    let named: BTreeSet<_> = targets
        .filter_map(|target| match target {
            ir::BackendTarget::Backend(key) => Some(key),
            _ => None,
        })
        .collect();
    own.backends = all.backends.iter().filter(|(it, _)| named.contains(*it)).map(clone).collect();
    let sets: BTreeSet<_> = own.backends.values().map(|it| it.endpoints.clone()).collect();
    own.endpoint_sets = all.endpoint_sets.iter().filter(|(it, _)| sets.contains(*it)).map(clone).collect();
    own
}

fn clone<K: Clone, V>((key, value): (&K, &Arc<V>)) -> (K, Arc<V>) {
    (key.clone(), value.clone())
}
