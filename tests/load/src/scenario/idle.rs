//! Memory of connections that do nothing.

use anyhow::{Context, Result};

use super::window::mib;
use crate::bench::Bench;
use crate::generator::{Link, Target};
use crate::peers::{Job, Peer};
use crate::results::{Figure, Figures};

/// Client buffer: an answer fits, and thousands of them cost little here.
const BUFFER_BYTES: usize = 4096;
/// Connections opened and closed before the first look at memory, so that what a proxy allocates once is not counted.
const WARM_UP: usize = 50;

/// Opens the connections, sends one request on each, and shares the growth of resident memory among them.
pub(super) async fn measure(peer: Peer, tls: bool, bench: &Bench) -> Result<Figures> {
    let job = Job::new(bench.small.0, bench.small.1)?;
    let job = if tls { job.with_tls()? } else { job };
    let process = peer.start(&job, &bench.programs, bench.proxy_core).await?;
    let target = job.target();
    open(&target, &job, WARM_UP).await?;
    let before = process.settled_usage().await?;
    let mut links = open(&target, &job, bench.connections).await?;
    let after = process.settled_usage().await?;
    // A proxy that had closed them would have had cheap ones.
    let mut closed = 0;
    for link in &mut links {
        closed += u32::from(!served(link, &job).await);
    }
    let growth_kib = after.memory_kib.saturating_sub(before.memory_kib);
    Ok(Figures::from([
        (Figure::MemoryPerConnection, growth_kib as f64 / bench.connections.max(1) as f64),
        (Figure::Memory, mib(after.memory_kib)),
        (Figure::PeakMemory, mib(after.peak_memory_kib)),
        (Figure::Failures, closed.into()),
    ]))
}

async fn open(target: &Target, job: &Job, count: usize) -> Result<Vec<Link>> {
    let mut links = Vec::with_capacity(count);
    for number in 1..=count {
        let connected = Link::connect(target, Some(vec![0; BUFFER_BYTES])).await;
        let mut link = connected.with_context(|| format!("connection {number} of {count}"))?;
        let requests = job.routes.requests();
        link.exchange(&requests[0], job.body_bytes).await.with_context(|| format!("connection {number}"))?;
        links.push(link);
    }
    Ok(links)
}

async fn served(link: &mut Link, job: &Job) -> bool {
    link.exchange(&job.routes.requests()[0], job.body_bytes).await.is_ok()
}
