//! Which endpoint gets a request: sessions, other endpoints when one fails, rest for those that keep failing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_ir as ir;
use sluice_tests::{Answer, Ask, Endpoints, Recorder, Reply, Stand, eventually, ir_samples, manifests};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A Service with three endpoints, each an echo of its own: `cart:80#0`, `#1`, `#2`.
const CART: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-a, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true}}
- {addresses: [10.0.0.2], conditions: {ready: true}}
- {addresses: [10.0.0.3], conditions: {ready: true}}
";

fn route(rule: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: cart}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - {rule}
    backendRefs: [{{name: cart, port: 80}}]
"
    )
}

async fn stand(rule: &str) -> Stand {
    Stand::start(&[manifests::GATEWAY, CART, &route(rule)].concat()).await
}

fn who(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.backend().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_endpoints_get_their_share() {
    let stand = stand("matches: [{path: {value: /}}]").await;
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        seen.insert(who(&stand.get("http://a.example/").await));
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// GEP-1619: the cookie leads back to the endpoint that set it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_keeps_a_client_at_its_endpoint() {
    let stand = stand("sessionPersistence: {sessionName: cart-session, type: Cookie}").await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let first = stand.get("http://a.example/").await;
        let set = first.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {first:?}"));
        assert!(set.starts_with("cart-session=") && set.contains("HttpOnly"), "{set}");
        let cookie = set.split(';').next().unwrap().to_owned();
        for _ in 0..5 {
            let again = stand
                .request(&Ask::get("http://a.example/").header("Cookie", &format!("x=y; {cookie}")))
                .await;
            assert_eq!(who(&again), who(&first));
            assert_eq!(again.header("set-cookie"), None, "the session is known already");
        }
        seen.insert(who(&first));
    }
    assert!(seen.len() > 1, "all sessions are at {seen:?}");
    // A cookie that nobody gave out starts a new session.
    let forged = stand
        .request(&Ask::get("http://a.example/").header("Cookie", "cart-session=AAAAAAAAAAAAAAAAAAAAAA"))
        .await;
    assert!(forged.header("set-cookie").is_some(), "{forged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_keeps_a_client_at_its_endpoint() {
    let stand = stand("sessionPersistence: {sessionName: x-session, type: Header}").await;
    let first = stand.get("http://a.example/").await;
    let token = first.header("x-session").unwrap_or_else(|| panic!("no token: {first:?}")).to_owned();
    for _ in 0..10 {
        let again = stand.request(&Ask::get("http://a.example/").header("X-Session", &token)).await;
        assert_eq!(who(&again), who(&first));
    }
}

/// A session whose endpoint is gone goes on elsewhere and is told its new place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_survives_the_end_of_its_endpoint() {
    let rule = "sessionPersistence: {sessionName: cart-session}";
    let mut stand = stand(rule).await;
    let first = stand.get("http://a.example/").await;
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let index: usize = who(&first).rsplit_once('#').unwrap().1.parse().unwrap();
    let gone = format!("- {{addresses: [10.0.0.{}], conditions: {{ready: true}}}}\n", index + 1);
    stand.apply(&[manifests::GATEWAY, &CART.replace(&gone, ""), &route(rule)].concat()).await;
    let next = stand.request(&Ask::get("http://a.example/").header("Cookie", &cookie)).await;
    assert_eq!(next.status, 200);
    assert!(next.header("set-cookie").is_some_and(|set| !set.starts_with(&cookie)), "{next:?}");
}

/// An address where nothing listens.
async fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn snapshot(addresses: &[SocketAddr], edit: impl FnOnce(&mut ir::Rule)) -> ir::Snapshot {
    let mut snapshot = ir_samples::everything_to(addresses[0]);
    let set = ir_samples::endpoints("main", addresses);
    snapshot.endpoint_sets.insert(set.key.clone(), set);
    let mut rule = ir_samples::rule(0, ir::Match::default(), "main");
    edit(&mut rule);
    let route = ir_samples::route("all", vec![rule]);
    snapshot.routes.insert(route.key.clone(), route);
    snapshot
}

