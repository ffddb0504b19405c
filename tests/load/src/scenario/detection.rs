//! What outlier detection and circuit breakers cost a request: the same job with them and without, in turn.

use std::time::Duration;

use anyhow::Result;

use super::window;
use crate::bench::Bench;
use crate::generator::{Load, Pace, Plan, Until};
use crate::peers::{Job, Peer};
use crate::results::{Figure, Figures};

/// Load before a measurement: pools fill, allocators settle.
const WARM_UP: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 64;
/// How often both are measured in turn.
const TURNS: usize = 3;

/// Every bound of a breaker and every count of the detection, none of which is reached.
const POLICIES: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: backend, namespace: default}
spec:
  host: backend.local
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 10000}
      http: {http1MaxPendingRequests: 10000, http2MaxRequests: 10000, maxRetries: 100}
    outlierDetection:
      consecutive5xxErrors: 5
      consecutiveGatewayErrors: 5
      splitExternalLocalOriginErrors: true
      consecutiveLocalOriginFailures: 5
";

/// Both processes stand side by side; only one at a time has work.
pub(super) async fn measure(bench: &Bench) -> Result<Figures> {
    let without = Job::new(bench.small.0, bench.small.1)?;
    let mut with = Job::new(bench.small.0, bench.small.1)?;
    with.policies = POLICIES.to_owned();
    let jobs = [&without, &with];
    let mut processes = Vec::new();
    for job in jobs {
        processes.push(Peer::Sluice.start(job, &bench.programs, bench.proxy_core).await?);
    }
    let mut cpu_us = [Vec::new(), Vec::new()];
    let mut last = Figures::new();
    let mut noise: f64 = 0.0;
    for turn in 0..TURNS * 2 {
        // Without, with, with, without, ...: neither always comes after the other.
        let which = usize::from(turn % 4 == 1 || turn % 4 == 2);
        let plan = plan(jobs[which], bench.length);
        Load::run(Plan { until: Until::Elapsed(WARM_UP), ..plan.clone() }).await;
        let load = async { Ok(Load::run(plan).await) };
        let (_, figures) = window::around(&processes[which], bench, load).await?;
        noise = noise.max(figures.get(&Figure::CoreOther).copied().unwrap_or(0.0));
        cpu_us[which].extend(figures.get(&Figure::CpuPerRequest));
        if which == 1 {
            last = figures;
        }
    }
    let [without, with] = cpu_us.map(median);
    last.extend([
        (Figure::CpuPerRequest, with),
        (Figure::CpuWithout, without),
        (Figure::OfWithout, with / without),
        (Figure::CoreOther, noise),
    ]);
    Ok(last)
}

fn plan(job: &Job, length: Duration) -> Plan {
    Plan {
        target: job.target(),
        requests: job.routes.requests(),
        body_bytes: job.body_bytes,
        connections: CONNECTIONS,
        pace: Pace::Closed,
        until: Until::Elapsed(length),
        reconnect: false,
        server_names: None,
        may_refuse: false,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_policies_translate_without_a_complaint() {
        crate::peers::sluice::tests::expect_no_complaint(super::POLICIES.to_owned());
    }
}
