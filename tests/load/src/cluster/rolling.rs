//! 100 endpoints are replaced under load, one after the other.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;

use super::endpoints::{BODY_BYTES, Endpoint};
use super::figure::{Figure, percentile};
use super::objects;
use super::stand::Stand;
use crate::generator::{Load, Pace, Plan, Until};
use crate::peers::request;

const ENDPOINTS: u16 = 100;
const RATE: u32 = 1_000;
/// How long an endpoint goes on after it left the list: what a preStop hook of a moment gives it.
const GRACE: Duration = Duration::from_millis(500);
/// Endpoints that are replaced with one change.
const STEP: usize = 5;

/// Replaces all endpoints in steps; each old one leaves the list, and ends a moment later.
pub(super) async fn measure(stand: &Stand) -> Result<Vec<Figure>> {
    let slices = objects::slices(&stand.space.client, &stand.space.namespace);
    let mut running = Vec::new();
    for number in 0..ENDPOINTS {
        running.push(Endpoint::start(1_000 + number).await?);
    }
    objects::put(&slices, list(&running)).await?;
    until_used(stand, &running).await?;
    let load = Load::start(Plan {
        target: stand.target(),
        requests: [request(&objects::host(0), "/")].into_iter().collect::<std::rc::Rc<[Bytes]>>(),
        body_bytes: BODY_BYTES,
        connections: 32,
        pace: Pace::PerSecond(RATE),
        until: Until::Told,
        reconnect: false,
        server_names: None,
        may_refuse: false,
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut used_for_ms = Vec::new();
    for round in 0..usize::from(ENDPOINTS) / STEP {
        let mut next = Vec::new();
        for number in 0..STEP {
            next.push(Endpoint::start(2_000 + u16::try_from(round * STEP + number)?).await?);
        }
        let old: Vec<Endpoint> = running.drain(..STEP).collect();
        running.append(&mut next);
        objects::put(&slices, list(&running)).await?;
        let removed = Instant::now();
        tokio::time::sleep(GRACE).await;
        for endpoint in &old {
            let last = endpoint
                .last_request()
                .map_or(Duration::ZERO, |last| last.saturating_duration_since(removed));
            used_for_ms.push(last.as_secs_f64() * 1e3);
            endpoint.terminate();
        }
    }
    load.stop();
    let tally = load.finish(Duration::from_secs(10)).await;
    if tally.failed() > 0 {
        bail!("{} of {} requests failed: {:?}", tally.failed(), tally.answered(), tally.failures());
    }
    Ok(vec![
        Figure::new("endpoints replaced", f64::from(ENDPOINTS), ""),
        Figure::new("requests", tally.answered() as f64, ""),
        Figure::at_most("requests that failed", tally.failed() as f64, "", 0.0),
        Figure::new(
            "API server's answer to a removed endpoint's last request, p50",
            percentile(&mut used_for_ms, 0.5),
            "ms",
        ),
        Figure::at_most("the same, longest", percentile(&mut used_for_ms, 1.0), "ms", 50.0),
    ])
}

fn list(endpoints: &[Endpoint]) -> serde_json::Value {
    objects::slice("app-0", &endpoints.iter().map(|endpoint| endpoint.address).collect::<Vec<_>>())
}

/// Waits until the list is in use.
async fn until_used(stand: &Stand, endpoints: &[Endpoint]) -> Result<()> {
    let started = Instant::now();
    while !endpoints.iter().any(|endpoint| endpoint.last_request().is_some()) {
        if started.elapsed() > Duration::from_secs(30) {
            bail!("the new endpoints are not used");
        }
        let _ = stand.ask(0).await;
    }
    Ok(())
}
