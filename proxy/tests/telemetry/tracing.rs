//! Spans over a chain of three data planes, at a collector.

use super::collector::{Collector, Pki, Seen};
use super::mesh::{DataPlane, Wanted, application, get, scraped};
use sluice_ir as ir;
use sluice_proxy::telemetry::trace::TraceOptions;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn telemetry(collector: &ir::Collector, sampling: u32) -> Vec<ir::Telemetry> {
    let tags = [
        ("team", ir::CustomTag::Literal("shop".to_owned())),
        ("agent", ir::CustomTag::Header("user-agent".to_owned(), "none".to_owned())),
    ];
    let tags = tags.into_iter().map(|(name, tag)| (name.to_owned(), tag)).collect();
    vec![ir::Telemetry {
        origin: ir::Origin::new("Telemetry", "shop", "traces"),
        reach: ir::TelemetryReach::Namespace,
        selector: ir::Selector::default(),
        tracing: vec![ir::TracingRule {
            mode: ir::TelemetryMode::Both,
            collector: Some(collector.clone()),
            sampling: Some(sampling),
            is_disabled: None,
            tags: Some(tags),
        }],
        metrics: Vec::new(),
        access_log: Vec::new(),
    }]
}

/// A caller's, a callee's, and the callee's as it calls on: as in a real mesh, where the application passes fields on.
async fn chain(collector: &ir::Collector, sampling: u32) -> (Vec<DataPlane>, SocketAddr) {
    let mut to = application().await;
    let mut planes = Vec::new();
    for (workload, is_inbound) in [("reviews", false), ("reviews", true), ("web", false)] {
        let telemetry = telemetry(collector, sampling);
        let plane = Wanted { is_inbound, telemetry, ..Wanted::new(workload, to) }.start().await;
        to = plane.address;
        planes.push(plane);
    }
    (planes, to)
}

