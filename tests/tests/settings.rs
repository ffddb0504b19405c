//! GatewayParameters on real connections: what they set holds, and a change of them touches no connection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::{Ask, Stand, Wire, manifests};

/// A Gateway whose parameters have this spec.
fn gateway(spec: &str) -> String {
    [
        manifests::GATEWAY,
        "  infrastructure: {parametersRef: {group: sluice.dev, kind: GatewayParameters, name: own}}\n",
        &format!("---\napiVersion: sluice.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{name: own}}\nspec: {spec}\n"),
        &manifests::backend("main.test", 80, "HTTP"),
        &manifests::route("all", &[], "main.test", 80),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_change_while_connections_stay() {
    let mut stand = Stand::start(&gateway("{limits: {requestBodyBytes: 10, requestHeaders: 5}}")).await;
    let small = Ask::new("POST", "http://a.example/").body(vec![b'x'; 10]);
    let large = Ask::new("POST", "http://a.example/").body(vec![b'x'; 11]);
    let mut kept = Wire::connect(stand.address(80)).await;
    assert_eq!(kept.ask(&small).await.status, 200);
    assert_eq!(stand.request(&large).await.status, 413);
    let many =
        (0..5).fold(Ask::get("http://a.example/"), |ask, number| ask.header(&format!("x-{number}"), "y"));
    assert_eq!(stand.request(&many).await.status, 431);
    stand.apply(&gateway("{limits: {requestBodyBytes: 11}}")).await;
    assert_eq!(stand.request(&large).await.status, 200);
    assert_eq!(stand.request(&many).await.status, 200);
    assert_eq!(kept.ask(&small).await.status, 200, "the connection stays");
}

/// haproxy.org, proxy-protocol.txt: version 1 is a line, version 2 binary; without one the connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_protocol_tells_the_client() {
    let stand = Stand::start(&gateway("{proxyProtocol: Required}")).await;
    let request = Ask::get("http://a.example/").to_http1();
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 80\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([192, 0, 2, 8, 198, 51, 100, 1, 0x15, 0xb3, 0, 80]);
    for (header, client) in [(v1, "192.0.2.7"), (v2, "192.0.2.8")] {
        // Byte by byte, with the request in the same packets.
        let mut wire = Wire::connect(stand.address(80)).await;
        for byte in header.iter().chain(&request) {
            wire.send([*byte]).await;
        }
        let answer = wire.answer().await;
        assert_eq!(answer.seen_header("x-forwarded-for").as_deref(), Some(client));
        let mut whole = Wire::connect(stand.address(80)).await;
        whole.send([header.clone(), request.clone(), request.clone()].concat()).await;
        for _ in 0..2 {
            assert_eq!(whole.answer().await.seen_header("x-forwarded-for").as_deref(), Some(client));
        }
    }
    for (what, bytes) in [
        ("no header", request.clone()),
        ("a broken header", [&b"PROXY TCP4 192.0.2.7\r\n"[..], &request].concat()),
        ("a header without end", vec![b'P'; 4000]),
        ("a header of another version", [&b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c"[..], &request].concat()),
    ] {
        let mut wire = Wire::connect(stand.address(80)).await;
        wire.send(&bytes).await;
        wire.finish().await;
        assert!(!wire.rest().await.starts_with(b"HTTP/1.1 2"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_that_nobody_asked_for_is_no_request() {
    let stand = Stand::start(&gateway("{}")).await;
    let mut wire = Wire::connect(stand.address(80)).await;
    wire.send(
        [&b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 80\r\n"[..], &Ask::get("http://a.example/").to_http1()]
            .concat(),
    )
    .await;
    assert_eq!(wire.answer().await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_hops_are_believed_and_no_more() {
    let ask = Ask::get("http://a.example/")
        .header("X-Forwarded-For", "10.0.0.1, 192.0.2.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "public.example");
    let stand = Stand::start(&gateway("{trustedHops: 1}")).await;
    let answer = stand.request(&ask).await;
    assert_eq!(answer.seen_header("x-forwarded-for").as_deref(), Some("10.0.0.1, 192.0.2.7, 127.0.0.1"));
    assert_eq!(answer.seen_header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(answer.seen_header("x-forwarded-host").as_deref(), Some("public.example"));
    let stand = Stand::start(&gateway("{trustedHops: 0}")).await;
    let answer = stand.request(&ask).await;
    assert_eq!(answer.seen_header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer.seen_header("x-forwarded-proto").as_deref(), Some("http"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_server_tells_state_and_no_secret() {
    let authority = sluice_tests::tls::Authority::new();
    let issued = authority.issue(&["*.example.com"]);
    let yaml = gateway("{}").replace("  - {name: http, port: 80, protocol: HTTP}\n", "  - {name: http, port: 80, protocol: HTTP}\n  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}\n");
    let stand = Stand::start(&[yaml, issued.secret("web")].concat()).await;
    stand.get("http://a.example/").await.expect_status(200);
    stand.get("http://a.example/status/503").await.expect_status(503);
    let page = |path: &'static str| {
        let admin = stand.admin();
        async move { Wire::connect(admin).await.ask(&Ask::get(&format!("http://admin{path}"))).await }
    };
    assert_eq!(page("/healthz/live").await.status, 200);
    assert_eq!(page("/healthz/ready").await.status, 200);
    let metrics = page("/metrics").await.text();
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("sluice_requests_total{") && line.contains("HTTPRoute default/all"));
    let total: u64 = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(total, 2, "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
    let snapshot = page("/debug/snapshot").await;
    assert!(snapshot.text().contains("HTTPRoute/default/all"), "{}", snapshot.text());
    let key: String = issued.key.lines().nth(1).unwrap().chars().take(20).collect();
    for path in ["/debug/snapshot", "/debug/endpoints", "/metrics"] {
        let text = page(path).await.text();
        assert!(!text.contains("PRIVATE KEY") && !text.contains(&key), "{path} shows the key");
    }
    assert_eq!(page("/nothing").await.status, 404);
}