/// A connection that is refused costs no request, also without a retry policy, and also for a POST: nothing was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_refuses_connections_costs_no_request() {
    let backend = Recorder::start().await;
    let stand = Stand::of_snapshot(snapshot(&[dead().await, backend.address()], |_| {})).await;
    for number in 0..50 {
        let ask = Ask::new("POST", "http://a.example/").body("once");
        let answer = stand.request(&ask).await;
        assert_eq!(answer.status, 200, "request {number}: {answer:?}");
    }
    assert_eq!(backend.requests().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_endpoint_at_all_that_answers_is_502() {
    let stand = Stand::of_snapshot(snapshot(&[dead().await, dead().await], |_| {})).await;
    for _ in 0..10 {
        assert_eq!(stand.get("http://a.example/").await.status, 502);
    }
}

/// After five failures in a row an endpoint rests: the others get its requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_keeps_failing_rests() {
    let good = Recorder::start().await;
    let bad = Recorder::scripted(|_| {
        Reply::Send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec())
    })
    .await;
    let stand = Stand::of_snapshot(snapshot(&[good.address(), bad.address()], |_| {})).await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(stand.get("http://a.example/").await.status == 503);
    }
    assert_eq!(failed, 5, "requests that met the failing endpoint");
    assert_eq!(bad.requests().len(), 5);
}

/// A retry goes to another endpoint, and the client never learns of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_goes_to_another_endpoint() {
    let good = Recorder::start().await;
    let bad = Recorder::scripted(|_| Reply::SendAndClose(Vec::new())).await;
    let retry = ir::Retry { codes: vec![503], attempts: 1, backoff: Duration::ZERO };
    let stand = Stand::of_snapshot(snapshot(&[good.address(), bad.address()], |rule| {
        rule.retry = Some(retry.into())
    }))
    .await;
    for number in 0..50 {
        assert_eq!(stand.get("http://a.example/").await.status, 200, "request {number}");
    }
    assert!(!bad.requests().is_empty());
}

/// A request that reached an endpoint and changes something is not sent again without a policy: it may have had its
/// effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_a_request_is_sent_once() {
    let bad = Recorder::scripted(|_| Reply::SendAndClose(Vec::new())).await;
    let stand = Stand::of_snapshot(snapshot(&[bad.address()], |_| {})).await;
    for count in 1..=10 {
        let ask = Ask::new("POST", "http://a.example/").body("once");
        assert_eq!(stand.request(&ask).await.status, 502);
        assert_eq!(bad.requests().len(), count);
    }
}

/// Accepts, reads what comes and resets: what a backend does that has just ended.
async fn resetting(tries: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tries.fetch_add(1, Ordering::Relaxed);
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await;
            stream.set_zero_linger().unwrap();
        }
    });
    address
}

