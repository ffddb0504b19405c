//! What a change costs among 5,000 routes: one edited route is one route in the delta, everything else keeps its `Arc`,
//! and the time is far below what a person or a reload budget notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sluice_crds::{Object, Parsed};
use sluice_ir::Resource;
use sluice_translate::{Change, Options, Translator};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUTES: usize = 5_000;

fn object(value: Value) -> Object {
    match Object::parse(value, "default").unwrap() {
        Parsed::Known { object, .. } => object,
        Parsed::Ignored { kind, .. } => panic!("{kind}"),
    }
}

fn route(index: usize, path: &str) -> Object {
    object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"namespace": "shop", "name": format!("route-{index}")},
        "spec": {"parentRefs": [{"name": "web"}], "hostnames": [format!("host-{index}.example.com")],
                 "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": path}}],
                            "backendRefs": [{"name": format!("service-{}", index % 100), "port": 80}]}]},
    }))
}

fn service(index: usize) -> [Object; 2] {
    let name = format!("service-{index}");
    [
        object(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
                      "spec": {"ports": [{"port": 80}]}}),
        ),
        slice(index, "10.0.0.1"),
    ]
}

fn slice(index: usize, address: &str) -> Object {
    let name = format!("service-{index}");
    object(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                  "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
                  "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": [address]}]}))
}

fn world() -> Translator {
    let gateway = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"gatewayClassName": "sluice", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}}));
    let mut objects = vec![gateway];
    objects.extend((0..100).flat_map(service));
    objects.extend((0..ROUTES).map(|index| route(index, "/")));
    let mut translator = Translator::new(Options { standalone: true, ..Options::default() });
    let start = Instant::now();
    translator.apply(objects.into_iter().map(Change::Upsert));
    println!("{ROUTES} routes from nothing: {:?}", start.elapsed());
    translator
}

#[test]
fn one_edited_route_of_many_is_one_route_in_the_delta() {
    let mut translator = world();
    let before = translator.snapshot().clone();
    let changes: Vec<Object> = (0..100).map(|index| route(index * 37, "/new")).collect();
    let mut times = Vec::new();
    for change in changes {
        let start = Instant::now();
        let update = translator.apply([Change::Upsert(change)]);
        times.push(start.elapsed());
        assert!(matches!(update.delta.upserts.as_slice(), [Resource::Route(_)]), "{:?}", update.delta);
        assert!(update.delta.removals.is_empty() && update.statuses.is_empty());
    }
    times.sort();
    println!("one edited route: median {:?}, worst {:?}", times[50], times[99]);
    // A debug build is about ten times slower than what ships.
    let bound = if cfg!(debug_assertions) { 20 } else { 2 };
    assert!(times[50] < Duration::from_millis(bound), "median {:?}", times[50]);
    let kept = before.routes.iter().filter(|(key, route)| {
        translator.snapshot().routes.get(*key).is_some_and(|now| Arc::ptr_eq(now, route))
    });
    assert_eq!(kept.count(), ROUTES - 100);
}

#[test]
fn one_moved_pod_is_one_endpoint_set_in_the_delta() {
    let mut translator = world();
    let update = translator.apply([Change::Upsert(slice(7, "10.0.0.2"))]);
    assert!(matches!(update.delta.upserts.as_slice(), [Resource::EndpointSet(_)]), "{:?}", update.delta);
    assert!(update.delta.removals.is_empty() && update.statuses.is_empty());
}

/// Without a mesh Services that no route names cost nothing; in one a moved pod is still one endpoint set.
#[test]
fn a_mesh_of_5000_services_is_there_when_a_namespace_asks_for_it() {
    let service = |index: usize| {
        let [high, low] = [index / 250, index % 250];
        let name = format!("service-{index}");
        let (cluster, pod) = (format!("10.96.{high}.{low}"), format!("10.1.{high}.{low}"));
        let own = object(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
            "spec": {"clusterIP": cluster, "ports": [{"name": "http", "port": 80}]}}),
        );
        let pod_of = object(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": name, "labels": {"app": name, "security.istio.io/tlsMode": "off"}},
            "spec": {"containers": []}, "status": {"podIP": pod}}));
        [own, slice_of(index, &pod), pod_of]
    };
    let mut translator = Translator::new(Options::default());
    translator.apply((0..ROUTES).flat_map(service).map(Change::Upsert));
    assert!(translator.snapshot().is_empty(), "nobody has a sidecar");
    let namespace = object(json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}}));
    let (start, before) = (Instant::now(), resident_kib());
    translator.apply([Change::Upsert(namespace)]);
    println!("a mesh of {ROUTES} services: {:?}, {} KiB more", start.elapsed(), resident_kib() - before);
    assert_eq!(translator.snapshot().gateways.len(), ROUTES);
    let start = Instant::now();
    let update = translator.apply([Change::Upsert(slice_of(7, "10.2.0.1"))]);
    println!("one moved pod: {:?}", start.elapsed());
    assert!(matches!(update.delta.upserts.as_slice(), [Resource::EndpointSet(_)]), "{:?}", update.delta);
    assert!(update.delta.removals.is_empty() && update.statuses.is_empty());
    let start = Instant::now();
    translator.apply([Change::Remove(sluice_crds::ObjectRef::new(sluice_crds::Kind::Namespace, "", "shop"))]);
    println!("no mesh any more: {:?}", start.elapsed());
    assert!(translator.snapshot().is_empty());
}

/// Memory of this process; other tests may run beside.
fn resident_kib() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4
}

fn slice_of(index: usize, address: &str) -> Object {
    let name = format!("service-{index}");
    object(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                  "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
                  "addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": [address]}]}))
}

/// 100 ListenerSets of 50 HTTPS listeners each, all on one port with one certificate: custom domains.
#[test]
fn a_renewed_certificate_among_5000_domains_is_one_certificate_in_the_delta() {
    let secret = || {
        let pair = rcgen::generate_simple_self_signed(vec!["*.example.com".to_owned()]).unwrap();
        object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "web"},
                      "type": "kubernetes.io/tls",
                      "stringData": {"tls.crt": pair.cert.pem(), "tls.key": pair.signing_key.serialize_pem()}}))
    };
    let listener = |index: usize| {
        json!({"name": format!("l{index}"), "port": 443, "protocol": "HTTPS",
        "hostname": format!("host-{index}.example.com"), "tls": {"certificateRefs": [{"name": "web"}]}})
    };
    let mut objects = vec![
        secret(),
        object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"gatewayClassName": "sluice", "listeners": [], "allowedListeners": {"namespaces": {"from": "All"}}}})),
    ];
    objects.extend((0..100).map(|set| {
        let listeners: Vec<Value> = (set * 50..set * 50 + 50).map(listener).collect();
        object(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
                      "metadata": {"namespace": "shop", "name": format!("set-{set}")},
                      "spec": {"parentRef": {"name": "web"}, "listeners": listeners}}))
    }));
    let mut translator = Translator::new(Options { standalone: true, ..Options::default() });
    translator.apply(objects.into_iter().map(Change::Upsert));
    assert_eq!(translator.snapshot().listeners.len(), 5_000);
    let change = secret();
    let start = Instant::now();
    let update = translator.apply([Change::Upsert(change)]);
    let elapsed = start.elapsed();
    println!("one renewed certificate among 5000 listeners: {elapsed:?}");
    assert!(matches!(update.delta.upserts.as_slice(), [Resource::Certificate(_)]), "{:?}", update.delta);
    let bound = if cfg!(debug_assertions) { 2_000 } else { 200 };
    assert!(elapsed < Duration::from_millis(bound), "{elapsed:?}");
}
