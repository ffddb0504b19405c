//! A small universe: each object in a few variants that differ in what others read of it.

mod authentication;
mod authorization;
mod egress;
mod mesh;

use serde_json::{Value, json};
use sluice_crds::{Object, ObjectRef, Parsed};
use std::sync::LazyLock;

/// An object that may be absent or one of some variants.
pub(crate) struct Slot {
    pub(crate) reference: ObjectRef,
    pub(crate) variants: Vec<Object>,
}

static SLOTS: LazyLock<Vec<Slot>> = LazyLock::new(make);

pub(crate) fn slots() -> &'static [Slot] {
    &SLOTS
}

static MESH: LazyLock<Vec<Slot>> = LazyLock::new(|| {
    let mut slots = mesh::slots();
    slots.extend(egress::slots());
    slots.extend(backends());
    slots
});

/// Those that matter to a mesh alone.
pub(crate) fn mesh_slots() -> &'static [Slot] {
    &MESH
}

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

fn slot(api_version: &str, kind: &str, namespace: &str, name: &str, variants: Vec<Value>) -> Slot {
    let variants: Vec<Object> = variants
        .into_iter()
        .map(|mut it| {
            it["apiVersion"] = json!(api_version);
            it["kind"] = json!(kind);
            it["metadata"]["namespace"] = json!(namespace);
            it["metadata"]["name"] = json!(name);
            match Object::parse(it, "default").unwrap() {
                Parsed::Known { object, unknown_fields } => {
                    assert!(unknown_fields.is_empty(), "{unknown_fields:?}");
                    object
                }
                Parsed::Ignored { .. } => panic!("{kind} is ignored"),
            }
        })
        .collect();
    Slot { reference: variants[0].reference(), variants }
}

fn make() -> Vec<Slot> {
    let mut slots = gateways();
    slots.extend(routes());
    slots.extend(backends());
    slots.extend(others());
    slots.extend(trust());
    slots.extend(traffic());
    slots.extend(health());
    slots.extend(egress::slots());
    slots.extend(mesh::slots());
    slots.extend(authorization::slots());
    slots.extend(authentication::slots());
    slots
}

