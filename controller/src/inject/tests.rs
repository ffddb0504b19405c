//! Laws of injection. Whole pods, as YAML, are in `controller/tests/injected`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Decision, InjectSettings, Owner, Place, Reason, decide, inject, is_injected};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn decided(pod: &Value, namespace: &str, labels: Option<&[(&str, &str)]>) -> Decision {
    let labels: Option<BTreeMap<String, String>> =
        labels.map(|it| it.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    decide(pod, Place { namespace, labels: labels.as_ref() }, &InjectSettings::default())
}

fn injected(pod: &Value) -> Value {
    let mut injected = pod.clone();
    inject(&mut injected, &Owner::of(pod), &InjectSettings::default()).unwrap();
    injected
}

#[test]
fn some_pods_never_get_a_sidecar() {
    let asks = json!({"sluice.dev/inject": "true", "sidecar.istio.io/inject": "true"});
    let pod = |spec: Value| json!({"metadata": {"labels": asks}, "spec": spec});
    let enabled: Option<&[(&str, &str)]> = Some(&[("istio-injection", "enabled")]);
    let skip = Decision::Skip;
    assert_eq!(decided(&pod(json!({"hostNetwork": true})), "shop", enabled), skip(Reason::HostNetwork));
    let windows = json!({"os": {"name": "windows"}});
    assert_eq!(decided(&pod(windows), "shop", enabled), skip(Reason::OperatingSystem));
    for namespace in ["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "sluice-system"]
    {
        assert_eq!(
            decided(&pod(json!({})), namespace, enabled),
            skip(Reason::SystemNamespace),
            "{namespace}"
        );
        assert_eq!(decided(&pod(json!({})), namespace, None), skip(Reason::SystemNamespace), "{namespace}");
    }
    let once = injected(&pod(json!({"containers": [{"name": "web"}]})));
    assert_eq!(decided(&once, "shop", enabled), skip(Reason::Injected));
}

#[test]
fn the_pod_is_heard_before_its_namespace_and_a_label_before_an_annotation() {
    let pod = |label: &str, annotation: &str| {
        let of = |value: &str| {
            if value.is_empty() { json!({}) } else { json!({"sidecar.istio.io/inject": value}) }
        };
        json!({"metadata": {"labels": of(label), "annotations": of(annotation)}, "spec": {}})
    };
    type Labels = [(&'static str, &'static str)];
    let on: &Labels = &[("istio-injection", "enabled")];
    let off: &Labels = &[("istio-injection", "disabled")];
    let silent: &Labels = &[];
    let cases = [
        // label, annotation, namespace: injected?
        ("", "", on, true),
        ("", "", off, false),
        ("", "", silent, false),
        ("false", "", on, false),
        ("", "false", on, false),
        ("true", "false", on, true),
        ("false", "true", on, false),
        ("true", "", silent, true),
        // Only labels choose a webhook.
        ("", "true", silent, false),
        // A namespace that says no is heard, as in Istio.
        ("true", "", off, false),
        // Neither yes nor no.
        ("maybe", "false", on, true),
        ("maybe", "", silent, false),
    ];
    for (label, annotation, namespace, wanted) in cases {
        let got = decided(&pod(label, annotation), "shop", Some(namespace));
        assert_eq!(got == Decision::Inject, wanted, "{label:?} {annotation:?} {namespace:?}: {got:?}");
    }
}

#[test]
fn istio_injection_beats_the_revision_and_our_own_label_beats_both() {
    let plain = json!({"metadata": {}, "spec": {}});
    let cases: [(&[(&str, &str)], bool); 9] = [
        (&[("istio.io/rev", "default")], true),
        (&[("istio.io/rev", "canary")], false),
        (&[("istio.io/rev", "canary"), ("istio-injection", "enabled")], true),
        (&[("istio.io/rev", "default"), ("istio-injection", "disabled")], false),
        (&[("istio.io/rev", "default"), ("istio-injection", "nonsense")], false),
        (&[("sluice.dev/inject", "true"), ("istio-injection", "disabled")], true),
        (&[("sluice.dev/inject", "enabled")], true),
        (&[("sluice.dev/inject", "false"), ("istio-injection", "enabled")], false),
        (&[("sluice.dev/inject", "false"), ("istio.io/rev", "default")], false),
    ];
    for (labels, wanted) in cases {
        assert_eq!(decided(&plain, "shop", Some(labels)) == Decision::Inject, wanted, "{labels:?}");
    }
    let own = |value: &str, istio: &str| json!({"metadata": {"labels": {"sluice.dev/inject": value, "sidecar.istio.io/inject": istio}}, "spec": {}});
    let off: &[(&str, &str)] = &[("istio-injection", "disabled")];
    let on: &[(&str, &str)] = &[("istio-injection", "enabled")];
    assert_eq!(decided(&own("true", "false"), "shop", Some(off)), Decision::Inject);
    assert_eq!(decided(&own("false", "true"), "shop", Some(on)), Decision::Skip(Reason::Pod));
    let of_revision =
        |revision: &str| json!({"metadata": {"labels": {"istio.io/rev": revision}}, "spec": {}});
    assert_eq!(decided(&of_revision("default"), "shop", Some(&[])), Decision::Inject);
    assert_eq!(decided(&of_revision("canary"), "shop", Some(&[])), Decision::Skip(Reason::NotAsked));
}

#[test]
fn an_annotation_that_nobody_understands_is_refused_by_name() {
    let with = |name: &str, value: &str| {
        let mut pod =
            json!({"metadata": {"annotations": {name: value}}, "spec": {"containers": [{"name": "web"}]}});
        let before = pod.clone();
        let told = inject(&mut pod, &Owner::of(&before), &InjectSettings::default()).unwrap_err().to_string();
        assert_eq!(pod, before, "a refused pod is as it was");
        assert!(told.contains(name) && told.contains(value), "{told}");
        told
    };
    for (name, value) in [
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0"),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.0.0.0/33"),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "http"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "70000"),
        ("traffic.sidecar.istio.io/excludeInterfaces", "a b"),
        ("sidecar.istio.io/interceptionMode", "TPROXY"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "no"),
        ("sidecar.istio.io/logLevel", "loud"),
        ("sidecar.istio.io/proxyCPU", "much"),
        ("sidecar.istio.io/proxyMemoryLimit", "64MB"),
    ] {
        with(name, value);
    }
}

