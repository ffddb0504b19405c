//! An endpoint that fails for a while and is well again, again and again: what it costs, and how soon it is back.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::backend::{HEALTH, Switch};
use crate::bench::Bench;
use crate::generator::{Load, Pace, Plan, Until};
use crate::peers::{Job, Peer, Routes};
use crate::results::{Figure, Figures};

const PATHS: u32 = 256;
const ENDPOINTS: usize = 4;
const RATE: u32 = 2_000;
const FLIPS: usize = 2;
/// How long it fails, and how long it is well.
const PERIOD: Duration = Duration::from_secs(22);
/// How often the endpoint is looked at.
const POLL: Duration = Duration::from_millis(1);
/// How long nothing may come back before the scenario fails.
const RETURN_LIMIT: Duration = Duration::from_secs(20);

/// What `docs/health-checks.md` says for few errors and a fast return.
fn policies() -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: backend, namespace: default}}
spec:
  host: backend.local
  trafficPolicy:
    outlierDetection: {{consecutiveGatewayErrors: 1, maxEjectionPercent: 50}}
---
apiVersion: sluice.dev/v1alpha1
kind: HealthCheckPolicy
metadata: {{name: backend, namespace: default}}
spec:
  targetRefs: [{{kind: ServiceEntry, name: backend}}]
  type: HTTP
  http: {{path: {HEALTH}}}
  interval: 1s
  timeout: 500ms
  unhealthyThreshold: 1
  healthyThreshold: 1
"
    )
}

/// Flips one of four endpoints under a load over 256 routes.
pub(super) async fn measure(bench: &Bench) -> Result<Figures> {
    let mut switches = Vec::new();
    for _ in 0..ENDPOINTS {
        switches.push(Switch::start(usize::try_from(bench.small.1)?).await?);
    }
    let [first, others @ ..] = switches.as_slice() else { bail!("no endpoint") };
    let mut job = Job::new(first.address, bench.small.1)?;
    job.others = others.iter().map(|it| it.address).collect();
    job.policies = policies();
    job.routes = Routes::Paths(PATHS);
    let process = Peer::Sluice.start(&job, &bench.programs, bench.proxy_core).await?;
    let load = Load::start(Plan {
        target: job.target(),
        requests: job.routes.requests(),
        body_bytes: job.body_bytes,
        connections: 64,
        pace: Pace::PerSecond(RATE),
        until: Until::Told,
        reconnect: false,
        server_names: None,
        may_refuse: false,
    });
    tokio::time::sleep(bench.length).await;
    let (mut most_failed, mut longest) = (0, Duration::ZERO);
    for _ in 0..FLIPS {
        let failed = load.failed();
        first.set(false);
        tokio::time::sleep(PERIOD).await;
        let served = first.served();
        let well = Instant::now();
        first.set(true);
        while first.served() == served {
            if well.elapsed() > RETURN_LIMIT {
                bail!("not back within {RETURN_LIMIT:?}; the proxy said: {}", process.last_words());
            }
            tokio::time::sleep(POLL).await;
        }
        longest = longest.max(well.elapsed());
        tokio::time::sleep(PERIOD.saturating_sub(well.elapsed())).await;
        most_failed = most_failed.max(load.failed() - failed);
    }
    load.stop();
    let tally = load.finish(RETURN_LIMIT).await;
    super::window::tell_failures(&tally);
    Ok(Figures::from([
        (Figure::Requests, tally.answered() as f64),
        (Figure::FailuresPerFlip, most_failed as f64),
        (Figure::ReturnTime, longest.as_secs_f64() * 1e3),
        (Figure::LatencyP99, tally.percentile_us(0.99)),
        (Figure::Failures, tally.failed() as f64),
    ]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_policies_translate_without_a_complaint() {
        crate::peers::sluice::tests::expect_no_complaint(super::policies());
    }
}