fn gateways() -> Vec<Slot> {
    let http = |port: u16, from: &str| json!({"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": from}}});
    let team = json!({"name": "team", "port": 80, "protocol": "HTTP", "hostname": "*.example.com",
        "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}}});
    let https = |namespace: &str| {
        json!({"name": "https", "port": 443, "protocol": "HTTPS",
        "allowedRoutes": {"namespaces": {"from": "All"}},
        "tls": {"certificateRefs": [{"name": "web", "namespace": namespace}]}})
    };
    let stream = |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol, "allowedRoutes": {"namespaces": {"from": "All"}}});
    let tls = |name: &str, mode: &str, host: &str| {
        let mut it = stream(name, 443, "TLS");
        it["hostname"] = json!(host);
        it["tls"] = json!({"mode": mode, "certificateRefs": [{"name": "web"}]});
        it
    };
    let passed = tls("passed", "Passthrough", "*.example.com");
    let ended = tls("ended", "Terminate", "a.example.com");
    let all_sets = json!({"namespaces": {"from": "All"}});
    let parameters =
        json!({"parametersRef": {"group": "sluice.dev", "kind": "GatewayParameters", "name": "p"}});
    let asks = |authorities: &str, namespace: &str, mode: &str| {
        json!({"validation": {"mode": mode,
        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": authorities, "namespace": namespace}]}})
    };
    let mutual = |namespace: &str, mode: &str| {
        json!({"backend": {"clientCertificateRef": {"name": "web", "namespace": namespace}},
               "frontend": {"default": asks("ca", namespace, mode),
                            "perPort": [{"port": 8443, "tls": {}}, {"port": 444, "tls": asks("none", "edge", mode)}]}})
    };
    let a = vec![
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), https("edge"), passed, ended, stream("tcp", 9000, "TCP")],
                        "tls": mutual("edge", "AllowValidOnly"), "allowedListeners": all_sets}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [passed, stream("tcp", 9000, "TCP"), stream("more", 80, "TCP")], "allowedListeners": all_sets}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), https("edge")],
                        "tls": mutual("shop", "AllowInsecureFallback"), "allowedListeners": all_sets}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), https("edge")], "allowedListeners": all_sets}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "Same"), https("shop")]}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(8080, "All"), team], "infrastructure": parameters}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), {"name": "up", "port": 10080, "protocol": "HTTP"}], "infrastructure": {"labels": {"team": "edge"}}}}),
        json!({"spec": {"gatewayClassName": "other", "listeners": [http(80, "All")], "allowedListeners": all_sets}}),
        json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 4},
               "spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All")], "allowedListeners": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}}}}),
    ];
    let b = vec![
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), stream("udp", 9000, "UDP")], "allowedListeners": all_sets}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), https("edge")], "addresses": [{"value": "127.0.0.9"}]}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(8081, "All")], "addresses": [{"type": "Hostname", "value": "a"}]}}),
        json!({"spec": {"gatewayClassName": "sluice", "listeners": [http(80, "All"), stream("proxy", 3128, "sluice.dev/ForwardProxy")], "allowedListeners": all_sets}}),
    ];
    let set = |parent: &str, port: u16, host: &str| {
        json!({"spec": {"parentRef": {"name": parent, "namespace": "edge"}, "listeners": [
        {"name": "http", "port": port, "protocol": "HTTP", "hostname": host, "allowedRoutes": {"namespaces": {"from": "All"}}}]}})
    };
    let mut aged = set("a", 8080, "a.example.com");
    aged["metadata"] = json!({"creationTimestamp": "2025-01-01T00:00:00Z"});
    let mut secure = set("a", 443, "");
    secure["spec"]["listeners"][0]["protocol"] = json!("HTTPS");
    secure["spec"]["listeners"][0]["tls"] =
        json!({"certificateRefs": [{"name": "web", "namespace": "edge"}]});
    let mut udp = set("b", 9000, "");
    udp["spec"]["listeners"] = json!([stream("udp", 9000, "UDP"), stream("tcp", 9000, "TCP")]);
    let mut proxy = set("b", 3129, "");
    proxy["spec"]["listeners"] =
        json!([{"name": "proxy", "port": 3129, "protocol": "sluice.dev/ForwardProxy"}]);
    let moved = {
        let mut it = proxy.clone();
        it["spec"]["parentRef"]["name"] = json!("a");
        it
    };
    let s = vec![
        proxy,
        moved,
        set("a", 8080, "a.example.com"),
        set("b", 80, ""),
        set("missing", 80, ""),
        secure,
        udp,
    ];
    let t = vec![set("a", 8080, "a.example.com"), aged, set("b", 8080, "")];
    let classes = vec![
        json!({"spec": {"controllerName": "sluice.dev/gateway-controller"}}),
        json!({"spec": {"controllerName": "example.com/other"}}),
        json!({"spec": {"controllerName": "sluice.dev/gateway-controller",
            "parametersRef": {"group": "sluice.dev", "kind": "GatewayParameters", "name": "p", "namespace": "edge"}}}),
    ];
    vec![
        slot(GATEWAY_API, "GatewayClass", "", "sluice", classes),
        slot(GATEWAY_API, "Gateway", "edge", "a", a),
        slot(GATEWAY_API, "Gateway", "edge", "b", b),
        slot(GATEWAY_API, "ListenerSet", "shop", "s", s),
        slot(GATEWAY_API, "ListenerSet", "shop", "t", t),
    ]
}

