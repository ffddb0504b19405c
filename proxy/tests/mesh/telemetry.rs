//! What two sidecars tell of a call between their workloads over the mesh's TLS: each side who the other is.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict, until};
use crate::tls;
use sluice_ir::{self as ir, ListenerProtocol};
use sluice_proxy::telemetry::mesh::OwnWorkload;
use sluice_proxy::telemetry::seen::{CallResult, OutsideProtocol, SeenCalls};
use std::collections::BTreeMap;

pub(crate) fn own(account: &str, version: &str) -> OwnWorkload {
    let labels = [("app", account), ("version", version)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    OwnWorkload::new("shop", account, &format!("{account}-0"), Some(account), BTreeMap::from(labels))
}

pub(crate) fn line(sidecar: &Sidecar, start: &str) -> String {
    let text = sidecar.proxy.metrics().encode();
    text.lines().find(|it| it.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}")).to_owned()
}

/// What a sidecar has seen.
fn seen(sidecar: &Sidecar) -> SeenCalls {
    sidecar.proxy.seen_calls().unwrap()
}

fn has(line: &str, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        assert!(line.contains(&format!("{name}=\"{value}\"")), "{name}=\"{value}\" in {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_of_a_call_name_each_other() {
    let ca = Ca::new("root");
    let (http, tcp) = (app::http().await, app::tcp("").await);
    let server = Sidecar::start(Some(ca.issue("cart", &[&ca]))).await;
    server.proxy.join_mesh(own("cart", "v2"));
    server.govern(strict).await;
    server.captured_from(Some(http));
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.proxy.join_mesh(own("web", "v1"));
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Detect, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    assert_eq!(app::get(client.outbound(), "cart", "/a").await.0, 200);

    let ids = [
        ("source_principal", "spiffe://cluster.local/ns/shop/sa/web"),
        ("destination_principal", "spiffe://cluster.local/ns/shop/sa/cart"),
        ("source_workload", "web"),
        ("source_workload_namespace", "shop"),
        ("source_app", "web"),
        ("source_version", "v1"),
        ("source_canonical_service", "web"),
        ("source_cluster", "Kubernetes"),
        ("destination_workload", "cart"),
        ("connection_security_policy", "mutual_tls"),
        ("request_protocol", "http"),
        ("response_code", "200"),
    ];
    until("both count", || client.counts("istio_requests_total{") && server.counts("istio_requests_total{"))
        .await;
    let seen = line(&client, "istio_requests_total{");
    has(&seen, &[&ids[..], &[("reporter", "source")]].concat());
    let seen = line(&server, "istio_requests_total{");
    let inbound = [
        ("reporter", "destination"),
        ("destination_version", "v2"),
        ("destination_service", "cart.shop.svc.cluster.local"),
        ("destination_service_name", "cart"),
    ];
    has(&seen, &[&ids[..], &inbound].concat());

    // The same of a connection that is carried whole: its identity alone tells who calls.
    server.captured_from(Some(tcp));
    assert_eq!(app::exchange(client.outbound(), b"\x00\x01binary", 8).await, b"\x00\x01binary");
    let opened = "istio_tcp_connections_opened_total{";
    until("both count connections", || client.counts(opened) && server.counts(opened)).await;
    has(
        &line(&client, opened),
        &[("destination_workload", "cart"), ("connection_security_policy", "mutual_tls")],
    );
    let principal = ("source_principal", "spiffe://cluster.local/ns/shop/sa/web");
    has(
        &line(&server, opened),
        &[principal, ("source_workload_namespace", "shop"), ("reporter", "destination")],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_before_it_is_understood_counts_too() {
    let sidecar = Sidecar::start(None).await;
    sidecar.proxy.join_mesh(own("cart", "v1"));
    sidecar.govern(|it| it.outbound = ir::Outbound::RegistryOnly).await;
    sidecar.captured_from(Some(app::http().await));
    let bad = b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n";
    assert_eq!(app::exchange(sidecar.inbound(), bad, 12).await, b"HTTP/1.1 400");
    let requests = "istio_requests_total{reporter=\"destination\"";
    until("a bad head counts", || sidecar.counts(requests)).await;
    let to_us = ("destination_workload", "cart");
    let seen = line(&sidecar, requests);
    has(&seen, &[to_us, ("response_code", "400"), ("response_flags", "DPE"), ("source_workload", "unknown")]);

    sidecar.captured_from(Some("10.1.2.3:80".parse().unwrap()));
    assert_eq!(app::get(sidecar.outbound(), "nobody.example", "/").await.0, 502);
    let black_hole = ("destination_service_name", "BlackHoleCluster");
    let requests = "istio_requests_total{reporter=\"source\"";
    until("a request to nobody counts", || sidecar.counts(requests)).await;
    let from_us = ("source_workload", "cart");
    has(&line(&sidecar, requests), &[from_us, black_hole, ("response_code", "502")]);

    sidecar.captured_from(Some("10.1.2.3:9000".parse().unwrap()));
    assert!(app::exchange(sidecar.outbound(), b"\x00raw", 1).await.is_empty());
    for family in ["istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"] {
        let connections = format!("{family}{{reporter=\"source\"");
        until("a connection to nobody counts", || sidecar.counts(&connections)).await;
        has(&line(&sidecar, &connections), &[from_us, black_hole, ("response_flags", "UH")]);
    }

    sidecar.govern(strict).await;
    sidecar.captured_from(Some(app::tcp("").await));
    assert!(app::exchange(sidecar.inbound(), b"\x00raw", 1).await.is_empty());
    let connections = "istio_tcp_connections_opened_total{reporter=\"destination\"";
    until("what is not the mesh's TLS counts", || sidecar.counts(connections)).await;
    let why = [("response_flags", "NR"), ("connection_security_policy", "none")];
    has(&line(&sidecar, connections), &[&why[..], &[to_us]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_what_is_seen_where_it_is_called_and_what_is_outside_where_it_is_called_from() {
    let ca = Ca::new("root");
    let (http, tcp) = (app::http().await, app::tcp("").await);
    let server = Sidecar::start(Some(ca.issue("cart", &[&ca]))).await;
    server.proxy.join_mesh(own("cart", "v2"));
    server.govern(|_| {}).await;
    server.captured_from(Some(http));
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.proxy.join_mesh(own("web", "v1"));
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Detect, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    for path in ["/orders/7?token=s3cret", "/orders/8", "/reset/d41d8cd98f00b204e9800998ecf8427e"] {
        assert_eq!(app::get(client.outbound(), "cart", path).await.0, 200);
    }
    assert_eq!(app::get(server.inbound(), "cart", "/orders/9").await.0, 200, "in the clear");
    server.captured_from(Some(tcp));
    assert_eq!(app::exchange(client.outbound(), b"\x00\x01binary", 8).await, b"\x00\x01binary");
    until("all is seen", || seen(&server).inbound.iter().map(|it| it.times.count).sum::<u64>() == 5).await;
    let web = Some("spiffe://cluster.local/ns/shop/sa/web");
    let all: Vec<_> = seen(&server)
        .inbound
        .into_iter()
        .map(|it| (it.caller, it.port, it.method, it.path, it.result, it.times.count))
        .collect();
    let mut expected = [
        (None, http.port(), "GET", "/orders/{*}", 1),
        (web, http.port(), "GET", "/orders/{*}", 2),
        (web, http.port(), "GET", "/reset/{*}", 1),
        (web, tcp.port(), "", "", 1),
    ]
    .map(|(caller, port, method, path, count)| {
        let caller = caller.map(str::to_owned);
        (caller, port, method.to_owned(), path.to_owned(), CallResult::Answered, count)
    });
    expected.sort();
    assert_eq!(all, expected);
    assert!(seen(&server).outside.is_empty() && seen(&client).inbound.is_empty());

    // What the mesh does not know: by name where one is said, else by address.
    client.captured_from(Some(http));
    assert_eq!(app::get(client.outbound(), "Api.example", "/v1/secret").await.0, 200);
    client.captured_from(Some(tcp));
    let hello = tls::hello("pay.example");
    assert_eq!(app::exchange(client.outbound(), &hello, hello.len()).await, hello);
    assert_eq!(app::exchange(client.outbound(), b"\x00raw", 4).await, b"\x00raw");
    until("what is outside is seen", || seen(&client).outside.len() == 3).await;
    let outside = seen(&client).outside.into_iter().map(|it| (it.host, it.port, it.protocol));
    let expected = [
        ("127.0.0.1", tcp.port(), OutsideProtocol::Tcp),
        ("api.example", http.port(), OutsideProtocol::Http),
        ("pay.example", tcp.port(), OutsideProtocol::Tls),
    ];
    let expected = expected.map(|(host, port, protocol)| (host.to_owned(), port, protocol));
    assert_eq!(outside.collect::<Vec<_>>(), expected);
}