#[test]
fn a_probe_of_a_port_that_is_not_there_is_refused() {
    let pod =
        json!({"spec": {"containers": [{"name": "web", "livenessProbe": {"httpGet": {"port": "http"}}}]}});
    let told =
        inject(&mut pod.clone(), &Owner::of(&pod), &InjectSettings::default()).unwrap_err().to_string();
    assert!(told.contains("web") && told.contains("livenessProbe") && told.contains("\"http\""), "{told}");
}

#[test]
fn an_annotation_without_its_container_is_no_sidecar() {
    let once = injected(&json!({"metadata": {}, "spec": {"containers": [{"name": "web"}]}}));
    assert!(is_injected(&once));
    let mut without = once;
    without["spec"]["initContainers"] = json!([]);
    assert!(!is_injected(&without));
    assert!(is_injected(&injected(&without)));
}

fn probe() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"httpGet": {"port": 8080, "path": "/x"}, "periodSeconds": 3})),
        Just(json!({"httpGet": {"port": "http"}})),
        Just(json!({"httpGet": {"port": 8080, "host": "192.0.2.1"}})),
        Just(json!({"tcpSocket": {"port": 8080}})),
        Just(json!({"grpc": {"port": 9000}})),
        Just(json!({"exec": {"command": ["true"]}})),
    ]
}