fn routes() -> Vec<Slot> {
    let parent = |name: &str| json!({"name": name, "namespace": "edge"});
    let set = |name: &str| json!({"kind": "ListenerSet", "name": name, "namespace": "shop"});
    let service = |namespace: &str, port: u16| json!({"name": "cart", "namespace": namespace, "port": port});
    let host = json!({"group": "networking.istio.io", "kind": "Hostname", "name": "api.test", "port": 80});
    let route = |parents: Value, rules: Value| json!({"spec": {"parentRefs": parents, "rules": rules}});
    let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": service("other", 80)}});
    let bad = json!({"matches": [{"path": {"value": "bad"}}]});
    let mut hosts = route(json!([parent("a")]), json!([{"backendRefs": [service("shop", 80)]}]));
    hosts["spec"]["hostnames"] = json!(["a.example.com", "b.test"]);
    let entry = |port: Value| json!({"group": "networking.istio.io", "kind": "ServiceEntry", "name": "e", "port": port});
    let mut shaped =
        route(json!([entry(Value::Null), parent("a")]), json!([{"backendRefs": [host.clone()]}]));
    shaped["spec"]["hostnames"] = json!(["api.test", "a.example.com"]);
    let r = vec![
        shaped,
        route(json!([entry(json!(80)), entry(json!(443))]), json!([bad, {"backendRefs": [host.clone()]}])),
        route(json!([parent("a")]), json!([{"backendRefs": [service("shop", 80), service("other", 80)]}])),
        route(json!([parent("a"), parent("b")]), json!([{"backendRefs": [host.clone()]}])),
        route(
            json!([set("s"), parent("b")]),
            json!([{"filters": [mirror], "backendRefs": [service("shop", 81)]}, bad]),
        ),
        hosts,
        route(json!([{"name": "a", "namespace": "edge", "sectionName": "https"}]), json!([bad])),
        route(json!([set("t")]), json!([{"backendRefs": [service("shop", 80)]}])),
    ];
    let grpc = |port: u16| json!([{"backendRefs": [service("shop", port)]}]);
    let mut named = route(json!([parent("a")]), json!([{"backendRefs": [service("shop", 80), host]}]));
    named["spec"]["hostnames"] = json!(["a.example.com"]);
    let mut wild = route(json!([parent("a"), parent("b")]), json!([{"backendRefs": [service("other", 80)]}]));
    wild["spec"]["hostnames"] = json!(["*.example.com", "b.test"]);
    let tls = vec![
        route(json!([entry(Value::Null)]), json!([{"backendRefs": [service("shop", 80)]}])),
        named,
        wild,
        route(json!([parent("a")]), json!([])),
    ];
    let udp = vec![
        route(json!([parent("b")]), json!([{"backendRefs": [service("shop", 53), service("shop", 80)]}])),
        route(json!([parent("b"), set("s")]), json!([{"backendRefs": [service("other", 53)]}])),
    ];
    let g = vec![route(json!([parent("a")]), grpc(80)), route(json!([parent("b"), set("s")]), grpc(81))];
    vec![
        slot(GATEWAY_API, "HTTPRoute", "shop", "r", r.clone()),
        slot(GATEWAY_API, "HTTPRoute", "blog", "r", r),
        slot(GATEWAY_API, "GRPCRoute", "shop", "g", g.clone()),
        slot(GATEWAY_API, "TLSRoute", "shop", "t", tls),
        slot(GATEWAY_API, "TLSRoute", "blog", "t", g),
        slot(GATEWAY_API, "UDPRoute", "shop", "t", udp),
        slot(
            GATEWAY_API,
            "TCPRoute",
            "blog",
            "t",
            vec![route(json!([parent("a")]), json!([{"backendRefs": [service("shop", 80)]}]))],
        ),
        slot(
            GATEWAY_API,
            "TCPRoute",
            "shop",
            "t",
            vec![
                route(
                    json!([entry(json!(80)), parent("a")]),
                    json!([{"backendRefs": [service("shop", 80)]}]),
                ),
                route(json!([parent("a"), set("s")]), json!([{"backendRefs": [service("other", 80)]}])),
                route(
                    json!([{"name": "a", "namespace": "edge", "sectionName": "https"}]),
                    json!([{"backendRefs": [service("shop", 81)]}]),
                ),
            ],
        ),
    ]
}

