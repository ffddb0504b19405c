//! From calls to an AuthorizationPolicy: each caller may do what it was seen to do. Callers that do the same share a rule.

use super::observed::{Call, Destination};
use super::{Target, Workload, template};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Port, method and path template of a call; empty for a connection.
type Operation = (Option<u16>, String, String);
/// Methods and ports, and the paths for which they are the same.
type Grouped = BTreeMap<(BTreeSet<String>, Option<u16>), BTreeSet<String>>;

/// Calls of those who are nobody, and how often they came.
type Nameless<'a> = Vec<(&'a Call, u64)>;

/// The policy, where there is something to allow, and the calls of those who are nobody. Paths that differ in one segment only
/// are one when there are more of them than `most_alike`.
pub(super) fn make<'a>(
    namespace: &str,
    workload: &'a Workload,
    most_alike: usize,
) -> (Option<Value>, Nameless<'a>) {
    let calls = &workload.observed.calls;
    let here = || calls.iter().filter(|(call, _)| matches!(call.to, Destination::Here(_)));
    let is_plain = |it: &&Call| !it.is_grpc && !it.path.is_empty();
    let templates =
        template::of(here().map(|it| it.0).filter(is_plain).map(|it| it.path.as_str()), most_alike);
    let mut by_caller: BTreeMap<&str, BTreeSet<Operation>> = BTreeMap::new();
    let mut nameless = Vec::new();
    for (call, count) in here() {
        let Some(caller) = &call.caller else {
            nameless.push((call, *count));
            continue;
        };
        let Destination::Here(port) = call.to else { continue };
        let path = match templates.get(call.path.as_str()).filter(|_| !call.is_grpc) {
            Some(template) => template.clone(),
            None => call.path.clone(),
        };
        by_caller.entry(caller).or_default().insert((port, call.method.clone(), path));
    }
    let mut by_operations: BTreeMap<BTreeSet<Operation>, Vec<&str>> = BTreeMap::new();
    for (caller, operations) in by_caller {
        by_operations.entry(operations).or_default().push(caller);
    }
    let rules: Vec<Value> = by_operations
        .iter()
        .map(|(operations, callers)| {
            json!({
                "from": [{"source": {"principals": callers}}],
                "to": grouped(operations).iter().map(operation).collect::<Vec<_>>(),
            })
        })
        .collect();
    if rules.is_empty() {
        return (None, nameless);
    }
    let mut spec = json!({"action": "ALLOW", "rules": rules});
    match &workload.target {
        Target::Gateway(name) => {
            spec["targetRefs"] =
                json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
        }
        Target::Pods(labels) if labels.is_empty() => {}
        Target::Pods(labels) => spec["selector"] = json!({"matchLabels": labels}),
    }
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {
            "name": workload.policy,
            "namespace": namespace,
            "annotations": {"istio.io/dry-run": "true"},
        },
        "spec": spec,
    });
    (Some(policy), nameless)
}

/// Paths with the same methods stand together.
fn grouped(operations: &BTreeSet<Operation>) -> Grouped {
    let mut methods: BTreeMap<(Option<u16>, &str), BTreeSet<String>> = BTreeMap::new();
    for (port, method, path) in operations {
        methods.entry((*port, path)).or_default().insert(method.clone());
    }
    let mut grouped = Grouped::new();
    for ((port, path), methods) in methods {
        grouped.entry((methods, port)).or_default().insert(path.to_owned());
    }
    grouped
}

fn operation(((methods, port), paths): (&(BTreeSet<String>, Option<u16>), &BTreeSet<String>)) -> Value {
    let mut operation = json!({});
    if let Some(port) = port {
        operation["ports"] = json!([port.to_string()]);
    }
    let methods: Vec<_> = methods.iter().filter(|it| !it.is_empty()).collect();
    if !methods.is_empty() {
        operation["methods"] = json!(methods);
        operation["paths"] = json!(paths);
    }
    json!({"operation": operation})
}
