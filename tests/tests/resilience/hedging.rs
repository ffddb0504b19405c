//! A further try beside one that is slow: the first good answer wins, and counts are exact.

use super::{end_so, given, governed, metric, metric_becomes};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice_ir as ir;
use sluice_tests::{Ask, Recorder, Reply, Stand, eventually, ir_samples};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const DELAY: Duration = Duration::from_millis(80);

fn hedging(edit: impl FnOnce(&mut ir::Hedging)) -> ir::TrafficSettings {
    let mut hedging = ir::Hedging { delay: DELAY, extra_tries: 1, percent: 100, methods: Vec::new() };
    edit(&mut hedging);
    ir::TrafficSettings { hedging: given(hedging), ..ir::TrafficSettings::default() }
}

fn tries(result: &str) -> String {
    let route = "gateway=\"default/web\",route=\"HTTPRoute default/all\"";
    format!("sluice_hedged_tries_total{{{route},result=\"{result}\"}}")
}

/// Endpoints take turns, also those that fail.
async fn stand(addresses: &[SocketAddr], settings: ir::TrafficSettings) -> Stand {
    let mut snapshot = governed(addresses, settings, |_| {});
    let gateway = ir_samples::with_settings(ir::Snapshot::default(), |settings| {
        settings.eject_after_failures = 0;
        settings.balancing = ir::Balancing::RoundRobin;
    });
    snapshot.gateways = gateway.gateways;
    Stand::of_snapshot(snapshot).await
}

/// A try at an endpoint that is silent is given up when another one answers, and its connection with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_endpoint_costs_a_request_the_delay() {
    let (silent, good) = (Recorder::scripted(|_| Reply::Hang).await, Recorder::start().await);
    let stand = stand(&[silent.address(), good.address()], hedging(|_| {})).await;
    let started = Instant::now();
    for number in 0..10 {
        let answer = stand.get(&format!("http://a.example/{number}")).await;
        assert_eq!((answer.status, answer.text()), (200, format!("GET /{number} HTTP/1.1")));
        assert_eq!(stand.request_h2(&Ask::get("http://a.example/h2")).await.status, 200);
    }
    let hedged = silent.requests().len();
    assert!(hedged > 0, "nobody met the silent endpoint");
    let least = DELAY * u32::try_from(hedged).unwrap();
    assert!(started.elapsed() >= least && started.elapsed() < least + Duration::from_secs(5));
    metric_becomes(&stand, &tries("won"), hedged as f64).await;
    assert_eq!(metric(&stand, &tries("lost")), 0.0);
    end_so(&stand, "served", 20).await;
    assert_eq!(good.requests().len(), 20);
}

/// Who answers in time is asked alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_answer_needs_no_further_try() {
    let recorder = || {
        Recorder::scripted(|request| match request.line().starts_with("HEAD") {
            true => Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()),
            false => Reply::ok("quick"),
        })
    };
    let (one, two) = (recorder().await, recorder().await);
    let stand =
        stand(&[one.address(), two.address()], hedging(|it| it.delay = Duration::from_secs(10))).await;
    let mut wire = stand.wire(&Ask::get("http://a.example/")).await;
    for _ in 0..20 {
        assert_eq!(wire.ask(&Ask::get("http://a.example/")).await.status, 200);
        let head = wire.ask(&Ask::new("HEAD", "http://a.example/")).await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    }
    assert_eq!(one.requests().len() + two.requests().len(), 40);
    assert_eq!(metric(&stand, &tries("won")) + metric(&stand, &tries("lost")), 0.0);
    assert!(one.connections() + two.connections() <= 4, "connections are kept");
}

/// A further try that answers later than the first loses; one that answers with an error does not win.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_good_answer_wins() {
    let slow = slow(Duration::from_millis(400)).await;
    let bad = Recorder::scripted(|_| {
        Reply::Send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec())
    })
    .await;
    let stand = stand(&[slow.address, bad.address()], hedging(|_| {})).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(stand.get("http://a.example/").await.status);
    }
    // Those that met the bad endpoint first got its answer at once: that is for a retry policy.
    let good = statuses.iter().filter(|it| **it == 200).count();
    assert!(good > 0 && statuses.iter().all(|it| [200, 503].contains(it)), "{statuses:?}");
    metric_becomes(&stand, &tries("lost"), good as f64).await;
    assert_eq!(metric(&stand, &tries("won")), 0.0);
}