fn backends() -> Vec<Slot> {
    let service = |ports: Value| json!({"spec": {"ports": ports}});
    let slice = |of: &str, address: &str, name: &str| {
        json!({"metadata": {"labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4", "ports": [{"name": name, "port": 8080}], "endpoints": [{"addresses": [address], "nodeName": "one"}]})
    };
    let entry = |export: Value, address: &str| {
        json!({"spec": {"hosts": ["api.test"], "resolution": "STATIC", "exportTo": export,
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "endpoints": [{"address": address}]}})
    };
    let mut dns = entry(json!(["*"]), "10.1.0.1");
    dns["spec"]["resolution"] = json!("DNS");
    dns["spec"]["endpoints"] = json!([]);
    let mut secure = entry(json!([]), "10.1.0.7");
    secure["spec"]["ports"] = json!([{"number": 80, "name": "http", "protocol": "HTTPS"}, {"number": 443, "name": "tls", "protocol": "TLS"}]);
    let mut old = entry(json!([]), "10.1.0.2");
    old["metadata"] = json!({"creationTimestamp": "2020-01-01T00:00:00Z"});
    vec![
        slot(
            "v1",
            "Service",
            "shop",
            "cart",
            vec![
                service(json!([{"name": "http", "port": 80}])),
                service(
                    json!([{"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}, {"name": "more", "port": 81}]),
                ),
                service(json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
                               {"name": "more", "port": 80, "protocol": "UDP"}])),
                json!({"spec": {"type": "ExternalName", "externalName": "a.test", "ports": [{"port": 80}]}}),
            ],
        ),
        slot(
            "v1",
            "Service",
            "other",
            "cart",
            vec![
                service(json!([{"name": "http", "port": 80}])),
                service(json!([{"name": "http", "port": 80, "appProtocol": "https"}])),
            ],
        ),
        slot(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "shop",
            "cart-a",
            vec![
                slice("cart", "10.0.0.1", "http"),
                slice("cart", "10.0.0.2", "more"),
                slice("else", "10.0.0.1", "http"),
                json!({"metadata": {"labels": {"kubernetes.io/service-name": "cart"}}, "addressType": "IPv4",
                       "ports": [{"name": "dns", "port": 5353, "protocol": "UDP"}, {"name": "http", "port": 8080}],
                       "endpoints": [{"addresses": ["10.0.0.1"]}]}),
            ],
        ),
        slot(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "shop",
            "cart-b",
            vec![
                slice("cart", "10.0.0.2", "http"),
                json!({"metadata": {"labels": {"kubernetes.io/service-name": "cart"}}, "addressType": "IPv4",
                       "ports": [{"name": "http", "port": 8080}],
                       "endpoints": [{"addresses": ["10.0.0.3"], "nodeName": "one"}]}),
            ],
        ),
        rule("shop", "cart", "cart"),
        rule("shop", "late", "cart.shop.svc.cluster.local"),
        rule("other", "all", "*"),
        rule("istio-system", "root", "*.svc.cluster.local"),
        slot(
            "networking.istio.io/v1",
            "ServiceEntry",
            "shop",
            "e",
            vec![entry(json!([]), "10.1.0.3"), entry(json!(["."]), "10.1.0.4"), dns, secure],
        ),
        slot(
            "networking.istio.io/v1",
            "Sidecar",
            "shop",
            "open",
            vec![
                json!({"spec": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}}),
                json!({"spec": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}),
                json!({"spec": {"workloadSelector": {"labels": {"a": "b"}}, "outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}}),
                json!({"spec": {}}),
            ],
        ),
        slot(
            "networking.istio.io/v1",
            "Sidecar",
            "shop",
            "other",
            vec![
                json!({"spec": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}}),
                json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"},
                       "spec": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}}),
            ],
        ),
        slot(
            "networking.istio.io/v1",
            "Sidecar",
            "istio-system",
            "mesh",
            vec![
                json!({"spec": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}}),
                json!({"spec": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}),
            ],
        ),
        slot(
            "networking.istio.io/v1",
            "ServiceEntry",
            "other",
            "e",
            vec![entry(json!([]), "10.1.0.5"), old, entry(json!(["blog"]), "10.1.0.6")],
        ),
    ]
}

