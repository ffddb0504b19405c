//! Statuses as they are written, and what the data plane says of its ports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sluice_crds::{Kind, Object, ObjectRef, Parsed};
use sluice_ir::{CertificateKey, ListenerKey};
use sluice_translate::{
    Change, FEATURES, GatewayAddress, Infrastructure, Options, StapleReason, StapleStanding, Translator,
    Unreadable, translate,
};
use std::collections::BTreeMap;

fn object(value: Value) -> Object {
    match Object::parse(value, "edge").unwrap() {
        Parsed::Known { object, .. } => object,
        Parsed::Ignored { kind, .. } => panic!("{kind}"),
    }
}

fn world() -> Translator {
    translate(Options { standalone: true, ..Options::default() }, objects())
}

fn objects() -> [Object; 3] {
    let listener = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "HTTP"});
    let objects = [
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "sluice", "generation": 2},
               "spec": {"controllerName": "sluice.dev/gateway-controller"}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "generation": 5},
               "spec": {"gatewayClassName": "sluice", "listeners": [listener("a", 80), listener("b", 81)]}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "generation": 3},
               "spec": {"parentRefs": [{"name": "web", "group": "gateway.networking.k8s.io", "sectionName": "a"}],
                        "rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}]}}),
    ];
    objects.map(object)
}

fn status(translator: &Translator, kind: Kind, name: &str) -> Value {
    serde_json::to_value(&translator.statuses()[&ObjectRef::new(kind, "edge", name)]).unwrap()
}

fn condition(r#type: &str, status: &str, reason: &str, message: &str, generation: i64) -> Value {
    json!({"type": r#type, "status": status, "reason": reason, "message": message, "observedGeneration": generation})
}

#[test]
fn a_status_is_written_as_the_api_has_it() {
    let translator = world();
    let good = |r#type: &str, generation| condition(r#type, "True", r#type, "", generation);
    let kinds = json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"},
                       {"group": "gateway.networking.k8s.io", "kind": "GRPCRoute"}]);
    let listener = |name: &str, routes: u32| {
        json!({"name": name, "attachedRoutes": routes, "supportedKinds": kinds,
        "conditions": [good("Accepted", 5), good("Programmed", 5), good("ResolvedRefs", 5)]})
    };
    assert_eq!(
        status(&translator, Kind::Gateway, "web"),
        json!({"conditions": [good("Accepted", 5), good("Programmed", 5)], "listeners": [listener("a", 1), listener("b", 0)]})
    );
    assert_eq!(
        status(&translator, Kind::HttpRoute, "r"),
        json!({"parents": [{"controllerName": "sluice.dev/gateway-controller",
            "parentRef": {"name": "web", "group": "gateway.networking.k8s.io", "sectionName": "a"},
            "conditions": [good("Accepted", 3), good("ResolvedRefs", 3)]}]})
    );
    let features: Vec<Value> = FEATURES.iter().map(|name| json!({"name": name})).collect();
    assert_eq!(
        status(&translator, Kind::GatewayClass, "sluice"),
        json!({"conditions": [good("Accepted", 2), good("SupportedVersion", 2)], "supportedFeatures": features})
    );
    let parts: Vec<String> = translator
        .statuses()
        .values()
        .flat_map(|it| it.conditions())
        .map(|(part, it)| format!("{part}:{}", it.r#type))
        .collect();
    assert!(parts.contains(&"listener \"a\":Programmed".to_owned()), "{parts:?}");
    assert!(parts.contains(&"parent \"web\" section \"a\":Accepted".to_owned()), "{parts:?}");
}

#[test]
fn a_port_that_can_not_be_bound_is_told_and_forgotten() {
    let mut translator = world();
    let before = translator.statuses().clone();
    let key = |name: &str| ListenerKey::new(format!("Gateway/edge/web/{name}"));
    let update = translator.bind_failures(vec![(key("a"), "address in use".to_owned())]);
    assert!(update.delta.is_empty());
    assert_eq!(update.statuses, [ObjectRef::new(Kind::Gateway, "edge", "web")]);
    let one = status(&translator, Kind::Gateway, "web");
    let message = "the port could not be bound: address in use";
    assert_eq!(one["listeners"][0]["conditions"][1], condition("Programmed", "False", "Invalid", message, 5));
    assert_eq!(one["conditions"][1], condition("Programmed", "True", "Programmed", "", 5));
    let problems = translator.problems();
    assert!(
        problems.iter().any(|it| it.field == "spec.listeners[0].port" && it.message == message),
        "{problems:?}"
    );

    let both = vec![(key("a"), "address in use".to_owned()), (key("b"), "no permission".to_owned())];
    translator.bind_failures(both);
    let both = status(&translator, Kind::Gateway, "web");
    let message = "no port could be bound: address in use";
    assert_eq!(both["conditions"][1], condition("Programmed", "False", "AddressNotUsable", message, 5));

    translator.bind_failures(Vec::new());
    assert_eq!(translator.statuses(), &before);
    assert!(translator.problems().is_empty());
}

/// An HTTPS listener whose certificate is in Secret `web`, and a plain one.
fn with_certificate() -> Translator {
    let made = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
    let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP"},
                           {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "web"}]}}]);
    let objects = [
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "sluice"},
               "spec": {"controllerName": "sluice.dev/gateway-controller"}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "generation": 5},
               "spec": {"gatewayClassName": "sluice", "listeners": listeners}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "type": "kubernetes.io/tls",
               "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()}}),
    ];
    translate(Options { standalone: true, ..Options::default() }, objects.map(object))
}

