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
