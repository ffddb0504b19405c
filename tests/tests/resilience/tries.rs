//! The time of one try, and the next one.

use super::{end_so, given, governed};
use sluice_ir as ir;
use sluice_tests::{Ask, Recorder, Reply, Stand, ir_samples};
use std::time::{Duration, Instant};

fn settings(backend_request: Duration) -> ir::TrafficSettings {
    let timeouts = ir::Timeouts { request: None, backend_request: Some(backend_request) };
    ir::TrafficSettings { timeouts: given(timeouts), ..ir::TrafficSettings::default() }
}

/// An endpoint that never answers costs a request the time of one try, body included, and the client never learns of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_takes_too_long_is_followed_by_one_at_another_endpoint() {
    let (silent, good) = (Recorder::scripted(|_| Reply::Hang).await, Recorder::start().await);
    let one_try = Duration::from_millis(150);
    let retry = ir::Retry { codes: vec![503], attempts: 1, backoff: Duration::ZERO };
    let mut snapshot = governed(&[silent.address(), good.address()], settings(one_try), |rule| {
        rule.retry = Some(retry.into());
    });
    let gateway = ir_samples::with_settings(ir::Snapshot::default(), |settings| {
        settings.eject_after_failures = 0;
        settings.balancing = ir::Balancing::RoundRobin;
    });
    snapshot.gateways = gateway.gateways;
    let stand = Stand::of_snapshot(snapshot).await;
    for number in 0..6 {
        let (before, started) = (silent.requests().len(), Instant::now());
        let ask = Ask::new("POST", "http://a.example/").body("whole");
        assert_eq!(stand.request(&ask).await.status, 200, "request {number}");
        let waited = started.elapsed() >= one_try;
        assert_eq!(waited, silent.requests().len() > before, "request {number}: {:?}", started.elapsed());
    }
    assert!(!silent.requests().is_empty());
    assert!(good.requests().len() == 6 && good.requests().iter().all(|it| it.body == "whole"));
    end_so(&stand, "served", 6).await;
}

/// The answer's head must come in time; when all tries are used up the client gets 504.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_try_that_takes_too_long_is_504() {
    let silent = Recorder::scripted(|_| Reply::Hang).await;
    let retry = ir::Retry { codes: vec![503], attempts: 2, backoff: Duration::ZERO };
    let stand =
        Stand::of_snapshot(governed(&[silent.address()], settings(Duration::from_millis(60)), |rule| {
            rule.retry = Some(retry.into())
        }))
        .await;
    let started = Instant::now();
    assert_eq!(stand.get("http://a.example/").await.status, 504);
    assert!(started.elapsed() >= Duration::from_millis(180), "{:?}", started.elapsed());
    assert_eq!(silent.requests().len(), 3);
    end_so(&stand, "backend_timeout", 1).await;
}
