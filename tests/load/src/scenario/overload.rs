//! Ten times the load that a backend can bear, with an adaptive limit and without.
//!
//! The backend works on [`SLOTS`] requests at one time, each for [`NEED`]; others wait in order. Its peak is what as
//! many clients get who each wait for their answer: it is never idle and nobody waits. Then ten times as many requests are due a second,
//! whatever happens to them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::window;
use crate::bench::Bench;
use crate::generator::{Load, Pace, Plan, Tally, Until};
use crate::measure::process::Process;
use crate::peers::{Job, sluice, start_sluice};
use crate::results::{Figure, Figures};

/// Requests that the backend works on at one time.
const SLOTS: usize = 16;
/// How long it works on each.
const NEED: Duration = Duration::from_millis(20);
/// How many times what it can bear.
const TIMES: f64 = 10.0;
/// Connections of the overload: enough that each is due again long after its answer.
const CONNECTIONS: usize = 1_000;
/// Bytes of an answer.
const ANSWER_BYTES: usize = 1024;
/// Overload before the measurement: the limit is found meanwhile.
const SETTLE: Duration = Duration::from_secs(5);
/// The same for pools and allocators.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the overload lasts that nothing bounds; it says only how long answers take then.
const UNBOUNDED: Duration = Duration::from_secs(3);

const POLICY: &str = "apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: load, namespace: default}
spec:
  targetRefs: [{kind: Gateway, name: load}]
  concurrency: {}
";

/// Peak, overload with a limit, overload without.
pub(super) async fn measure(bench: &Bench) -> Result<Figures> {
    let backend = backend()?;
    let (process, job) = start(backend, false, bench).await?;
    let peak = Plan { connections: SLOTS, ..plan(&job, Pace::Closed, bench.length) };
    Load::run(Plan { until: Until::Elapsed(WARM_UP), ..peak.clone() }).await;
    let peak = Load::run(peak).await;
    window::tell_failures(&peak);
    drop(process);
    let pace = Pace::PerSecond((peak.rate() * TIMES) as u32);
    let (process, job) = start(backend, true, bench).await?;
    let over = Plan { may_refuse: true, ..plan(&job, pace, bench.length) };
    Load::run(Plan { until: Until::Elapsed(SETTLE), ..over.clone() }).await;
    let (tally, mut figures) = window::around(&process, bench, async { Ok(Load::run(over).await) }).await?;
    drop(process);
    figures.remove(&Figure::CpuPerRequest);
    figures.extend(shares(&peak, &tally));
    let (process, job) = start(backend, false, bench).await?;
    let unbounded = Load::run(plan(&job, pace, UNBOUNDED)).await;
    drop(process);
    figures.insert(Figure::UnboundedP99, unbounded.percentile_us(0.99));
    Ok(figures)
}

fn shares(peak: &Tally, over: &Tally) -> Figures {
    Figures::from([
        (Figure::PeakRate, peak.rate()),
        (Figure::PeakP99, peak.percentile_us(0.99)),
        (Figure::GoodputShare, over.rate() / peak.rate().max(1e-9)),
        (Figure::LatencyShare, over.percentile_us(0.99) / peak.percentile_us(0.99).max(1e-9)),
        (Figure::Refused, over.refused() as f64),
    ])
}

async fn start(backend: SocketAddr, is_limited: bool, bench: &Bench) -> Result<(Process, Job)> {
    let job = Job::new(backend, ANSWER_BYTES as u64)?;
    sluice::write(&job, "route.yaml", &sluice::route("all", sluice::host(), "/", None, &job))?;
    if is_limited {
        sluice::write(&job, "policy.yaml", POLICY)?;
    }
    Ok((start_sluice(&job, &bench.programs, bench.proxy_core).await?, job))
}

fn plan(job: &Job, pace: Pace, length: Duration) -> Plan {
    Plan {
        target: job.target(),
        requests: job.routes.requests(),
        body_bytes: job.body_bytes,
        connections: CONNECTIONS,
        pace,
        until: Until::Elapsed(length),
        reconnect: false,
        server_names: None,
        may_refuse: false,
    }
}

/// Serves on a thread of its own, so that its clock does not wait for the load. It lives as long as the process.
fn backend() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("backend: no free port")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || runtime.block_on(serve(listener)));
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let slots = Arc::new(Semaphore::new(SLOTS));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let slots = slots.clone();
        let service = service_fn(move |_: http::Request<Incoming>| {
            let slots = slots.clone();
            async move {
                let _slot = slots.acquire_owned().await;
                tokio::time::sleep(NEED).await;
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(&[b'x'; ANSWER_BYTES]))))
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}