/// The spans in the order of the chain, each the parent of the next; the first one's parent is `parent`.
fn in_order(spans: &[Seen], parent: &[u8]) -> Vec<Seen> {
    let by_parent: BTreeMap<_, _> = spans.iter().map(|it| (it.span.parent_span_id.clone(), it)).collect();
    let mut parent = parent.to_vec();
    let mut order = Vec::new();
    while let Some(seen) = by_parent.get(&parent) {
        order.push((*seen).clone());
        parent = seen.span.span_id.clone();
    }
    assert_eq!(order.len(), spans.len(), "one chain: {spans:#?}");
    order
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_begins_here_is_one_chain_with_istios_tags() {
    let collector = Collector::start().await;
    let (_planes, address) = chain(&collector.address, 10_000).await;
    let answer = get(address, "/cart?token=secret", "user-agent: curl/8\r\n").await;
    let order = in_order(&collector.spans(3).await, &[]);
    let trace = hex(&order[0].span.trace_id);
    let last = hex(&order[2].span.span_id);
    assert!(answer.contains(&format!("traceparent: 00-{trace}-{last}-01")), "{answer}");
    assert!(order.iter().all(|it| hex(&it.span.trace_id) == trace));
    let kinds: Vec<_> = order.iter().map(|it| it.span.kind).collect();
    assert_eq!(kinds, [3, 2, 3], "client, server, client");
    let services: Vec<_> = order.iter().map(|it| it.service.as_str()).collect();
    assert_eq!(services, ["web.shop", "reviews.shop", "reviews.shop"]);
    assert_eq!(order[0].span.name, "target.shop.svc.cluster.local:80/*");
    let tags = order[0].tags();
    for (name, value) in [
        ("component", "proxy"),
        ("upstream_cluster", "outbound|80||target.shop.svc.cluster.local"),
        ("node_id", "sidecar~~web-v1-abc.shop~shop.svc.cluster.local"),
        ("istio.canonical_service", "web"),
        ("istio.canonical_revision", "v1"),
        ("istio.namespace", "shop"),
        ("istio.mesh_id", "cluster.local"),
        ("http.method", "GET"),
        ("http.status_code", "200"),
        ("http.protocol", "HTTP/1.1"),
        ("http.url", "http://target.shop/cart"),
        ("response_flags", "-"),
        ("team", "shop"),
        ("agent", "curl/8"),
    ] {
        assert_eq!(tags.get(name).map(String::as_str), Some(value), "{name} in {tags:#?}");
    }
    let ids: Vec<_> = order.iter().map(|it| it.tags()["guid:x-request-id"].clone()).collect();
    assert!(ids[0].len() == 36 && ids.iter().all(|it| *it == ids[0]), "one request: {ids:?}");
    assert!(order[1].tags()["upstream_cluster"].starts_with("inbound|"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_trace_goes_on_in_the_form_that_came() {
    let collector = Collector::start().await;
    // What the caller decided goes before the share.
    let (_planes, address) = chain(&collector.address, 0).await;
    let w3c = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: vendor=1\r\n");
    let many = format!("X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Sampled: 1\r\n");
    let single = format!("b3: {TRACE}-{SPAN}-1\r\n");
    for (round, fields) in [w3c, many, single].iter().enumerate() {
        let answer = get(address, "/", fields).await.to_lowercase();
        let spans = collector.spans(3 * (round + 1)).await;
        let order = in_order(&spans[3 * round..], &bytes(SPAN));
        assert!(order.iter().all(|it| hex(&it.span.trace_id) == TRACE));
        let last = hex(&order[2].span.span_id);
        let expected = match round {
            0 => vec![format!("traceparent: 00-{TRACE}-{last}-01"), "tracestate: vendor=1".to_owned()],
            1 => vec![
                format!("x-b3-spanid: {last}"),
                format!("x-b3-traceid: {TRACE}"),
                "x-b3-sampled: 1".to_owned(),
            ],
            _ => vec![format!("b3: {TRACE}-{last}-1-{}", hex(&order[1].span.span_id))],
        };
        for field in expected {
            assert!(answer.contains(&field), "{field} in {answer}");
        }
        assert!(round == 0 || !answer.contains("traceparent"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_recorded_is_told_on_and_never_decided_again() {
    let collector = Collector::start().await;
    let mut to = application().await;
    for sampling in [10_000, 0] {
        let wanted = Wanted { telemetry: telemetry(&collector.address, sampling), ..Wanted::new("web", to) };
        let plane = wanted.start().await;
        to = plane.address;
        std::mem::forget(plane);
    }
    let answer = get(to, "/", "").await;
    let field = answer.lines().find_map(|line| line.strip_prefix("traceparent: ")).expect("a context");
    assert!(field.ends_with("-00"), "{field}");
    let said = format!("traceparent: 00-{TRACE}-{SPAN}-00");
    assert!(get(to, "/", &format!("{said}\r\n")).await.contains(&said), "as it came");
    assert_eq!(collector.so_far(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_takes_nothing_delays_nobody_and_its_spans_are_counted() {
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ir::Collector::grpc(format!("http://{}", silent.local_addr().unwrap()));
    let target = application().await;
    let plane = Wanted { telemetry: telemetry(&address, 10_000), ..Wanted::new("web", target) }.start().await;
    let began = std::time::Instant::now();
    for _ in 0..1_500 {
        assert!(get(plane.address, "/", "").await.starts_with("HTTP/1.1 200"));
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(9), "{:?}", began.elapsed());
    let dropped = |text: &str| {
        let line = text.lines().find(|it| it.starts_with("sluice_trace_spans_total{result=\"dropped\"}"));
        line.is_some_and(|it| !it.ends_with(" 0"))
    };
    scraped(&plane.proxy, dropped).await;
}

/// A data plane that sends all its spans to a collector, which these authorities vouch for.
async fn plane(collector: &Collector, pki: &Pki) -> DataPlane {
    let trace = TraceOptions {
        authorities: Some(pki.authority.clone()),
        headers: [("x-tenant".parse().unwrap(), "shop".parse().unwrap())].into_iter().collect(),
        ..TraceOptions::default()
    };
    let telemetry = telemetry(&collector.address, 10_000);
    Wanted { telemetry, trace, ..Wanted::new("web", application().await) }.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_over_grpc_and_http_in_the_clear_and_in_tls() {
    let pki = Pki::new();
    for collector in [
        Collector::start_grpc(Some(&pki)).await,
        Collector::start_http(None).await,
        Collector::start_http(Some(&pki)).await,
    ] {
        let plane = plane(&collector, &pki).await;
        for path in ["/cart", "/pay"] {
            assert!(get(plane.address, path, "").await.starts_with("HTTP/1.1 200"));
        }
        let spans = collector.spans(2).await;
        let urls: Vec<_> = spans.iter().map(|it| it.tags()["http.url"].clone()).collect();
        assert_eq!(urls, ["http://target.shop/cart", "http://target.shop/pay"], "{:?}", collector.address);
        assert!(spans.iter().all(|it| it.service == "web.shop"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_nobody_vouches_for_gets_nothing() {
    let (pki, others) = (Pki::new(), Pki::new());
    for collector in [Collector::start_grpc(Some(&pki)).await, Collector::start_http(Some(&pki)).await] {
        let plane = plane(&collector, &others).await;
        assert!(get(plane.address, "/", "").await.starts_with("HTTP/1.1 200"));
        let failed = |text: &str| text.contains("sluice_trace_spans_total{result=\"failed\"} 1");
        scraped(&plane.proxy, failed).await;
        assert_eq!(collector.so_far(), 0);
    }
}
