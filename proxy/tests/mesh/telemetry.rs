//! What two sidecars tell of a call between their workloads over the mesh's TLS: each side who the other is.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict, until};
use sluice_ir::ListenerProtocol;
use sluice_proxy::telemetry::mesh::OwnWorkload;
use std::collections::BTreeMap;

fn own(account: &str, version: &str) -> OwnWorkload {
    let labels = [("app", account), ("version", version)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    OwnWorkload::new("shop", account, &format!("{account}-0"), Some(account), BTreeMap::from(labels))
}

fn line(sidecar: &Sidecar, start: &str) -> String {
    let text = sidecar.proxy.metrics().encode();
    text.lines().find(|it| it.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}")).to_owned()
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
