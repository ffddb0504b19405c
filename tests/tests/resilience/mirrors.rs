//! Copies: never a delay or a failure of the client, the exact share, a host of their own.

use super::{end_so, metric, metric_becomes};
use futures::future::join_all;
use sluice_ir as ir;
use sluice_tests::{Ask, Recorder, Reply, Stand, eventually, ir_samples, manifests};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// A route to `main.test` that copies to `shadow.test`, which is at this address.
async fn stand(shadow: SocketAddr, share: &str) -> Stand {
    let route = format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: copied}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - filters:
    - type: RequestMirror
      requestMirror: {{backendRef: {{group: networking.istio.io, kind: Hostname, name: shadow.test, port: 80}}{share}}}
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: main.test, port: 80}}]
"
    );
    let backends =
        [manifests::backend("main.test", 80, "HTTP"), manifests::backend("shadow.test", 80, "HTTP")];
    let mut stand = Stand::empty(sluice_tests::Endpoints::Echo).await;
    stand.fix("shadow.test", shadow);
    stand.apply(&[manifests::GATEWAY, &backends.concat(), &route].concat()).await;
    stand
}

fn copies(result: &str) -> String {
    format!("sluice_mirrors_total{{result=\"{result}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_names_a_marked_host_and_its_answer_is_thrown_away() {
    let shadow = Recorder::scripted(|_| {
        let head = "HTTP/1.1 500 Internal Server Error\r\nX-Shadow: 1\r\nContent-Length: 6\r\n\r\n";
        Reply::Send(format!("{head}shadow").into_bytes())
    })
    .await;
    let stand = stand(shadow.address(), "").await;
    let ask = Ask::new("POST", "http://shop.example:80/cart?a=b").header("X-Own", "1").body("one book");
    let answer = stand.request(&ask).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("main.test:80")), "{answer:?}");
    assert_eq!(answer.header("x-shadow"), None);
    assert!(answer.text().contains("shop.example") && !answer.text().contains("-shadow"), "{answer:?}");
    metric_becomes(&stand, &copies("completed"), 1.0).await;
    let copy = &shadow.requests()[0];
    assert_eq!(copy.line(), "POST /cart?a=b HTTP/1.1");
    assert_eq!(copy.values("host"), ["shop.example-shadow:80"]);
    assert_eq!((copy.values("x-own"), &copy.body[..]), (vec!["1"], &b"one book"[..]));
}