fn container() -> impl Strategy<Value = Value> {
    let name =
        prop_oneof![Just("web"), Just("api"), Just("istio-proxy"), Just("sluice-proxy"), Just("sluice-init")];
    (name, proptest::option::of(probe()), proptest::option::of(probe()), any::<bool>()).prop_map(
        |(name, liveness, readiness, is_sidecar)| {
            let mut container =
                json!({"name": name, "image": "auto", "ports": [{"name": "http", "containerPort": 8080}]});
            if let Some(probe) = liveness {
                container["livenessProbe"] = probe;
            }
            if let Some(probe) = readiness {
                container["readinessProbe"] = probe;
            }
            if is_sidecar {
                container["restartPolicy"] = json!("Always");
            }
            container
        },
    )
}

fn pod() -> impl Strategy<Value = Value> {
    let containers = || proptest::collection::vec(container(), 0..4);
    let annotations = proptest::collection::btree_map(
        prop_oneof![
            Just("prometheus.io/scrape"),
            Just("prometheus.io/port"),
            Just("sidecar.istio.io/rewriteAppHTTPProbers"),
            Just("sidecar.istio.io/status"),
        ],
        prop_oneof![Just("true"), Just("false")],
        0..3,
    );
    (containers(), containers(), annotations, any::<bool>()).prop_map(
        |(apps, inits, annotations, has_null)| {
            let mut pod =
                json!({"metadata": {"name": "p", "annotations": annotations}, "spec": {"containers": apps}});
            if !inits.is_empty() {
                pod["spec"]["initContainers"] = json!(inits);
            } else if has_null {
                pod["spec"]["volumes"] = Value::Null;
            }
            pod
        },
    )
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let containers = pod["spec"][list].as_array().cloned().unwrap_or_default();
    containers.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

proptest! {
    #[test]
    fn injecting_twice_is_injecting_once(pod in pod()) {
        let once = injected(&pod);
        prop_assert_eq!(&injected(&once), &once);
        prop_assert!(is_injected(&once));
    }

    #[test]
    fn the_apps_own_containers_stay_in_order_and_ours_come_first(pod in pod()) {
        let once = injected(&pod);
        let is_app = |it: &String| !["istio-proxy", "sluice-proxy", "sluice-init"].contains(&it.as_str());
        let wanted = |list: &str| names(&pod, list).into_iter().filter(is_app).collect::<Vec<_>>();
        prop_assert_eq!(names(&once, "containers"), wanted("containers"));
        let inits = names(&once, "initContainers");
        prop_assert_eq!(&inits[..2], ["sluice-init".to_owned(), "sluice-proxy".to_owned()]);
        prop_assert_eq!(&inits[2..], wanted("initContainers"));
        prop_assert_eq!(&once["spec"]["initContainers"][1]["restartPolicy"], "Always");
    }

    #[test]
    fn no_document_makes_it_panic(text in "[a-z{}:\\[\\]\", ]{0,60}") {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = inject(&mut value.clone(), &Owner::of(&value), &InjectSettings::default());
            let _ = decided(&value, "shop", None);
        }
    }
}

#[test]
fn pods_of_a_wrong_form_are_errors_or_stay() {
    for pod in [
        json!(null),
        json!([]),
        json!({"spec": null}),
        json!({"spec": []}),
        json!({"spec": {"containers": {}}}),
        json!({"spec": {"containers": [1, null, "x", {"name": 3, "livenessProbe": 1, "lifecycle": []}]}}),
        json!({"metadata": [], "spec": {"containers": [{"livenessProbe": {"httpGet": {"port": {}}}}]}}),
        json!({"metadata": {"labels": [], "annotations": 3}, "spec": {"initContainers": "x", "volumes": 3}}),
    ] {
        let _ = inject(&mut pod.clone(), &Owner::of(&pod), &InjectSettings::default());
        let _ = decided(&pod, "shop", Some(&[]));
    }
}