/// A DestinationRule that says different things of a host.
fn rule(namespace: &'static str, name: &'static str, host: &str) -> Slot {
    let of = |policy: Value| json!({"spec": {"host": host, "trafficPolicy": policy}});
    slot(
        "networking.istio.io/v1",
        "DestinationRule",
        namespace,
        name,
        vec![
            of(json!({"outlierDetection": {}})),
            of(json!({"loadBalancer": {"localityLbSetting": {"enabled": false}}, "outlierDetection": {}})),
            of(
                json!({"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "*", "to": {"eu": 100}}]}}}),
            ),
            of(json!({"tunnel": {"targetHost": "db.example.com", "targetPort": 443}})),
            of(json!({"tunnel": {"protocol": "POST", "targetHost": "db.example.com", "targetPort": 443}})),
            of(json!({"tls": {"mode": "SIMPLE"}, "portLevelSettings": [{"port": {"number": 80}}]})),
            json!({"spec": {"host": host, "exportTo": ["."], "subsets": [{"name": "v1"}]}}),
            json!({"spec": {"host": host, "workloadSelector": {"matchLabels": {}}}}),
        ],
    )
}

fn others() -> Vec<Slot> {
    let grant = |kind: &str, from: &str, to: Value| {
        json!({"spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": from}], "to": [to]}})
    };
    let pair = || {
        let key = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
        (key.cert.pem(), key.signing_key.serialize_pem())
    };
    let (first, second) = (pair(), pair());
    let secret = |chain: &str, key: &str| json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": chain, "tls.key": key}});
    // A password beside a certificate.
    let opens = |chain: &str, key: &str, password: &str| {
        let mut it = secret(chain, key);
        it["stringData"]["password"] = json!(password);
        it
    };
    vec![
        slot(
            "v1",
            "Secret",
            "edge",
            "web",
            vec![
                secret(&first.0, &first.1),
                secret(&second.0, &second.1),
                secret(&first.0, &second.1),
                secret("a", "b"),
                opens(&first.0, &first.1, "one"),
            ],
        ),
        slot(
            "v1",
            "Secret",
            "shop",
            "web",
            vec![
                secret(&first.0, &first.1),
                opens(&first.0, &first.1, "one"),
                opens(&first.0, &first.1, "two"),
                opens("a", "b", "one"),
            ],
        ),
        slot(
            GATEWAY_API,
            "ReferenceGrant",
            "other",
            "g",
            vec![
                grant("HTTPRoute", "shop", json!({"group": "", "kind": "Service"})),
                grant("HTTPRoute", "blog", json!({"group": "", "kind": "Service", "name": "cart"})),
                grant("TLSRoute", "shop", json!({"group": "", "kind": "Service"})),
                json!({"spec": {
                    "from": [{"group": "sluice.dev", "kind": "TrafficPolicy", "namespace": "edge"}],
                    "to": [{"group": "", "kind": "Service"}]}}),
            ],
        ),
        slot(
            GATEWAY_API,
            "ReferenceGrant",
            "shop",
            "g",
            vec![
                grant("Gateway", "edge", json!({"group": "", "kind": "Secret"})),
                grant("Gateway", "edge", json!({"group": "", "kind": "ConfigMap"})),
                grant("HTTPRoute", "blog", json!({"group": "", "kind": "Service"})),
            ],
        ),
        slot(
            GATEWAY_API,
            "ReferenceGrant",
            "edge",
            "g",
            vec![grant("ListenerSet", "shop", json!({"group": "", "kind": "Secret"}))],
        ),
        slot(
            "v1",
            "Namespace",
            "",
            "shop",
            vec![json!({"metadata": {"labels": {"team": "shop"}}}), json!({})],
        ),
        slot(
            "v1",
            "Node",
            "",
            "one",
            vec![
                json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}}),
                json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "b", "topology.kubernetes.io/region": "eu"}}}),
                json!({}),
            ],
        ),
        slot(
            "sluice.dev/v1alpha1",
            "GatewayParameters",
            "edge",
            "p",
            vec![
                json!({"spec": {"trustedHops": 2}}),
                json!({"spec": {"trustedHops": 2000}}),
                json!({"spec": {"deployment": {"replicas": 3}, "service": {"type": "NodePort"}}}),
                json!({"spec": {"managed": false, "serviceAccount": "mine", "addresses": [{"value": "192.0.2.1"}]}}),
            ],
        ),
    ]
}