/// GEP-3171: "percent" and "fraction". Counted, and also with many clients at one time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_share_is_exact() {
    for (share, expected) in [(", percent: 10", 100), (", fraction: {numerator: 3, denominator: 1000}", 3)] {
        let shadow = Recorder::start().await;
        let stand = stand(shadow.address(), share).await;
        let client = || async {
            let (h2, connection) = stand.h2(&Ask::get("http://a.example/")).await;
            for _ in 0..25 {
                assert_eq!(h2.ask(&Ask::get("http://a.example/")).await.status, 200);
            }
            connection.abort();
        };
        join_all((0..40).map(|_| client())).await;
        metric_becomes(&stand, &copies("completed"), f64::from(expected)).await;
        assert_eq!(shadow.requests().len(), expected as usize, "{share}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_never_answers_delays_nobody() {
    let shadow = Recorder::scripted(|_| Reply::Hang).await;
    let stand = stand(shadow.address(), "").await;
    let started = Instant::now();
    let mut wire = stand.wire(&Ask::get("http://a.example/")).await;
    for _ in 0..100 {
        assert_eq!(wire.ask(&Ask::get("http://a.example/")).await.status, 200);
    }
    // More than a copy may have waiting, sent to somebody who does not read on.
    let upload = Ask::new("POST", "http://a.example/").body(vec![b'.'; 4 << 20]);
    assert_eq!(wire.ask(&upload).await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(metric(&stand, &copies("completed")), 0.0);
    end_so(&stand, "served", 101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_fails_fails_nobody() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closing = Recorder::scripted(|_| Reply::SendAndClose(Vec::new())).await;
    let babbling = Recorder::scripted(|_| Reply::SendAndClose(b"SSH-2.0-nothing\r\n".to_vec())).await;
    for shadow in [nobody, closing.address(), babbling.address()] {
        let stand = stand(shadow, "").await;
        for method in ["GET", "POST"] {
            for _ in 0..10 {
                let ask = Ask::new(method, "http://a.example/").body("x");
                assert_eq!(stand.request(&ask).await.status, 200);
                assert_eq!(stand.request_h2(&ask).await.status, 200);
            }
        }
        metric_becomes(&stand, &copies("failed"), 40.0).await;
        end_so(&stand, "served", 40).await;
        assert_eq!(metric(&stand, &copies("completed")), 0.0);
    }
}

/// What becomes another protocol is no request that could be repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_not_copied() {
    let shadow = Recorder::start().await;
    let stand = stand(shadow.address(), "").await;
    let ask = Ask::get("http://a.example/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut wire = stand.wire(&ask).await;
    assert_eq!(wire.ask(&ask).await.status, 101);
    assert_eq!(stand.get("http://a.example/after").await.status, 200);
    eventually("the second request is copied", || async { !shadow.requests().is_empty() }).await;
    assert_eq!(shadow.lines(), ["GET /after HTTP/1.1"]);
}

/// Two endpoints, of which one refuses connections; every request is copied.
async fn half_dead(main: SocketAddr, shadow: SocketAddr, body_limit: Option<u64>) -> Stand {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut snapshot = ir_samples::everything_to(main);
    for (name, addresses) in [("main", vec![dead, main]), ("shadow", vec![shadow])] {
        let backend = ir_samples::backend(name, ir::BackendProtocol::Http1);
        let set = ir_samples::endpoints(name, &addresses);
        snapshot.backends.insert(backend.key.clone(), backend);
        snapshot.endpoint_sets.insert(set.key.clone(), set);
    }
    let mut rule = ir_samples::rule(0, ir::Match::default(), "main");
    let target = ir::BackendTarget::Backend(ir::BackendKey::new("Service/default/shadow:80"));
    rule.filters = [ir::Filter::Mirror(ir::Mirror { target, fraction: ir::Ratio::ALL })].into();
    let route = ir_samples::route("all", vec![rule]);
    snapshot.routes.insert(route.key.clone(), route);
    let snapshot = ir_samples::with_settings(snapshot, |settings| {
        // The dead endpoint stays in the turn.
        settings.eject_after_failures = 0;
        settings.balancing = ir::Balancing::RoundRobin;
        settings.limits.request_body_bytes = body_limit;
    });
    Stand::of_snapshot(snapshot).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_needs_another_endpoint_is_copied_once_and_whole() {
    let (main, shadow) = (Recorder::start().await, Recorder::start().await);
    let stand = half_dead(main.address(), shadow.address(), None).await;
    for number in 0..20 {
        let ask = Ask::new("POST", "http://a.example/").body(format!("book {number}"));
        assert_eq!(stand.request(&ask).await.status, 200);
    }
    eventually("all copies came", || async { shadow.requests().len() >= 20 }).await;
    let mut bodies: Vec<_> = shadow.requests().into_iter().map(|it| it.body).collect();
    bodies.sort_by_key(bytes::Bytes::len);
    assert_eq!(bodies.len(), 20);
    assert!(bodies.iter().all(|body| body.starts_with(b"book ")), "{bodies:?}");
}

/// A body is bounded whichever try sends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_on_a_body_holds_for_a_second_try_too() {
    let (main, shadow) = (Recorder::start().await, Recorder::start().await);
    let stand = half_dead(main.address(), shadow.address(), Some(10)).await;
    for _ in 0..6 {
        let mut wire = stand.wire(&Ask::get("http://a.example/")).await;
        wire.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        wire.send("8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 413);
    }
    assert!(main.requests().is_empty());
}
