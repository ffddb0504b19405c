//! A mesh: pods with sidecars, PeerAuthentications, a Service in many forms, and routes whose parent it is.

use super::{GATEWAY_API, Slot, slot};
use serde_json::{Value, json};

const SECURITY: &str = "security.istio.io/v1";
const ISTIO: &str = "networking.istio.io/v1";

pub(super) fn slots() -> Vec<Slot> {
    let mut slots = workloads();
    slots.extend(services());
    slots.extend(routes());
    slots
}

fn workloads() -> Vec<Slot> {
    let pod = |sidecar: &str, app: &str, address: &str, more: Value| {
        let mut it = json!({"spec": {"containers": [], "serviceAccountName": "web"},
                            "status": {"podIP": address, "phase": "Running"}});
        it["metadata"] = json!({"labels": {"security.istio.io/tlsMode": sidecar, "app": app}});
        for (name, value) in more.as_object().unwrap() {
            it["metadata"][name] = value.clone();
        }
        it
    };
    let peers = |spec: Value| json!({ "spec": spec });
    let ports =
        json!({"selector": {"matchLabels": {"app": "web"}}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}});
    vec![
        slot(
            "v1",
            "Pod",
            "shop",
            "web-1",
            vec![
                pod("istio", "web", "10.7.0.1", json!({})),
                pod("istio", "else", "10.7.0.1", json!({})),
                pod("istio", "web", "10.7.0.2", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
                pod("disabled", "web", "10.7.0.1", json!({})),
            ],
        ),
        slot(
            "v1",
            "Pod",
            "other",
            "web-1",
            vec![pod("istio", "web", "10.7.0.1", json!({"creationTimestamp": "2026-01-01T00:00:00Z"}))],
        ),
        slot(
            "v1",
            "Namespace",
            "",
            "mesh",
            vec![json!({"metadata": {"labels": {"istio-injection": "enabled"}}}), json!({"metadata": {}})],
        ),
        slot(
            SECURITY,
            "PeerAuthentication",
            "shop",
            "default",
            vec![
                peers(json!({"mtls": {"mode": "STRICT"}})),
                peers(ports.clone()),
                peers(json!({"mtls": {"mode": "SOMETIMES"}, "portLevelMtls": {"80": {"mode": "STRICT"}}})),
            ],
        ),
        slot(
            SECURITY,
            "PeerAuthentication",
            "istio-system",
            "default",
            vec![peers(json!({"mtls": {"mode": "DISABLE"}})), peers(ports), peers(json!({}))],
        ),
        slot(
            ISTIO,
            "Sidecar",
            "istio-system",
            "default",
            vec![
                json!({"spec": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}),
                json!({"spec": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}}),
            ],
        ),
    ]
}

fn services() -> Vec<Slot> {
    let service = |address: &str, ports: Value| json!({"spec": {"clusterIP": address, "clusterIPs": [address], "ports": ports}});
    let port = |name: &str, number: u16, protocol: Option<&str>| {
        let mut it = json!({"name": name, "port": number});
        if let Some(protocol) = protocol {
            it["appProtocol"] = json!(protocol);
        }
        it
    };
    let rule = |host: &str, more: Value| {
        let mut it = json!({"spec": {"host": host}});
        for (name, value) in more.as_object().unwrap() {
            it["spec"][name] = value.clone();
        }
        it
    };
    let tls = |mode: &str| json!({"trafficPolicy": {"tls": {"mode": mode}}});
    let host = "web.shop.svc.cluster.local";
    let slice = |address: &str| {
        json!({"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
               "ports": [{"name": "http", "port": 8080}, {"name": "any", "port": 8081}],
               "endpoints": [{"addresses": [address]}]})
    };
    vec![
        slot(
            "v1",
            "Service",
            "shop",
            "web",
            vec![
                service(
                    "10.96.0.1",
                    json!([port("http", 80, None), port("any", 81, None), port("db", 3306, None)]),
                ),
                service(
                    "10.96.0.1",
                    json!([port("grpc-a", 80, None), port("any", 81, Some("example.com/odd"))]),
                ),
                service("None", json!([port("http", 80, None), port("tls", 443, Some("https"))])),
                json!({"spec": {"type": "ExternalName", "externalName": "a.test"}}),
            ],
        ),
        slot(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "shop",
            "web-1",
            vec![slice("10.7.0.1"), slice("10.7.0.2")],
        ),
        slot(
            ISTIO,
            "DestinationRule",
            "blog",
            "web",
            vec![
                rule(host, tls("ISTIO_MUTUAL")),
                rule(host, tls("DISABLE")),
                rule("*.shop.svc.cluster.local", tls("SIMPLE")),
                rule(
                    host,
                    json!({"exportTo": ["shop"], "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}),
                ),
            ],
        ),
        slot(
            ISTIO,
            "DestinationRule",
            "shop",
            "web",
            vec![
                rule("web", tls("ISTIO_MUTUAL")),
                rule("web", json!({"exportTo": ["."], "trafficPolicy": {}})),
            ],
        ),
        slot(ISTIO, "DestinationRule", "istio-system", "all", vec![rule("*.local", tls("ISTIO_MUTUAL"))]),
    ]
}

fn routes() -> Vec<Slot> {
    let parent = |more: Value| {
        let mut it = json!({"group": "", "kind": "Service", "name": "web", "namespace": "shop"});
        for (name, value) in more.as_object().unwrap() {
            it[name] = value.clone();
        }
        it
    };
    let entry =
        json!({"group": "networking.istio.io", "kind": "ServiceEntry", "name": "vm", "namespace": "shop"});
    let service = |namespace: &str, port: u16| json!({"name": "cart", "namespace": namespace, "port": port});
    let route = |parents: Value, backends: Value| json!({"spec": {"parentRefs": parents, "rules": [{"backendRefs": backends}]}});
    let bad = json!({"spec": {"parentRefs": [parent(json!({}))], "rules": [{"matches": [{"path": {"value": "bad"}}]}]}});
    let gateway = json!({"name": "a", "namespace": "edge"});
    let http = vec![
        route(json!([parent(json!({}))]), json!([service("shop", 80), service("other", 80)])),
        route(json!([parent(json!({"port": 81})), gateway]), json!([service("other", 80)])),
        route(json!([parent(json!({"sectionName": "http"})), entry]), json!([service("shop", 80)])),
        route(json!([parent(json!({"port": 9}))]), json!([service("shop", 80)])),
        bad,
    ];
    let stream = vec![
        route(json!([parent(json!({}))]), json!([service("shop", 80)])),
        route(json!([parent(json!({"port": 81}))]), json!([service("other", 80)])),
    ];
    vec![
        slot(GATEWAY_API, "HTTPRoute", "shop", "m", http.clone()),
        slot(GATEWAY_API, "HTTPRoute", "blog", "m", http),
        slot(GATEWAY_API, "GRPCRoute", "shop", "m", stream.clone()),
        slot(GATEWAY_API, "TCPRoute", "shop", "m", stream.clone()),
        slot(GATEWAY_API, "TLSRoute", "blog", "m", stream),
    ]
}
