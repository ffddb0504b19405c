//! Clients that take too much: bytes, time, connections. Each bound is small here, so that reaching it is quick.

use crate::Target;
use sluice_tests::{Ask, Ended, Reply, Wire, eventually};
use std::time::{Duration, Instant};
use tokio::time::interval;

const SHORT: Duration = Duration::from_millis(300);
/// Far above what a bound of `SHORT` needs, far below the defaults.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_431() {
    let target = Target::start().await;
    let long = "y".repeat(70_000);
    target
        .refuses("a long field", format!("GET /public HTTP/1.1\r\nHost: a.example\r\nX: {long}\r\n\r\n"), 431)
        .await;
    target
        .refuses("a long target", format!("GET /public/{long} HTTP/1.1\r\nHost: a.example\r\n\r\n"), 431)
        .await;
    target
        .refuses("a head without end", format!("GET /public HTTP/1.1\r\nHost: a.example\r\nX: {long}"), 431)
        .await;
    target.refuses("a line without end", "G".repeat(70_000), 431).await;
    let many = "X: y\r\n".repeat(101);
    target
        .refuses("many fields", format!("GET /public HTTP/1.1\r\nHost: a.example\r\n{many}\r\n"), 431)
        .await;
}

/// The time is a total: a byte now and then does not extend it (slowloris).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_trickles_is_408() {
    let target = Target::with_settings(|settings| settings.limits.request_head_timeout = SHORT).await;
    let mut wire = target.wire().await;
    let started = Instant::now();
    wire.send("GET /public HTTP/1.1\r\nHost: a.example\r\n").await;
    let mut pace = interval(Duration::from_millis(50));
    for _ in 0..100 {
        pace.tick().await;
        if wire.try_send(b"X: y\r\n").await.is_err() || started.elapsed() > SHORT * 2 {
            break;
        }
    }
    let answer = wire.answer().await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.closes());
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    target.unharmed("a slow head").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_is_closed() {
    let target = Target::with_settings(|settings| {
        settings.limits.idle_timeout = SHORT;
        settings.limits.request_head_timeout = SHORT;
    })
    .await;
    let started = Instant::now();
    let mut silent = target.wire().await;
    let mut idle = target.wire().await;
    assert_eq!(idle.ask(&Ask::get("http://a.example/public")).await.status, 200);
    assert!(silent.rest().await.is_empty());
    assert!(idle.rest().await.is_empty());
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    target.unharmed("idle connections").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_ends_both_connections() {
    let target = Target::with_settings(|settings| settings.limits.stream_idle_timeout = SHORT).await;
    let started = Instant::now();
    let mut wire = target.wire().await;
    wire.send("POST /public HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\nonly this").await;
    match wire.read(false).await {
        Ok(answer) => assert!(matches!(answer.status, 408 | 504), "{answer:?}"),
        Err(ended) => assert!(matches!(ended, Ended::Closed(_) | Ended::Failed(_)), "{ended:?}"),
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    target.unharmed("a stalled body").await;
}

/// A client that asks for much and reads nothing holds a bounded amount of memory for a bounded time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_closed() {
    const LENGTH: usize = 64 * 1024 * 1024;
    let target = Target::with(
        |request| {
            if request.line().contains("/large") {
                let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").into_bytes();
                bytes.resize(bytes.len() + LENGTH, b'x');
                Reply::Send(bytes)
            } else {
                Reply::ok(request.line())
            }
        },
        |settings| settings.limits.stream_idle_timeout = SHORT,
    )
    .await;
    let mut wire = target.wire().await;
    wire.send("GET /public/large HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    eventually("the request is at the backend", || async { !target.backend.lines().is_empty() }).await;
    let metrics = target.stand.gateway().proxy().metrics().clone();
    eventually("the connection is closed", || async { open_connections(&metrics.encode()) == 0 }).await;
    let got = wire.rest().await.len();
    assert!(got < LENGTH, "all {got} bytes were sent to a client that did not read");
    target.unharmed("a client that does not read").await;
}

/// The gauge of open connections in the metrics' text.
fn open_connections(metrics: &str) -> u64 {
    let gauges: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("sluice_connections_open{")).collect();
    assert!(!gauges.is_empty(), "{metrics}");
    gauges.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_the_limit_get_503_and_the_others_stay() {
    for per_client in [true, false] {
        let target = Target::with_settings(|settings| {
            if per_client {
                settings.limits.connections_per_client = 3;
            } else {
                settings.limits.connections = 3;
            }
        })
        .await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut wire = target.wire().await;
            assert_eq!(wire.ask(&Ask::get("http://a.example/public")).await.status, 200);
            open.push(wire);
        }
        for _ in 0..20 {
            let mut refused: Wire = target.wire().await;
            refused.send("GET /public HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
            let answer = refused.answer().await;
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        }
        for wire in &mut open {
            assert_eq!(wire.ask(&Ask::get("http://a.example/public")).await.status, 200);
        }
        drop(open);
        eventually("a place is free again", || async {
            let mut wire = target.wire().await;
            wire.send("GET /public HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
            wire.read(false).await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        eventually("all places are free again", || async {
            let metrics = target.stand.gateway().proxy().metrics().encode();
            open_connections(&metrics) == 0
        })
        .await;
        target.unharmed("too many connections").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_above_the_limit_is_413_announced_or_not() {
    let target = Target::with_settings(|settings| settings.limits.request_body_bytes = Some(1000)).await;
    let mut wire = target.wire().await;
    wire.send("POST /public HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1001\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 413);
    assert!(answer.closes(), "{answer:?}");
    let mut wire = target.wire().await;
    wire.send("POST /public HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..20 {
        wire.send(format!("64\r\n{}\r\n", "x".repeat(100))).await;
    }
    let answer = wire.answer().await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(target.backend.requests().is_empty(), "{:?}", target.backend.lines());
    let exactly = Ask::new("POST", "http://a.example/public").body(vec![b'x'; 1000]);
    assert_eq!(target.wire().await.ask(&exactly).await.status, 200);
    target.unharmed("a large body").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_above_what_a_backend_may_have_pending_get_503() {
    let target = Target::with(
        |request| if request.line().contains("/slow") { Reply::Hang } else { Reply::ok(request.line()) },
        |settings| settings.limits.pending_requests = 2,
    )
    .await;
    let mut slow = Vec::new();
    for count in 1..=2 {
        let mut wire = target.wire().await;
        wire.send("GET /public/slow HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        slow.push(wire);
        eventually("the slow request arrives", || async { target.backend.lines().len() == count }).await;
    }
    let answer = target.wire().await.ask(&Ask::get("http://a.example/public")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    drop(slow);
    eventually("the places are free again", || async {
        target.wire().await.ask(&Ask::get("http://a.example/public")).await.status == 200
    })
    .await;
}
