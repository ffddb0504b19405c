//! Ejection in bounded time: 256 routes lead to four endpoints of which one fails and is well again, and no request is
//! tried twice. The real binary, under load.

use super::{Server, entry, gateway, policy, routes};
use sluice_tests::{Ask, Sluice, Wire, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Paths, and connections that ask for them in turn: what is on its way to the endpoint when it begins to fail is lost,
/// and nothing else.
const PATHS: usize = 256;
const CONNECTIONS: usize = 5;
/// What one failing endpoint may cost.
const MOST_ERRORS: usize = 5;
/// From the moment it is well again to its first request.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// What requests see finds a failing endpoint fast, and what checks see finds it well again fast.
const DETECTION: &str = "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api}
spec:
  host: api.test
  trafficPolicy:
    outlierDetection: {consecutiveGatewayErrors: 1, maxEjectionPercent: 50, minHealthPercent: 0}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_flips_costs_five_requests_at_most_and_is_back_in_two_seconds() {
    let mut servers = Vec::new();
    for name in ["a", "b", "c", "flips"] {
        servers.push(Server::start(name).await);
    }
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    let flips = &servers[3];
    let folder = tempfile::tempdir().unwrap();
    let yaml = [
        gateway(),
        entry("HTTP", &addresses),
        routes(PATHS),
        DETECTION.to_owned(),
        policy("HTTP", "  http: {path: /healthz}\n"),
    ];
    std::fs::write(folder.path().join("all.yaml"), yaml.concat()).unwrap();
    let sluice = Sluice::run(folder.path(), &[]).await;
    let (stop, failed, answered) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut load = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let address = sluice.address(80);
        let (stop, failed, answered) = (stop.clone(), failed.clone(), answered.clone());
        load.spawn(async move {
            let mut wire = Wire::connect(address).await;
            for path in (0..PATHS).filter(|it| it % CONNECTIONS == connection).cycle() {
                if stop.load(SeqCst) {
                    break;
                }
                let answer = wire.ask(&Ask::get(&format!("http://a.example/p{path}"))).await;
                let count = if answer.status == 200 { &answered } else { &failed };
                count.fetch_add(1, SeqCst);
            }
        });
    }
    eventually("it is used", || async { flips.served() > 10 }).await;
    for flip in 1..=2 {
        let before = failed.load(SeqCst);
        flips.set(false);
        let known = flips.checks();
        // The first check may be under way; with the second it was seen unwell. Three in all are two to three seconds.
        eventually("it is checked while it fails", || async { flips.checks() >= known + 3 }).await;
        let errors = failed.load(SeqCst) - before;
        assert!((1..=MOST_ERRORS).contains(&errors), "flip {flip}: {errors} errors");
        let (known, well) = (flips.served(), Instant::now());
        flips.set(true);
        eventually("it is used again", || async { flips.served() > known }).await;
        let back = well.elapsed();
        assert!(back <= BACK_WITHIN, "flip {flip}: back after {back:?}");
        assert_eq!(failed.load(SeqCst) - before, errors, "nothing more failed");
        eventually("it has its share", || async { flips.served() > known + 100 }).await;
    }
    stop.store(true, SeqCst);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    assert!(answered.load(SeqCst) > 1_000);
}
