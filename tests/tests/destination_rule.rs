//! What a DestinationRule bounds and leaves out, through a real gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::future::join_all;
use sluice_tests::{Recorder, Reply, Stand, manifests};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A Service with so many endpoints, each an echo of its own, and a route to it.
fn cart(endpoints: usize) -> String {
    let endpoints: Vec<_> = (1..=endpoints).map(|it| format!("{{addresses: [10.0.0.{it}]}}")).collect();
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: cart}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: cart-a, labels: {{kubernetes.io/service-name: cart}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: cart}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - backendRefs: [{{name: cart, port: 80}}]
",
        endpoints.join(", ")
    )
}

fn rule(policy: &str) -> String {
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: cart}}
spec:
  host: cart
  trafficPolicy: {policy}
"
    )
}

async fn stand(endpoints: usize, policy: &str) -> Stand {
    Stand::start(&[manifests::GATEWAY, &cart(endpoints), &rule(policy)].concat()).await
}

/// How many of so many requests at one time got each of the statuses 200 and 503.
async fn at_once(stand: &Stand, count: usize) -> (usize, usize) {
    let asked = (0..count).map(|_| stand.get("http://a.example/?delay=600ms"));
    let statuses: Vec<_> = join_all(asked).await.iter().map(|it| it.status).collect();
    let of = |status| statuses.iter().filter(|it| **it == status).count();
    assert_eq!(of(200) + of(503), count, "{statuses:?}");
    (of(200), of(503))
}

