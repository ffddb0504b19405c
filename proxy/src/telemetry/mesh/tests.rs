//! What a scrape shows of a mesh.
#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn own() -> OwnWorkload {
    let labels = [("app", "reviews"), ("version", "v1")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    OwnWorkload::new("shop", "reviews", "reviews-v1-5f9c-x", Some("reviews-v1"), BTreeMap::from(labels))
}

fn call(mesh: &Mesh, direction: Direction, protocol: RequestProtocol) -> Call {
    let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let peer = OwnWorkload::new("front", "web", "web-0", Some("web"), labels);
    Call {
        direction,
        peer: mesh.party_of(&peer.workload),
        service: Arc::new(ServiceName::of("shop", "reviews")),
        security: Security::MutualTls,
        protocol,
        code: 200,
        grpc_status: None,
        flags: "-",
        is_overflow: false,
    }
}

fn text(mesh: &Mesh) -> String {
    let mut text = String::new();
    mesh.write(&mut text);
    text
}

/// Labels of the first line that begins so.
fn labels(text: &str, start: &str) -> BTreeMap<String, String> {
    let line = text.lines().find(|it| it.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
    let inner = line.split_once('{').unwrap().1.rsplit_once('}').unwrap().0;
    let pairs = inner.split("\",").map(|pair| pair.split_once("=\"").unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

/// istio.md §5: all labels of requests; Kiali groups by 17 of them.
#[test]
fn a_request_has_istios_labels() {
    let mesh = Mesh::new(own());
    let series = mesh.series(&call(&mesh, Direction::Inbound, RequestProtocol::Http), Instant::now());
    series.ended(&Ended { duration: Duration::from_millis(7), response_bytes: 300, ..Ended::default() });
    let text = text(&mesh);
    let labels = labels(&text, "istio_requests_total{");
    let ends = ["source", "destination"];
    let of_ends = [
        "workload",
        "workload_namespace",
        "principal",
        "app",
        "version",
        "canonical_service",
        "canonical_revision",
        "cluster",
    ];
    let mut expected: BTreeSet<String> =
        ends.iter().flat_map(|end| of_ends.iter().map(move |it| format!("{end}_{it}"))).collect();
    let others = [
        "reporter",
        "destination_service",
        "destination_service_name",
        "destination_service_namespace",
        "request_protocol",
        "response_code",
        "grpc_response_status",
        "response_flags",
        "connection_security_policy",
    ];
    expected.extend(others.map(str::to_owned));
    assert_eq!(labels.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (name, value) in [
        ("reporter", "destination"),
        ("source_workload", "web"),
        ("source_workload_namespace", "front"),
        ("source_principal", "spiffe://cluster.local/ns/front/sa/web"),
        ("source_version", "unknown"),
        ("source_canonical_revision", "latest"),
        ("source_cluster", "Kubernetes"),
        ("destination_workload", "reviews-v1"),
        ("destination_service", "reviews.shop.svc.cluster.local"),
        ("destination_service_name", "reviews"),
        ("destination_version", "v1"),
        ("response_code", "200"),
        ("grpc_response_status", ""),
        ("connection_security_policy", "mutual_tls"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    for end in ["le=\"5.0\"} 0", "le=\"10.0\"} 1", "le=\"3600000.0\"} 1", "le=\"+Inf\"} 1"] {
        let is_there =
            |it: &str| it.starts_with("istio_request_duration_milliseconds_bucket{") && it.ends_with(end);
        assert!(text.lines().any(is_there), "{end} in\n{text}");
    }
    assert!(
        text.lines()
            .any(|it| it.starts_with("istio_request_duration_milliseconds_sum{") && it.ends_with("} 7.0"))
    );
    assert!(text.lines().any(|it| it.starts_with("istio_response_bytes_sum{") && it.ends_with("} 300.0")));
    assert!(text.contains("istio_build{component=\"proxy\",tag="));
    assert!(!text.contains("istio_tcp_") || !text.contains("istio_tcp_sent_bytes_total{"), "{text}");
}

#[test]
fn buckets_are_istios() {
    let all = "0.5,1,5,10,25,50,100,250,500,1000,2500,5000,10000,30000,60000,300000,600000,1800000,3600000";
    let all: Vec<f64> = all.split(',').map(|it| it.parse().unwrap()).collect();
    assert_eq!(all, BOUNDS);
}

#[test]
fn a_connection_has_tcps_metrics_alone_and_no_code() {
    let mesh = Mesh::new(own());
    let series = mesh.series(&call(&mesh, Direction::Outbound, RequestProtocol::Tcp), Instant::now());
    series.opened();
    series.sent(10);
    series.received(20);
    let text = text(&mesh);
    let labels = labels(&text, "istio_tcp_sent_bytes_total{");
    assert!(!labels.contains_key("response_code") && labels["request_protocol"] == "tcp");
    assert_eq!((&*labels["reporter"], &*labels["source_workload"]), ("source", "reviews-v1"));
    assert!(text.lines().any(|it| it.starts_with("istio_tcp_received_bytes_total{") && it.ends_with("} 20")));
    assert!(
        text.lines().any(|it| it.starts_with("istio_tcp_connections_closed_total{") && it.ends_with("} 0"))
    );
    assert!(!text.contains("istio_requests_total{"));
}

#[test]
fn messages_of_grpc_are_counted_with_its_status() {
    let mesh = Mesh::new(own());
    let call = Call { grpc_status: Some(14), ..call(&mesh, Direction::Inbound, RequestProtocol::Grpc) };
    mesh.series(&call, Instant::now()).ended(&Ended {
        request_messages: 2,
        response_messages: 5,
        ..Ended::default()
    });
    let text = text(&mesh);
    assert_eq!(labels(&text, "istio_requests_total{")["grpc_response_status"], "14");
    assert!(text.lines().any(|it| it.starts_with("istio_response_messages_total{") && it.ends_with("} 5")));
}

#[test]
fn a_label_that_is_taken_away_adds_its_series_up() {
    let mesh = Mesh::new(own());
    for code in [200, 404] {
        let call = Call { code, ..call(&mesh, Direction::Inbound, RequestProtocol::Http) };
        mesh.series(&call, Instant::now()).ended(&Ended::default());
    }
    let mut overrides = Overrides::default();
    overrides.entry(Metric::Requests, Direction::Inbound).removed.push("response_code".into());
    overrides.entry(Metric::Duration, Direction::Inbound).is_disabled = true;
    mesh.set_overrides(overrides);
    let text = text(&mesh);
    let lines: Vec<_> = text.lines().filter(|it| it.starts_with("istio_requests_total{")).collect();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with("} 2") && !lines[0].contains("response_code"));
    assert!(!text.contains("istio_request_duration_milliseconds_bucket"));
    assert_eq!(text.lines().filter(|it| it.starts_with("istio_request_bytes_count{")).count(), 2);
}

#[test]
fn an_inbound_call_is_for_the_service_that_the_client_named() {
    let mesh = Mesh::new(own());
    let context = MeshContext::of(&mesh, &ir::GatewayKey::new("Inbound"));
    assert_eq!(context.direction, Direction::Inbound);
    let of = |name| context.service_of(Some(name)).name.to_string();
    assert_eq!(of("outbound_.9080_._.ratings.shop.svc.cluster.local"), "ratings");
    assert_eq!(of("outbound_.9080_.v2_.ratings.shop.svc.cluster.local"), "ratings");
    assert_eq!(of("outbound_.9080_._.ratings.bank.svc.cluster.local"), "reviews", "none of ours");
    assert_eq!(of("example.com"), "reviews");
    assert_eq!(&*context.service_of(None).name, "reviews");
    let outbound = MeshContext::of(&mesh, &ir::GatewayKey::new("Mesh/Service/shop/cart@front"));
    assert_eq!((outbound.direction, &*outbound.service.name), (Direction::Outbound, "cart"));
}

#[test]
fn values_are_escaped() {
    let mesh = Mesh::new(own());
    let peer = Arc::new(Party { workload: "a\"b\\c\nd".into(), ..Party::default() });
    let call = Call { peer, ..call(&mesh, Direction::Inbound, RequestProtocol::Http) };
    mesh.series(&call, Instant::now()).ended(&Ended::default());
    assert!(text(&mesh).contains(r#"source_workload="a\"b\\c\nd","#));
}
