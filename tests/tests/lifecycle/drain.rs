//! SIGTERM under load: nothing that was sent is lost.

use crate::Scene;
use futures::future::join_all;
use sluice_tests::client::plain;
use sluice_tests::load::Load;
use sluice_tests::{Ask, H2, Wire, eventually, readiness};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_termination_under_load_loses_no_request() {
    for path in ["/", "/?delay=5ms", "/bytes/100000"] {
        let scene = Scene::new().await;
        let mut sluice = scene.run().await;
        let load = Load::start(
            sluice.address(80),
            16,
            Ask::get(&format!("http://a.example{path}")).to_http1(),
            |_| Ok(()),
        );
        load.more(200).await;
        sluice.signal("TERM").await;
        let account = load.ended().await;
        assert_eq!(sluice.ended().await.code(), Some(0), "{}", sluice.said());
        account.expect_all_200();
        println!(
            "{path}: {} answered, {} told to close, {} turned away",
            account.answered(),
            account.announced,
            account.turned_away
        );
    }
}

/// The whole answer comes although the end was asked for in the middle; the process waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_end_before_the_process_does() {
    let scene = Scene::new().await;
    let mut sluice = scene.run().await;
    let slow = Ask::get("http://a.example/sse?events=10&every=50ms");
    let mut wires = Vec::new();
    for _ in 0..5 {
        let mut wire = Wire::connect(sluice.address(80)).await;
        wire.send(slow.to_http1()).await;
        wire.until("event 0").await;
        wires.push(wire);
    }
    let (h2, _connection) = H2::over(plain(sluice.address(80)).await).await;
    let asks: Vec<_> = (0..5).map(|_| slow.clone()).collect();
    let streams = tokio::spawn(async move { join_all(asks.iter().map(|ask| h2.try_ask(ask))).await });
    let admin = sluice.admin();
    eventually("the streams begin", || async { in_flight(admin).await >= 10 }).await;
    sluice.signal("TERM").await;
    eventually("readiness is off", || async { readiness(admin).await == Some(503) }).await;
    for wire in &mut wires {
        wire.until("event 9").await;
    }
    for answer in streams.await.unwrap() {
        let answer = answer.unwrap();
        assert!(answer.text().contains("event 9"), "{answer:?}");
    }
    assert_eq!(sluice.ended().await.code(), Some(0));
}

/// The gauge of requests in flight, from the admin server.
async fn in_flight(admin: std::net::SocketAddr) -> u64 {
    let answer = Wire::connect(admin).await.ask(&Ask::get("http://admin/metrics")).await;
    let text = answer.text();
    let lines = text.lines().filter(|line| line.starts_with("sluice_requests_in_flight"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// What does not end by itself is cut at the deadline, and the process ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_ends_what_never_ends() {
    let scene = Scene::new().await;
    let mut sluice = sluice_tests::Sluice::run(scene.path(), &["--drain-deadline", "200ms"]).await;
    let mut endless = Wire::connect(sluice.address(80)).await;
    endless.send(Ask::get("http://a.example/sse?events=1000000&every=10s").to_http1()).await;
    endless.until("event 0").await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0));
    let rest = endless.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut answer looks complete");
}

/// Connections without a request are closed, so that nobody waits for the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_the_process() {
    let scene = Scene::new().await;
    let mut sluice = scene.run().await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::connect(sluice.address(80)).await;
        wire.ask(&Ask::get("http://a.example/")).await.expect_status(200);
        idle.push(wire);
    }
    let (h2, connection) = H2::over(plain(sluice.address(80)).await).await;
    h2.ask(&Ask::get("http://a.example/")).await.expect_status(200);
    let started = std::time::Instant::now();
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0));
    println!("ended after {:?}", started.elapsed());
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
    for wire in &mut idle {
        assert!(wire.rest().await.is_empty());
    }
    connection.abort();
}