fn overflows(stand: &Stand) -> bool {
    let metrics = stand.gateway().proxy().metrics().encode();
    metrics.lines().any(|it| it.starts_with("sluice_requests_total") && it.contains("outcome=\"overflow\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_are_on_their_way_than_the_rule_allows() {
    let stand = stand(1, "{connectionPool: {http: {http2MaxRequests: 3}}}").await;
    assert_eq!(at_once(&stand, 8).await, (3, 5));
    assert!(overflows(&stand));
    stand.quiet().await;
    assert_eq!(at_once(&stand, 3).await, (3, 0), "what ended is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_a_connection_while_there_is_room_to_wait() {
    let stand =
        stand(1, "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2}}}").await;
    assert_eq!(at_once(&stand, 5).await, (3, 2));
    assert!(overflows(&stand));
    stand.quiet().await;
    assert_eq!(at_once(&stand, 3).await, (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_can_be_for_one_request_only() {
    for (policy, connections) in [
        ("{connectionPool: {http: {maxRequestsPerConnection: 1}}}", 5),
        ("{connectionPool: {http: {maxRequestsPerConnection: 0}}}", 1),
    ] {
        let backend = Recorder::start().await;
        let mut stand = stand(1, policy).await;
        stand.fix("cart", backend.address());
        stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
        for _ in 0..5 {
            assert_eq!(stand.get("http://a.example/").await.status, 200);
            stand.quiet().await;
        }
        assert_eq!(backend.connections(), connections, "{policy}");
    }
}

/// The endpoint hears of the end with the last request, and closes as RFC 9112 §9.6 asks it to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_as_many_requests_as_the_rule_says() {
    let policy = "{connectionPool: {http: {maxRequestsPerConnection: 3}}}";
    let backend = Recorder::scripted(|request| match request.values("connection").as_slice() {
        ["close"] => {
            Reply::SendAndClose(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        _ => Reply::ok(""),
    })
    .await;
    let mut stand = stand(1, policy).await;
    stand.fix("cart", backend.address());
    stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
    for _ in 0..12 {
        assert_eq!(stand.get("http://a.example/").await.status, 200);
    }
    let mut carried = std::collections::BTreeMap::<usize, u32>::new();
    for request in backend.requests() {
        let count = carried.entry(request.connection).or_default();
        *count += 1;
        assert_eq!(
            !request.values("connection").is_empty(),
            *count == 3,
            "{count} of {}",
            request.connection
        );
    }
    assert!(carried.values().all(|it| *it <= 3), "{carried:?}");
    assert!(carried.values().filter(|it| **it == 3).count() >= 2, "{carried:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_takes_requests_for_as_long_as_the_rule_says() {
    let policy = "{connectionPool: {tcp: {maxConnectionDuration: 300ms}}}";
    let backend = Recorder::start().await;
    let mut stand = stand(1, policy).await;
    stand.fix("cart", backend.address());
    stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
    let begun = std::time::Instant::now();
    let mut times = std::collections::BTreeMap::new();
    while begun.elapsed() < Duration::from_millis(1_000) {
        assert_eq!(stand.get("http://a.example/").await.status, 200);
        let connection = backend.requests().last().unwrap().connection;
        let now = begun.elapsed();
        times.entry(connection).or_insert((now, now)).1 = now;
    }
    // Who comes before a connection is given back opens another: there may be two at a time.
    assert!((3..=10).contains(&times.len()), "{times:?}");
    // Answers come a little later than requests went.
    assert!(times.values().all(|(first, last)| *last - *first < Duration::from_millis(600)), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_request_is_kept_as_long_as_the_rule_says() {
    for (idle, connections) in [("150ms", 2), ("1m", 1)] {
        let policy = format!("{{connectionPool: {{http: {{idleTimeout: {idle}}}}}}}");
        let backend = Recorder::start().await;
        let mut stand = stand(1, &policy).await;
        stand.fix("cart", backend.address());
        stand.apply(&[manifests::GATEWAY, &cart(1), &rule(&policy)].concat()).await;
        assert_eq!(stand.get("http://a.example/").await.status, 200);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(stand.get("http://a.example/").await.status, 200);
        assert_eq!(backend.connections(), connections, "{idle}");
    }
}

/// HTTP through a proxy: each request on a connection of its own, and nothing where the proxy refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_through_a_proxy_where_the_rule_says_so() {
    let origin = Recorder::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let target = origin.address();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let is_known = head.starts_with("CONNECT app.test:80 ");
                send.send(head).unwrap();
                if !is_known {
                    stream.write_all(b"HTTP/1.1 407 Who?\r\n\r\n").await.unwrap();
                    return;
                }
                let mut target = tokio::net::TcpStream::connect(target).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
            });
        }
    });
    let policy = "{tunnel: {targetHost: app.test, targetPort: 80}}";
    let mut stand = stand(1, policy).await;
    stand.fix("cart", address);
    stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
    for count in 1..=2 {
        let answer = stand.get("http://a.example/x").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "GET /x HTTP/1.1"));
        assert_eq!(heads.recv().await.unwrap(), "CONNECT app.test:80 HTTP/1.1\r\nHost: app.test:80\r\n\r\n");
        assert_eq!(origin.connections(), count);
    }
    let policy = "{tunnel: {targetHost: other.test, targetPort: 80}}";
    stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
    assert_eq!(stand.get("http://a.example/x").await.status, 502);
    assert!(heads.recv().await.unwrap().starts_with("CONNECT other.test:80 "));
    let policy = "{tunnel: {protocol: POST, targetHost: app.test, targetPort: 80}}";
    stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
    assert_eq!(stand.get("http://a.example/x").await.status, 502);
    assert!(heads.try_recv().is_err(), "the proxy is not asked at all");
    assert_eq!(origin.connections(), 2, "nothing went past the proxy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_answer_5xx_are_left_out_as_far_as_the_rule_allows() {
    let detection = |percent: u8| {
        format!(
            "{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: \
             {{consecutive5xxErrors: 2, baseEjectionTime: 60s, maxEjectionPercent: {percent}}}}}"
        )
    };
    for (percent, expected) in [(0, 3), (10, 2), (70, 1), (100, 0)] {
        let stand = stand(3, &detection(percent)).await;
        for _ in 0..12 {
            stand.get("http://a.example/status/500").await;
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..12 {
            let answer = stand.get("http://a.example/").await;
            assert_eq!(answer.status, if percent == 100 { 503 } else { 200 }, "{percent} %");
            seen.extend(answer.backend().map(str::to_owned));
        }
        assert_eq!(seen.len(), expected, "{percent} %: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_comes_back_when_its_ejection_ends() {
    let policy =
        "{outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 1s, maxEjectionPercent: 100}}";
    let stand = stand(1, policy).await;
    stand.get("http://a.example/status/500").await;
    assert_eq!(stand.get("http://a.example/").await.status, 503);
    let back = sluice_tests::eventually("the endpoint is back", || async {
        stand.get("http://a.example/").await.status == 200
    });
    assert!(back.await < Duration::from_secs(5));
}

/// The PROXY protocol: who the client is, on a connection of its own for each request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_begins_with_the_clients_address_where_the_rule_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, mut heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                send.send(head).unwrap();
                // Kept open: the gateway must not use it again.
                let _ = stream.read_u8().await;
            });
        }
    });
    let policy = "{proxyProtocol: {version: V1}}";
    let mut stand = stand(1, policy).await;
    stand.fix("cart", address);
    stand.apply(&[manifests::GATEWAY, &cart(1), &rule(policy)].concat()).await;
    for _ in 0..3 {
        let answer = stand.get("http://a.example/x").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        let head = String::from_utf8(heads.recv().await.unwrap()).unwrap();
        let (first, rest) = head.split_once("\r\n").unwrap();
        assert!(first.starts_with("PROXY TCP4 127."), "{first}");
        assert!(first.ends_with(&format!(" {}", stand.address(80).port())), "{first}");
        assert!(rest.starts_with("GET /x HTTP/1.1\r\n"), "{rest}");
    }
}
