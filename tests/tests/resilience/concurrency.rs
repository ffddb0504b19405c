//! The adaptive limit: exact counts, an answer at once above it, and a limit that follows the backend.

use super::{end_so, given, governed, metric};
use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_ir as ir;
use sluice_tests::{Ask, Recorder, Reply, Stand, eventually};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const LIMIT: &str =
    "sluice_concurrency_limit{policy=\"default/careful\",backend=\"Service/default/main:80\"}";
const IN_FLIGHT: &str =
    "sluice_concurrency_requests_in_flight{policy=\"default/careful\",backend=\"Service/default/main:80\"}";
const REFUSED: &str =
    "sluice_concurrency_refused_total{policy=\"default/careful\",backend=\"Service/default/main:80\"}";

fn adaptive(min_requests: u32, max_requests: u32) -> ir::TrafficSettings {
    let concurrency = ir::AdaptiveConcurrency {
        min_requests,
        max_requests,
        latency_increase_percent: 25,
        probe_interval: Duration::from_secs(30),
    };
    ir::TrafficSettings { concurrency: given(concurrency), ..ir::TrafficSettings::default() }
}

/// Works on `slots` requests at a time, each for `need`; others wait.
async fn of_capacity(slots: usize, need: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slots = Arc::new(Semaphore::new(slots));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let slots = slots.clone();
            let service = service_fn(move |_: Request<Incoming>| {
                let slots = slots.clone();
                async move {
                    let _slot = slots.acquire_owned().await;
                    tokio::time::sleep(need).await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_limit_a_request_is_refused_at_once_and_counted() {
    let address = of_capacity(100, Duration::from_millis(700)).await;
    let stand = Stand::of_snapshot(governed(&[address], adaptive(3, 3), |_| {})).await;
    let answers = join_all((0..8).map(|_| stand.get("http://a.example/"))).await;
    let of = |status| answers.iter().filter(|it| it.status == status).count();
    assert_eq!((of(200), of(503)), (3, 5));
    let refused = answers.iter().find(|it| it.status == 503).unwrap();
    assert_eq!((refused.header("retry-after"), refused.text().trim()), (Some("1"), "overloaded"));
    end_so(&stand, "overloaded", 5).await;
    assert_eq!((metric(&stand, LIMIT), metric(&stand, REFUSED)), (3.0, 5.0));
    eventually("all is given back", || async { metric(&stand, IN_FLIGHT) == 0.0 }).await;
    let answers = join_all((0..3).map(|_| stand.get("http://a.example/"))).await;
    assert!(answers.iter().all(|it| it.status == 200));
}

/// Whatever ends a request gives its place back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_end_of_a_request_keeps_its_place() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closing = Recorder::scripted(|_| Reply::SendAndClose(Vec::new())).await;
    let silent = Recorder::scripted(|_| Reply::Hang).await;
    for address in [nobody, closing.address(), silent.address()] {
        let timeouts = ir::Timeouts { request: Some(Duration::from_millis(100)), backend_request: None };
        let snapshot = governed(&[address], adaptive(2, 2), |rule| rule.timeouts = timeouts.boxed());
        let stand = Stand::of_snapshot(snapshot).await;
        for _ in 0..5 {
            assert!(stand.get("http://a.example/").await.status >= 500);
        }
        // A client that leaves.
        let mut wire = stand.wire(&Ask::get("http://a.example/")).await;
        wire.send(Ask::get("http://a.example/").to_http1()).await;
        drop(wire);
        eventually("all is given back", || async { metric(&stand, IN_FLIGHT) == 0.0 }).await;
        assert_eq!(metric(&stand, REFUSED), 0.0);
    }
}

/// Forty clients ask a backend that can do four requests at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_comes_near_to_what_the_backend_can_do() {
    let address = of_capacity(4, Duration::from_millis(20)).await;
    let stand = Stand::of_snapshot(governed(&[address], adaptive(1, 1_000), |_| {})).await;
    let is_over = AtomicBool::new(false);
    let client = || async {
        let mut wire = stand.wire(&Ask::get("http://a.example/")).await;
        while !is_over.load(Ordering::Relaxed) {
            let answer = wire.ask(&Ask::get("http://a.example/")).await;
            match answer.status {
                200 => {}
                503 => tokio::time::sleep(Duration::from_millis(2)).await,
                other => panic!("{other}"),
            }
        }
    };
    let watch = async {
        // Through the first measurement without load, which the start under full load makes necessary.
        // The first limit is 20. Three looks, since a measurement lowers it for a moment.
        let near = || async {
            let mut is_near = metric(&stand, REFUSED) > 100.0;
            for _ in 0..3 {
                is_near = is_near && (3.0..=14.0).contains(&metric(&stand, LIMIT));
                tokio::time::sleep(Duration::from_millis(if is_near { 80 } else { 1 })).await;
            }
            is_near
        };
        eventually("the limit is near 4", near).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all((0..40).map(|_| client())), watch);
}