/// Answers after a time, and counts what was dropped before.
struct Slow {
    address: SocketAddr,
    begun: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

async fn slow(time: Duration) -> Slow {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, answered) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counters = (begun.clone(), answered.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (begun, answered) = counters.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let (begun, answered) = (begun.clone(), answered.clone());
                async move {
                    let body =
                        request.into_body().collect().await.map(|it| it.to_bytes()).unwrap_or_default();
                    begun.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(time).await;
                    answered.fetch_add(1, Ordering::SeqCst);
                    let body = if body.is_empty() { Bytes::from_static(b"slow") } else { body };
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    Slow { address, begun, answered }
}

/// The loser is told: its connection is closed, or its stream reset, and it stops its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loses_is_cancelled_over_both_protocols() {
    for protocol in [ir::BackendProtocol::Http1, ir::BackendProtocol::H2c] {
        let (one, two) = (slow(Duration::from_millis(1)).await, slow(Duration::from_secs(60)).await);
        let mut snapshot = governed(&[one.address, two.address], hedging(|_| {}), |_| {});
        let backend = ir_samples::backend("main", protocol);
        snapshot.backends.insert(backend.key.clone(), backend);
        let gateway = ir_samples::with_settings(ir::Snapshot::default(), |settings| {
            settings.balancing = ir::Balancing::RoundRobin;
        });
        snapshot.gateways = gateway.gateways;
        let stand = Stand::of_snapshot(snapshot).await;
        for _ in 0..6 {
            let answer = stand.get("http://a.example/").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "slow"), "{protocol:?}");
        }
        let begun = two.begun.load(Ordering::SeqCst);
        assert!(begun > 0 && two.answered.load(Ordering::SeqCst) == 0, "{begun} of {protocol:?}");
        metric_becomes(&stand, &tries("won"), begun as f64).await;
        let series = "sluice_endpoint_requests_in_flight{endpoint_set=\"Service/default/main:80\"}";
        eventually("nothing is on its way", || async { metric(&stand, series) == 0.0 }).await;
    }
}

/// A body must have been read whole; a POST is sent twice only where the policy names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_methods() {
    let buffered = |methods: &[&str]| {
        let mut settings = hedging(|it| it.methods = methods.iter().map(|it| (*it).to_owned()).collect());
        settings.buffer = given(ir::RequestBuffer { max_bytes: 1 << 20 });
        settings
    };
    let body = vec![b'x'; 200_000];
    for (method, settings, hedged) in [
        ("PUT", buffered(&[]), true),
        ("PUT", hedging(|_| {}), false),
        ("POST", buffered(&[]), false),
        ("POST", buffered(&["POST"]), true),
    ] {
        let (one, two) = (slow(Duration::from_millis(300)).await, slow(Duration::from_millis(300)).await);
        let stand = stand(&[one.address, two.address], settings).await;
        let ask = Ask::new(method, "http://a.example/").body(body.clone());
        for answer in [stand.request(&ask).await, stand.request_h2(&ask).await] {
            assert!(answer.status == 200 && answer.body == body, "{method}: {}", answer.status);
        }
        let begun = one.begun.load(Ordering::SeqCst) + two.begun.load(Ordering::SeqCst);
        assert_eq!(begun, if hedged { 4 } else { 2 }, "{method}");
    }
}

/// Overload is not made worse: further tries are a share of the requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_bounds_further_tries_exactly() {
    let (one, two) = (slow(Duration::from_millis(120)).await, slow(Duration::from_millis(120)).await);
    let settings = hedging(|it| (it.delay, it.percent) = (Duration::from_millis(1), 20));
    let stand = stand(&[one.address, two.address], settings).await;
    for _ in 0..20 {
        assert_eq!(stand.get("http://a.example/").await.status, 200);
    }
    // Ten were saved up, and all requests but the first bring in a fifth of one: 13.8, of which a part stays.
    eventually("all are counted", || async {
        metric(&stand, &tries("won")) + metric(&stand, &tries("lost")) == 13.0
    })
    .await;
    assert_eq!(metric(&stand, &tries("refused")), 7.0);
    assert_eq!(one.begun.load(Ordering::SeqCst) + two.begun.load(Ordering::SeqCst), 33);
}

/// As without hedging: an endpoint that refuses connections, or closes them, costs no idempotent request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_fail_at_once_are_followed_by_others() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closing = Recorder::scripted(|_| Reply::SendAndClose(Vec::new())).await;
    for bad in [nobody, closing.address()] {
        let good = Recorder::start().await;
        let stand = stand(&[bad, good.address()], hedging(|_| {})).await;
        for _ in 0..10 {
            assert_eq!(stand.get("http://a.example/").await.status, 200, "{bad}");
        }
        assert_eq!(good.requests().len(), 10);
    }
    let stand = stand(&[nobody, closing.address()], hedging(|_| {})).await;
    assert_eq!(stand.get("http://a.example/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_own_time_bounds_all_tries() {
    let (one, two) = (Recorder::scripted(|_| Reply::Hang).await, Recorder::scripted(|_| Reply::Hang).await);
    let timeouts = ir::Timeouts { request: Some(Duration::from_millis(300)), backend_request: None };
    let mut settings = hedging(|_| {});
    settings.timeouts = given(timeouts);
    let stand = stand(&[one.address(), two.address()], settings).await;
    let started = Instant::now();
    assert_eq!(stand.get("http://a.example/").await.status, 504);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
    metric_becomes(&stand, &tries("lost"), 1.0).await;
}
