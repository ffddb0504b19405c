//! How fast one changed file changes an answer, among 5,000.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::window::mib;
use crate::bench::Bench;
use crate::generator::{Link, Target};
use crate::measure::process::Process;
use crate::peers::{Job, Routes, request, sluice, start_sluice};
use crate::results::{Figure, Figures};

const ROUTES: u32 = 5_000;
/// How long one change may take before the scenario fails.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(1);

/// Edits one file after the other; each edit waits for its answer.
pub(super) async fn measure(bench: &Bench) -> Result<Figures> {
    let mut job = Job::new(bench.small.0, bench.small.1)?;
    job.routes = Routes::Hosts(ROUTES);
    let entries = job.routes.entries();
    for (number, (host, prefix)) in entries.iter().enumerate() {
        let name = format!("route-{number:05}");
        sluice::write(&job, &format!("{name}.yaml"), &sluice::route(&name, host, prefix, None, &job))?;
    }
    let process = start_sluice(&job, &bench.programs, bench.proxy_core).await?;
    let mut times_ms = Vec::new();
    for edit in 1..=bench.edits {
        // Far from each other, first and last included.
        let number = (edit as usize * 1_237) % entries.len();
        let (host, prefix) = &entries[number];
        let name = format!("route-{number:05}");
        let manifest = sluice::route(&name, host, prefix, Some(edit), &job);
        let mut watch = Watch::open(&job.target(), request(host, prefix).to_vec(), job.body_bytes).await?;
        let started = Instant::now();
        sluice::write(&job, &format!("{name}.yaml"), &manifest)?;
        watch.until_version(edit, &process).await.with_context(|| format!("edit {edit} of {name}"))?;
        times_ms.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times_ms.sort_by(f64::total_cmp);
    let usage = process.usage()?;
    Ok(Figures::from([
        (Figure::Changes, times_ms.len() as f64),
        (Figure::ChangeP50, nearest_rank(&times_ms, 0.5)),
        (Figure::ChangeP99, nearest_rank(&times_ms, 0.99)),
        (Figure::Memory, mib(usage.memory_kib)),
        (Figure::PeakMemory, mib(usage.peak_memory_kib)),
    ]))
}

fn nearest_rank(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// A kept connection that asks for the same thing until its `x-version` changes.
pub(super) struct Watch {
    link: Link,
    request: Vec<u8>,
    body_bytes: u64,
}

impl Watch {
    /// Connects and makes sure that the request is served.
    pub(super) async fn open(target: &Target, request: Vec<u8>, body_bytes: u64) -> Result<Self> {
        let mut link = Link::connect(target, None).await?;
        link.exchange(&request, body_bytes).await?;
        Ok(Self { link, request, body_bytes })
    }

    /// Asks every millisecond.
    pub(super) async fn until_version(&mut self, version: u32, process: &Process) -> Result<()> {
        let deadline = Instant::now() + CHANGE_LIMIT;
        let wanted = version.to_string();
        loop {
            self.link.exchange(&self.request, self.body_bytes).await?;
            if self.link.header(b"x-version") == Some(wanted.as_bytes()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("no change within {CHANGE_LIMIT:?}; the proxy said: {}", process.last_words());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