#[test]
fn a_listener_says_whether_its_certificate_is_stapled() {
    let mut translator = with_certificate();
    let before = translator.statuses().clone();
    let mut tell = |reason, message: &str| {
        let standing = StapleStanding { reason, message: message.to_owned() };
        let update = translator.staples(BTreeMap::from([(CertificateKey::new("Secret/edge/web"), standing)]));
        assert!(update.delta.is_empty());
        assert_eq!(update.statuses, [ObjectRef::new(Kind::Gateway, "edge", "web")]);
        let status = status(&translator, Kind::Gateway, "web");
        assert_eq!(status["listeners"][0]["conditions"].as_array().unwrap().len(), 3);
        let problems = translator.problems().into_iter().map(|it| (it.field, it.message, it.next_step));
        (status["listeners"][1]["conditions"][3].clone(), problems.collect::<Vec<_>>())
    };
    let name = "sluice.dev/OCSPStapled";
    let stapled = tell(StapleReason::Stapled, "");
    assert_eq!(stapled, (condition(name, "True", "Stapled", "", 5), Vec::new()));
    let (pending, problems) = tell(StapleReason::Pending, "it is being fetched");
    assert_eq!(pending, condition(name, "False", "Pending", "Secret edge/web: it is being fetched", 5));
    assert_eq!(problems, Vec::new());
    let (revoked, problems) = tell(StapleReason::Revoked, "the certificate is revoked");
    let message = "Secret edge/web: the certificate is revoked; replace the certificate";
    assert_eq!(revoked, condition(name, "False", "Revoked", message, 5));
    let message = "Secret edge/web goes out without an OCSP response: the certificate is revoked";
    let next_step = "replace the certificate";
    assert_eq!(
        problems,
        [("spec.listeners[1].tls.certificateRefs".to_owned(), message.to_owned(), next_step.to_owned())]
    );

    translator.staples(BTreeMap::new());
    assert_eq!(translator.statuses(), &before);
    assert!(translator.problems().is_empty());
}

#[test]
fn what_was_told_of_a_gateway_is_forgotten_with_it() {
    let mut translator = translate(Options::default(), objects());
    let web = ObjectRef::new(Kind::Gateway, "edge", "web");
    let programmed =
        |translator: &Translator| status(translator, Kind::Gateway, "web")["conditions"][1].clone();
    let waits = condition("Programmed", "False", "Pending", "what the Gateway runs on is being made", 5);
    assert_eq!(programmed(&translator), waits);

    let known = Infrastructure {
        addresses: vec![GatewayAddress { r#type: "IPAddress", value: "192.0.2.1".to_owned() }],
        programmed: true,
        address_problem: None,
    };
    let update = translator.infrastructure([(web.clone(), known.clone())]);
    assert_eq!(
        (update.delta.is_empty(), update.statuses, update.plans),
        (true, vec![web.clone()], Vec::new())
    );
    assert_eq!(programmed(&translator), condition("Programmed", "True", "Programmed", "", 5));
    assert!(translator.infrastructure([(web.clone(), known.clone())]).statuses.is_empty());

    assert_eq!(translator.apply([Change::Remove(web.clone())]).plans, std::slice::from_ref(&web));
    assert!(
        translator.infrastructure([(web.clone(), known)]).statuses.is_empty(),
        "nobody is there to tell it of"
    );
    assert_eq!(translator.apply(objects().map(Change::Upsert)).plans, [web]);
    assert_eq!(programmed(&translator), waits);
}

#[test]
fn a_route_that_cannot_be_read_is_refused_and_leaves_the_data_plane() {
    let mut translator = world();
    assert_eq!(translator.snapshot().routes.len(), 1);
    let object = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "generation": 4},
        "spec": {"parentRefs": [{"name": "web", "sectionName": "a"}]}}));
    let field = "spec.rules[0].matches[0].path.type".to_owned();
    let unreadable = Unreadable { object, field, message: "unknown value \"Fuzzy\"".to_owned() };
    let update = translator.apply([Change::Unreadable(Box::new(unreadable))]);
    assert_eq!(update.delta.removals.len(), 1);
    let status = status(&translator, Kind::HttpRoute, "r");
    let accepted = condition(
        "Accepted",
        "False",
        "UnsupportedValue",
        "spec.rules[0].matches[0].path.type: unknown value \"Fuzzy\"",
        4,
    );
    assert_eq!(status["parents"][0]["conditions"][0], accepted);
    assert_eq!(self::status(&translator, Kind::Gateway, "web")["listeners"][0]["attachedRoutes"], 0);
}