/// BackendTLSPolicies and the authorities that they and Gateways name.
fn trust() -> Vec<Slot> {
    let policy = |service: &str, section: Value, validation: Value| {
        json!({"spec": {"targetRefs": [{"group": "", "kind": "Service", "name": service, "sectionName": section}],
                        "validation": validation}})
    };
    let of = |kind: &str, name: &str| json!({"hostname": "cart.test", "caCertificateRefs": [{"group": "", "kind": kind, "name": name}]});
    let system = json!({"hostname": "cart.test", "wellKnownCACertificates": "System",
                        "subjectAltNames": [{"type": "URI", "uri": "spiffe://test/cart"}]});
    let mut aged = policy("cart", json!("http"), system.clone());
    aged["metadata"] = json!({"creationTimestamp": "2021-01-01T00:00:00Z", "generation": 3});
    let unknown = json!({"hostname": "*.test", "wellKnownCACertificates": "Ours"});
    let mut several = policy("cart", json!("http"), of("ConfigMap", "ca"));
    several["spec"]["targetRefs"] = json!([{"group": "", "kind": "Service", "name": "cart", "sectionName": "more"},
                                           {"group": "", "kind": "Service", "name": "gone"},
                                           {"group": "a.test", "kind": "Bucket", "name": "b"}]);
    let of_entry = |section: Value, validation: Value| {
        json!({"spec": {"targetRefs": [{"group": "networking.istio.io", "kind": "ServiceEntry", "name": "e", "sectionName": section}],
                        "validation": validation}})
    };
    let first = vec![
        of_entry(Value::Null, system.clone()),
        policy("cart", Value::Null, of("ConfigMap", "ca")),
        policy("cart", json!("http"), of("Secret", "web")),
        aged,
        several,
    ];
    let second = vec![
        of_entry(json!("http"), of("ConfigMap", "ca")),
        policy("cart", Value::Null, system),
        policy("cart", json!("http"), of("ConfigMap", "ca")),
        policy("cart", Value::Null, unknown),
        policy("cart", json!("absent"), of("Service", "ca")),
    ];
    let authority = || rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap().cert.pem();
    let bundles = |first: String, second: String| {
        vec![
            json!({"data": {"ca.crt": first}}),
            json!({"data": {"ca.crt": second}}),
            json!({"data": {"ca.crt": ""}}),
            json!({}),
        ]
    };
    vec![
        slot(GATEWAY_API, "BackendTLSPolicy", "shop", "p", first.clone()),
        slot(GATEWAY_API, "BackendTLSPolicy", "shop", "q", second),
        slot(GATEWAY_API, "BackendTLSPolicy", "other", "p", first),
        slot("v1", "ConfigMap", "shop", "ca", bundles(authority(), authority())),
        slot("v1", "ConfigMap", "edge", "ca", bundles(authority(), authority())),
    ]
}

/// HealthCheckPolicies of Services and of a ServiceEntry.
fn health() -> Vec<Slot> {
    let policy = |targets: Value, more: Value| {
        let mut it = json!({"spec": {"type": "HTTP", "targetRefs": targets}});
        for (name, value) in more.as_object().into_iter().flatten() {
            it["spec"][name] = value.clone();
        }
        it
    };
    let service = |name: &str| json!({"kind": "Service", "name": name});
    let port = |name: &str, port: &str| json!({"kind": "Service", "name": name, "sectionName": port});
    let mut aged = policy(json!([service("cart")]), json!({"interval": "5s"}));
    aged["metadata"] = json!({"creationTimestamp": "2021-01-01T00:00:00Z", "generation": 2});
    let in_shop = vec![
        policy(json!([service("cart"), service("gone")]), json!({})),
        policy(
            json!([port("cart", "http"), port("cart", "absent")]),
            json!({"type": "TCP", "tls": "Disable"}),
        ),
        policy(json!([service("cart"), {"kind": "ServiceEntry", "name": "e"}]), json!({"port": 8081})),
        policy(json!([service("cart"), {"kind": "Pod", "name": "cart"}]), json!({"interval": "0s"})),
        aged,
    ];
    let api = "sluice.dev/v1alpha1";
    vec![
        slot(api, "HealthCheckPolicy", "shop", "x", in_shop.clone()),
        slot(api, "HealthCheckPolicy", "shop", "y", in_shop.clone()),
        slot(api, "HealthCheckPolicy", "other", "x", in_shop),
    ]
}