/// RFC 9110 §9.2.2: a request that changes nothing, or the same thing however often it comes, is sent to another
/// endpoint when its connection ended without an answer. Without any policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_resets_fresh_connections_costs_no_idempotent_request() {
    let (good, tries) = (Recorder::start().await, Arc::<AtomicUsize>::default());
    let addresses = [good.address(), resetting(tries.clone()).await];
    let mut snapshot = snapshot(&addresses, |_| {});
    snapshot = ir_samples::with_settings(snapshot, |settings| settings.eject_after_failures = 0);
    let stand = Stand::of_snapshot(snapshot).await;
    for number in 0..50 {
        let answer = stand.get("http://a.example/").await;
        assert_eq!(answer.status, 200, "GET {number}: {answer:?}");
        let answer = stand.request(&Ask::new("PUT", "http://a.example/").body("whole")).await;
        assert_eq!(answer.status, 200, "PUT {number}: {answer:?}");
    }
    assert!(tries.load(Ordering::Relaxed) >= 10, "{tries:?} of 100 requests met the resetting endpoint");
    let puts: Vec<_> = good.requests().into_iter().filter(|it| it.line().starts_with("PUT")).collect();
    assert!(puts.len() == 50 && puts.iter().all(|put| put.body == "whole"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_policy_is_tried_three_times_at_most() {
    let tries = Arc::<AtomicUsize>::default();
    let mut addresses = Vec::new();
    for _ in 0..5 {
        addresses.push(resetting(tries.clone()).await);
    }
    let stand = Stand::of_snapshot(snapshot(&addresses, |_| {})).await;
    assert_eq!(stand.get("http://a.example/").await.status, 502);
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    let post = Ask::new("POST", "http://a.example/").body("once");
    assert_eq!(stand.request(&post).await.status, 502);
    assert_eq!(tries.load(Ordering::Relaxed), 4, "a POST may have had its effect");
}

/// Silence is no end: the endpoint may be at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_timed_out_is_not_sent_again_without_a_policy() {
    let slow = Recorder::scripted(|_| Reply::Hang).await;
    let timeouts = ir::Timeouts { request: None, backend_request: Some(Duration::from_millis(50)) };
    let stand =
        Stand::of_snapshot(snapshot(&[slow.address()], |rule| rule.timeouts = timeouts.boxed())).await;
    assert_eq!(stand.get("http://a.example/").await.status, 504);
    assert_eq!(slow.requests().len(), 1);
}

/// The request timeout bounds all tries together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_timeout_bounds_all_tries() {
    let slow = Recorder::scripted(|_| Reply::Hang).await;
    let retry = ir::Retry { codes: vec![503], attempts: 100, backoff: Duration::from_millis(1) };
    let timeouts = ir::Timeouts {
        request: Some(Duration::from_millis(400)),
        backend_request: Some(Duration::from_millis(50)),
    };
    let stand = Stand::of_snapshot(snapshot(&[slow.address()], |rule| {
        rule.retry = Some(retry.into());
        rule.timeouts = timeouts.boxed();
    }))
    .await;
    let started = std::time::Instant::now();
    let answer = stand.get("http://a.example/").await;
    assert_eq!(answer.status, 504);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let tries = slow.requests().len();
    assert!((2..=9).contains(&tries), "{tries} tries of 50 ms within 400 ms");
}

/// Endpoints that end take no new requests while others are ready, and all of them when none is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_endpoint_is_the_last_choice() {
    let draining = CART.replace(
        "- {addresses: [10.0.0.1], conditions: {ready: true}}",
        "- {addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}",
    );
    let rule = route("matches: [{path: {value: /}}]");
    let mut stand = Stand::start(&[manifests::GATEWAY, &draining, &rule].concat()).await;
    for _ in 0..30 {
        assert_ne!(who(&stand.get("http://a.example/").await), "default/cart:80#0");
    }
    let only = draining
        .replace("- {addresses: [10.0.0.2], conditions: {ready: true}}\n", "")
        .replace("- {addresses: [10.0.0.3], conditions: {ready: true}}\n", "");
    stand.apply(&[manifests::GATEWAY, &only, &rule].concat()).await;
    assert!(who(&stand.get("http://a.example/").await).starts_with("default/cart:80"));
}

/// A name is resolved here and its address used: `localhost` needs no cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_by_name_is_resolved() {
    let backend = Recorder::start().await;
    let entry = manifests::backend_at("api.test", 80, "HTTP", "localhost", backend.address().port());
    let yaml =
        [manifests::GATEWAY, &entry.replace("STATIC", "DNS"), &manifests::route("all", &[], "api.test", 80)]
            .concat();
    let mut stand = Stand::empty(Endpoints::AsWritten).await;
    stand.apply(&yaml).await;
    eventually("the name is resolved", || async { stand.get("http://a.example/").await.status == 200 }).await;
    assert_eq!(stand.get("http://a.example/x").await.text(), "GET /x HTTP/1.1");
}