#[test]
fn a_class_says_whether_the_release_of_the_crds_is_known() {
    let mut translator = world();
    let class = ObjectRef::new(Kind::GatewayClass, "", "sluice");
    let supported = |translator: &Translator| {
        serde_json::to_value(&translator.statuses()[&class]).unwrap()["conditions"][1].clone()
    };
    assert_eq!(supported(&translator)["status"], "True");
    assert!(translator.release(Some("v1.6.1".to_owned())).statuses.is_empty());
    for unknown in ["v1.7.0", "v2.0.0", "v0.8.1", "main"] {
        translator.release(Some(unknown.to_owned()));
        assert_eq!(supported(&translator)["reason"], "UnsupportedVersion", "{unknown}");
    }
    assert_eq!(translator.release(None).statuses, std::slice::from_ref(&class));
}

/// Every condition of every object is of the generation that was judged: the conformance tests of observedGeneration
/// read all of them, also those that a change did not touch.
#[test]
fn every_condition_carries_the_newest_generation() {
    let authority = rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap().cert.pem();
    let api = "gateway.networking.k8s.io/v1";
    let world = |generation: i64| {
        let meta = |name: &str| json!({"name": name, "generation": generation});
        let listener = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "HTTP"});
        // The spec differs too, as in life: a generation only moves with it.
        let port = u16::try_from(8000 + generation).unwrap();
        let rules = json!([{"timeouts": {"request": format!("{generation}s")}, "backendRefs": [{"name": "cart", "port": 443}]}]);
        let route = |kind: &str, rules: &Value| {
            json!({"apiVersion": api, "kind": kind, "metadata": meta("r"),
                   "spec": {"parentRefs": [{"name": "web"}, {"name": "web", "sectionName": "none"},
                                           {"kind": "ListenerSet", "name": "more"}], "rules": rules}})
        };
        [
            json!({"apiVersion": api, "kind": "GatewayClass", "metadata": meta("sluice"),
                   "spec": {"controllerName": "sluice.dev/gateway-controller", "description": generation.to_string()}}),
            json!({"apiVersion": api, "kind": "Gateway", "metadata": meta("web"),
                   "spec": {"gatewayClassName": "sluice", "allowedListeners": {"namespaces": {"from": "Same"}},
                            "tls": {"backend": {"clientCertificateRef": {"name": "none"}},
                                    "frontend": {"default": {"validation": {"mode": "AllowInsecureFallback",
                                        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}}}},
                            "listeners": [listener("a", 80), listener("b", port), {"name": "c", "port": 1, "protocol": "ODD"}]}}),
            json!({"apiVersion": api, "kind": "ListenerSet", "metadata": meta("more"),
                   "spec": {"parentRef": {"name": "web"}, "listeners": [listener("a", 80), listener("c", port + 100)]}}),
            route("HTTPRoute", &rules),
            route(
                "GRPCRoute",
                &json!([{"name": format!("rule-{generation}"), "backendRefs": [{"name": "cart", "port": 443}]}]),
            ),
            json!({"apiVersion": api, "kind": "BackendTLSPolicy", "metadata": meta("p"),
                   "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "cart"}],
                            "validation": {"hostname": format!("v{generation}.test"),
                                           "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": authority}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"},
                   "spec": {"ports": [{"name": "https", "port": 443, "appProtocol": "https"}]}}),
        ]
    };
    let mut translator = Translator::new(Options { standalone: true, ..Options::default() });
    for generation in [1, 2, 7] {
        translator.apply(world(generation).map(object).map(Change::Upsert));
        let mut seen = 0;
        for (object, status) in translator.statuses() {
            for (part, condition) in status.conditions() {
                let observed = condition.observed_generation;
                assert_eq!(observed, Some(generation), "{object} {part} {}", condition.r#type);
                seen += 1;
            }
        }
        assert_eq!(translator.statuses().len(), 6, "{:?}", translator.statuses().keys());
        assert!(seen >= 30, "only {seen} conditions");
    }
}
