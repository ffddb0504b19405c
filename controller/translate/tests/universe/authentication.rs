//! RequestAuthentications.

use super::{Slot, slot};
use serde_json::{Value, json};

pub(crate) fn slots() -> Vec<Slot> {
    let target =
        |kind: &str, name: &str| json!([{"group": "gateway.networking.k8s.io", "kind": kind, "name": name}]);
    let rule = |uri: &str| json!([{"issuer": "https://id.test", "jwksUri": uri}]);
    let of = |targets: Value, rules: Value| json!({"spec": {"targetRefs": targets, "jwtRules": rules}});
    let mut aged = of(target("Gateway", "a"), rule("https://id.test/old"));
    aged["metadata"] = json!({"creationTimestamp": "2020-01-01T00:00:00Z"});
    let policies = vec![
        of(target("Gateway", "a"), rule("http://api.test/keys")),
        of(target("Gateway", "b"), rule("http://cart.shop.svc.cluster.local/keys")),
        of(target("Gateway", "none"), json!([])),
        of(target("Service", "a"), rule("https://id.test/keys")),
        aged,
        json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "jwtRules": rule("ftp://id.test")}}),
        json!({"spec": {"jwtRules": [{"issuer": "https://id.test"}]}}),
    ];
    let classes = vec![
        of(target("GatewayClass", "sluice"), rule("https://id.test/keys")),
        of(target("GatewayClass", "none"), rule("https://127.0.0.1/keys")),
    ];
    let (group, kind) = ("security.istio.io/v1", "RequestAuthentication");
    vec![
        slot(group, kind, "edge", "j", policies.clone()),
        slot(group, kind, "edge", "k", policies),
        slot(group, kind, "istio-system", "j", classes),
    ]
}
