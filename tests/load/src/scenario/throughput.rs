//! CPU per request under all kinds of load.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use super::{Scenario, window};
use crate::bench::{BULK_BYTES, Bench};
use crate::generator::{Load, Pace, Plan, Until};
use crate::h2load;
use crate::peers::{Job, Peer, Routes};
use crate::results::{Figure, Figures};

/// Load before a measurement: pools fill, allocators settle.
const WARM_UP: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 64;
const RATE: u32 = 3_000;

/// One measurement of `peer`.
pub(super) async fn measure(scenario: Scenario, peer: Peer, bench: &Bench) -> Result<Figures> {
    let job = job(scenario, bench)?;
    let process = peer.start(&job, &bench.programs, bench.proxy_core).await?;
    if scenario == Scenario::TlsH2 {
        let count = h2load::calibrate(&job, bench.length).await?;
        let load = async { h2load::run(&job, count).await };
        return Ok(window::around(&process, bench, load).await?.1);
    }
    let plan = plan(scenario, &job, bench.length);
    Load::run(Plan { until: Until::Elapsed(WARM_UP), pace: Pace::Closed, ..plan.clone() }).await;
    let (tally, mut figures) = window::around(&process, bench, async { Ok(Load::run(plan).await) }).await?;
    if scenario.primary() == Some(Figure::CpuPerGib)
        && let Some(cpu_us) = figures.remove(&Figure::CpuPerRequest)
    {
        let gib = tally.answered() as f64 * BULK_BYTES as f64 / f64::from(1 << 30);
        figures.insert(Figure::CpuPerGib, cpu_us / 1e6 * tally.answered() as f64 / gib);
    }
    Ok(figures)
}

fn job(scenario: Scenario, bench: &Bench) -> Result<Job> {
    let (backend, body_bytes) =
        if matches!(scenario, Scenario::Bulk | Scenario::Passthrough) { bench.bulk } else { bench.small };
    let mut job = Job::new(backend, body_bytes)?;
    if matches!(scenario, Scenario::TlsHttp1 | Scenario::TlsH2 | Scenario::Handshake) {
        job = job.with_tls()?;
    }
    if matches!(scenario, Scenario::Passthrough | Scenario::PassthroughUpload) {
        job = job.with_passthrough()?;
    }
    job.access_log = scenario == Scenario::Log;
    job.routes = match scenario {
        Scenario::Hosts5000 => Routes::Hosts(5_000),
        Scenario::Paths5000 => Routes::Paths(5_000),
        _ => Routes::One,
    };
    Ok(job)
}

fn plan(scenario: Scenario, job: &Job, length: Duration) -> Plan {
    Plan {
        target: job.target(),
        requests: match scenario {
            Scenario::PassthroughUpload => Rc::new([upload()]),
            _ => job.routes.requests(),
        },
        body_bytes: job.body_bytes,
        connections: match scenario {
            Scenario::Bulk | Scenario::Passthrough | Scenario::PassthroughUpload => 8,
            Scenario::Handshake => 16,
            _ => CONNECTIONS,
        },
        pace: if scenario == Scenario::Http1Rate { Pace::PerSecond(RATE) } else { Pace::Closed },
        until: Until::Elapsed(length),
        reconnect: scenario == Scenario::Handshake,
        server_names: None,
        may_refuse: false,
    }
}

/// A request with a large body.
fn upload() -> Bytes {
    let mut request =
        format!("POST / HTTP/1.1\r\nhost: load.test\r\ncontent-length: {BULK_BYTES}\r\n\r\n").into_bytes();
    request.resize(request.len() + BULK_BYTES, b'x');
    request.into()
}