/// TrafficPolicies of everything that they can govern.
fn traffic() -> Vec<Slot> {
    let target =
        |kind: &str, name: &str, section: Value| json!({"kind": kind, "name": name, "sectionName": section});
    let policy = |targets: Value, settings: Value| {
        let mut it = json!({"spec": settings});
        it["spec"]["targetRefs"] = targets;
        it
    };
    let limits = |bytes: u32| json!({"limits": {"requestBodyBytes": bytes}});
    let resilience =
        json!({"buffer": {"maxBytes": 10}, "concurrency": {"minRequests": 3}, "hedging": {"delay": "5ms"}});
    let bodies = json!({"compression": {"exemptPaths": ["/a"]}, "decompression": {"maxRatio": 7}, "cache": {"defaultTtl": "5s"}});
    let ext_auth = |protocol: &str, namespace: &str| {
        let backend = json!({"name": "cart", "namespace": namespace, "port": 80});
        json!({"extAuth": {"protocol": protocol, "backendRef": backend}})
    };
    let asks_host = json!({"extAuth": {"protocol": "HTTP", "backendRef":
        {"group": "networking.istio.io", "kind": "Hostname", "name": "api.test", "port": 80}}});
    let counted = json!({"rateLimit": {"global": {
        "redis": {"address": "redis.test:6379", "credentialsRef": {"name": "web"}, "tls": {"secretRef": {"name": "web"}}},
        "rules": [{"requests": 1}]}}});
    let clients = json!({"clients": {"allow": ["10.0.0.0/8"]}, "timeouts": {"request": "1s"}});
    let bad = json!({"clients": {"deny": ["somebody"]}});
    let whole = |kind: &str, name: &str| target(kind, name, Value::Null);
    let mut aged = policy(json!([whole("HTTPRoute", "r")]), limits(5));
    aged["metadata"] = json!({"creationTimestamp": "2021-01-01T00:00:00Z", "generation": 2});
    let in_shop = vec![
        policy(json!([whole("HTTPRoute", "r"), whole("GRPCRoute", "g")]), limits(1)),
        policy(json!([whole("ListenerSet", "s"), target("ListenerSet", "t", json!("http"))]), limits(2)),
        policy(json!([whole("HTTPRoute", "r"), target("HTTPRoute", "r", json!("absent"))]), clients.clone()),
        policy(json!([whole("HTTPRoute", "r"), target("ListenerSet", "s", json!("http"))]), resilience),
        policy(json!([whole("HTTPRoute", "r"), whole("HTTPRoute", "gone"), whole("TCPRoute", "t")]), bad),
        aged,
        policy(json!([whole("HTTPRoute", "r"), whole("ListenerSet", "s")]), ext_auth("GRPC", "shop")),
        policy(json!([whole("GRPCRoute", "g"), whole("HTTPRoute", "r")]), asks_host),
        policy(json!([whole("HTTPRoute", "r"), whole("ListenerSet", "s")]), bodies),
        policy(json!([whole("HTTPRoute", "r")]), json!({"extAuth": {"disabled": true}})),
        policy(json!([whole("HTTPRoute", "r"), whole("ListenerSet", "s")]), counted.clone()),
        policy(json!([whole("HTTPRoute", "r")]), json!({"rateLimit": {"disabled": true}})),
    ];
    let in_edge = vec![
        policy(json!([whole("Gateway", "a"), whole("Gateway", "b")]), limits(3)),
        policy(
            json!([target("Gateway", "a", json!("http")), target("Gateway", "a", json!("https"))]),
            clients,
        ),
        policy(json!([whole("Gateway", "a")]), json!({})),
        policy(
            json!([whole("Gateway", "a"), target("Gateway", "b", json!("http"))]),
            ext_auth("HTTP", "other"),
        ),
        policy(json!([whole("Gateway", "a")]), ext_auth("GRPC", "shop")),
        policy(json!([whole("Gateway", "a"), target("Gateway", "b", json!("http"))]), counted),
    ];
    let api = "sluice.dev/v1alpha1";
    vec![
        slot(api, "TrafficPolicy", "shop", "x", in_shop.clone()),
        slot(api, "TrafficPolicy", "shop", "y", in_shop),
        slot(api, "TrafficPolicy", "edge", "x", in_edge.clone()),
        slot(api, "TrafficPolicy", "edge", "y", in_edge),
    ]
}
