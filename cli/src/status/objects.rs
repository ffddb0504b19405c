//! Reading conditions out of the objects of the API server. Pure: JSON in, report out.

use super::report::{GatewayReport, ParentReport, Problem, RouteReport};
use serde_json::Value;

/// Conditions that tell a fault when they hold.
const FAULTS: [&str; 3] = ["Conflicted", "PartiallyInvalid", "OverlappingTLSConfig"];

/// What an object says of itself, and what is wrong with it.
pub(super) struct Judged<R> {
    pub(super) report: R,
    pub(super) problems: Vec<Problem>,
}

/// `namespace/name` of an object.
pub(super) fn full_name(object: &Value) -> String {
    format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

/// A string at a place, empty when there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A Gateway: its own conditions and those of its listeners.
pub(super) fn gateway(object: &Value) -> Judged<GatewayReport> {
    let title = format!("Gateway {}", full_name(object));
    let mut problems = conditions(object, object, "/status/conditions", &title);
    problems.extend(listeners(object, &title));
    let attached = list(object, "/status/listeners").filter_map(|it| it["attachedRoutes"].as_u64()).sum();
    let report = GatewayReport {
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
        class: text(object, "/spec/gatewayClassName").to_owned(),
        addresses: list(object, "/status/addresses").map(|it| text(it, "/value").to_owned()).collect(),
        accepted: holds(object, object, "/status/conditions", "Accepted"),
        programmed: holds(object, object, "/status/conditions", "Programmed"),
        attached_routes: attached,
        proxies: None,
    };
    Judged { report, problems }
}

/// A ListenerSet: only what is wrong.
pub(super) fn listener_set(object: &Value) -> Vec<Problem> {
    let title = format!("ListenerSet {}", full_name(object));
    let mut problems = conditions(object, object, "/status/conditions", &title);
    problems.extend(listeners(object, &title));
    problems
}

/// A GatewayClass: only what is wrong.
pub(super) fn gateway_class(object: &Value) -> Vec<Problem> {
    let title = format!("GatewayClass {}", text(object, "/metadata/name"));
    conditions(object, object, "/status/conditions", &title)
}

/// A route at the parents that `controllers` answer for, or that are Gateways of ours and have no answer yet; none when
/// it has no such parent.
pub(super) fn route(
    object: &Value,
    kind: &str,
    controllers: &[String],
    is_our_gateway: impl Fn(&str) -> bool,
) -> Option<Judged<RouteReport>> {
    let namespace = text(object, "/metadata/namespace");
    let title = format!("{kind} {}", full_name(object));
    let mut report = RouteReport {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: text(object, "/metadata/name").to_owned(),
        hostnames: list(object, "/spec/hostnames").filter_map(Value::as_str).map(str::to_owned).collect(),
        parents: Vec::new(),
    };
    let mut problems = Vec::new();
    for reference in list(object, "/spec/parentRefs") {
        let parent = parent_title(reference, namespace);
        let answer = list(object, "/status/parents").find(|it| {
            let controller = text(it, "/controllerName");
            controllers.iter().any(|name| name == controller)
                && parent_title(&it["parentRef"], namespace) == parent
        });
        let title = format!("{title} at {parent}");
        let Some(answer) = answer else {
            let gateway = parent_gateway(reference, namespace);
            if gateway.is_some_and(|it| is_our_gateway(&it)) {
                report.parents.push(ParentReport { parent, ..ParentReport::default() });
                problems.push(Problem {
                    object: title,
                    message: "the controller has not answered yet".to_owned(),
                });
            }
            continue;
        };
        report.parents.push(ParentReport {
            parent,
            accepted: holds(object, answer, "/conditions", "Accepted"),
            resolved_refs: holds(object, answer, "/conditions", "ResolvedRefs"),
        });
        problems.extend(conditions(object, answer, "/conditions", &title));
    }
    (!report.parents.is_empty()).then_some(Judged { report, problems })
}

/// `Gateway shop/web section "https"`.
fn parent_title(reference: &Value, namespace: &str) -> String {
    let kind = reference["kind"].as_str().unwrap_or("Gateway");
    let namespace = reference["namespace"].as_str().unwrap_or(namespace);
    let mut title = format!("{kind} {namespace}/{}", text(reference, "/name"));
    if let Some(section) = reference["sectionName"].as_str() {
        title.push_str(&format!(" section {section:?}"));
    }
    if let Some(port) = reference["port"].as_u64() {
        title.push_str(&format!(" port {port}"));
    }
    title
}

/// `shop/web` when the parent is a Gateway.
fn parent_gateway(reference: &Value, namespace: &str) -> Option<String> {
    let is_gateway = reference["kind"].as_str().is_none_or(|kind| kind == "Gateway");
    let namespace = reference["namespace"].as_str().unwrap_or(namespace);
    is_gateway.then(|| format!("{namespace}/{}", text(reference, "/name")))
}

fn listeners(object: &Value, title: &str) -> Vec<Problem> {
    let each = list(object, "/status/listeners").flat_map(|listener| {
        conditions(
            object,
            listener,
            "/conditions",
            &format!("{title} listener {:?}", text(listener, "/name")),
        )
    });
    each.collect()
}

/// Whether a condition holds for the object as it is now.
fn holds(object: &Value, part: &Value, pointer: &str, wanted: &str) -> bool {
    list(part, pointer).any(|it| it["type"] == wanted && it["status"] == "True" && !is_older(object, it))
}

fn is_older(object: &Value, condition: &Value) -> bool {
    condition["observedGeneration"].as_i64() < object.pointer("/metadata/generation").and_then(Value::as_i64)
}

/// The conditions that are not as they should be.
fn conditions(object: &Value, part: &Value, pointer: &str, title: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let problem = |message: String| Problem { object: title.to_owned(), message };
    let mut is_any = false;
    for condition in list(part, pointer) {
        is_any = true;
        let name = text(condition, "/type");
        let is_true = condition["status"] == "True";
        if is_older(object, condition) {
            problems.push(problem(format!(
                "{name} is of an older version of the object; the controller is not there yet"
            )));
        } else if is_true == FAULTS.contains(&name) {
            let (status, reason) = (text(condition, "/status"), text(condition, "/reason"));
            let message = format!("{name}={status} ({reason}) {}", text(condition, "/message"));
            problems.push(problem(message.trim_end().to_owned()));
        }
    }
    if !is_any {
        problems.push(problem("the controller has not answered yet".to_owned()));
    }
    problems
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{gateway, route};
    use serde_json::{Value, json};

    fn condition(name: &str, status: &str, generation: i64) -> Value {
        json!({ "type": name, "status": status, "reason": "Why", "message": "because", "observedGeneration": generation })
    }

    #[test]
    fn a_gateway_tells_what_is_wrong_with_its_listeners() {
        let judged = gateway(&json!({
            "metadata": { "namespace": "shop", "name": "web", "generation": 2 },
            "spec": { "gatewayClassName": "sluice" },
            "status": {
                "addresses": [{ "value": "10.0.0.1" }],
                "conditions": [condition("Accepted", "True", 2), condition("Programmed", "True", 1)],
                "listeners": [
                    { "name": "http", "attachedRoutes": 3, "conditions": [condition("Accepted", "True", 2), condition("Conflicted", "False", 2)] },
                    { "name": "https", "attachedRoutes": 1, "conditions": [condition("ResolvedRefs", "False", 2)] },
                ],
            },
        }));
        assert!(judged.report.accepted && !judged.report.programmed);
        assert_eq!(judged.report.attached_routes, 4);
        let told: Vec<_> =
            judged.problems.iter().map(|it| format!("{}: {}", it.object, it.message)).collect();
        assert_eq!(
            told,
            [
                "Gateway shop/web: Programmed is of an older version of the object; the controller is not there yet",
                "Gateway shop/web listener \"https\": ResolvedRefs=False (Why) because",
            ]
        );
    }

    #[test]
    fn a_route_is_told_only_for_parents_of_ours() {
        let ours = ["sluice.dev/gateway-controller".to_owned()];
        let object = json!({
            "metadata": { "namespace": "shop", "name": "cart", "generation": 1 },
            "spec": { "parentRefs": [{ "name": "web" }, { "name": "new" }, { "name": "theirs" }] },
            "status": { "parents": [
                { "parentRef": { "name": "web" }, "controllerName": ours[0], "conditions": [condition("Accepted", "False", 1)] },
                { "parentRef": { "name": "theirs" }, "controllerName": "example.com/other", "conditions": [] },
            ] },
        });
        let judged = route(&object, "HTTPRoute", &ours, |name| name == "shop/new").unwrap();
        let parents: Vec<_> = judged.report.parents.iter().map(|it| it.parent.as_str()).collect();
        assert_eq!(parents, ["Gateway shop/web", "Gateway shop/new"]);
        let told: Vec<_> =
            judged.problems.iter().map(|it| format!("{}: {}", it.object, it.message)).collect();
        assert_eq!(
            told,
            [
                "HTTPRoute shop/cart at Gateway shop/web: Accepted=False (Why) because",
                "HTTPRoute shop/cart at Gateway shop/new: the controller has not answered yet",
            ]
        );
        let theirs = json!({ "metadata": { "namespace": "shop", "name": "x" }, "spec": { "parentRefs": [{ "name": "theirs" }] } });
        assert!(route(&theirs, "HTTPRoute", &ours, |_| false).is_none());
    }
}
