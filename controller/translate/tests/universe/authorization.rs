//! AuthorizationPolicies of Gateways, classes and workloads, and the mesh's configuration that they are read by.

use super::{Slot, slot};
use serde_json::{Value, json};

pub(super) fn slots() -> Vec<Slot> {
    let api = "security.istio.io/v1";
    let target =
        |kind: &str, name: &str| json!({"group": "gateway.networking.k8s.io", "kind": kind, "name": name});
    let policy = |spec: Value| json!({"spec": spec});
    let paths = |path: &str| json!([{"to": [{"operation": {"paths": [path]}}]}]);
    let peers = json!([{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}]);
    let custom = |provider: &str, target: &Value| {
        policy(
            json!({"action": "CUSTOM", "provider": {"name": provider}, "targetRefs": [target], "rules": [{}]}),
        )
    };
    let (a, b) = (target("Gateway", "a"), target("Gateway", "b"));
    let mut aged = policy(json!({"targetRefs": [a], "rules": paths("/aged")}));
    aged["metadata"] = json!({"creationTimestamp": "2021-01-01T00:00:00Z", "generation": 2});
    let mut dry = policy(json!({"action": "DENY", "targetRefs": [b], "rules": [{}]}));
    dry["metadata"] = json!({"annotations": {"istio.io/dry-run": "true"}});
    let of_edge = vec![
        policy(json!({"action": "DENY", "targetRefs": [a, b], "rules": paths("/x")})),
        policy(json!({"targetRefs": [a, target("Gateway", "gone")], "rules": peers.clone()})),
        custom("cart", &a),
        custom("host", &b),
        aged,
        dry,
        policy(
            json!({"action": "DENY", "targetRefs": [a, target("GatewayClass", "sluice")], "rules": paths("")}),
        ),
        policy(json!({"selector": {"matchLabels": {"app": "web"}}, "rules": peers.clone()})),
    ];
    let of_root = vec![
        policy(json!({"action": "AUDIT", "targetRefs": [target("GatewayClass", "sluice")], "rules": [{}]})),
        policy(json!({"action": "DENY", "targetRefs": [target("GatewayClass", "other")], "rules": peers})),
        policy(json!({"rules": []})),
    ];
    let mesh = |text: &str| json!({"data": {"mesh": text}});
    let mesh = vec![
        mesh(
            "trustDomain: a.example\nextensionProviders:\n- name: cart\n  envoyExtAuthzGrpc: {service: shop/cart, port: 80}",
        ),
        mesh(
            "trustDomainAliases: [old.example]\npathNormalization: {normalization: BASE}\nextensionProviders:\n- name: \
             host\n  envoyExtAuthzHttp: {service: shop/api.test, port: 80}\n- {name: cart}",
        ),
        mesh("trustDomain: ["),
        json!({}),
    ];
    vec![
        slot(api, "AuthorizationPolicy", "edge", "x", of_edge.clone()),
        slot(api, "AuthorizationPolicy", "edge", "y", of_edge.clone()),
        slot(api, "AuthorizationPolicy", "shop", "x", of_edge),
        slot(api, "AuthorizationPolicy", "istio-system", "x", of_root),
        slot("v1", "ConfigMap", "istio-system", "istio", mesh),
    ]
}
