//! Memory by number of routes.

use anyhow::Result;

use super::window::mib;
use crate::bench::Bench;
use crate::peers::{Job, Peer, Routes};
use crate::results::{Figure, Figures};

/// Starts `peer` once for each number of routes.
pub(super) async fn measure(peer: Peer, bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut first_kib = 0;
    for (routes, figure) in [
        (1, Figure::MemoryAt1),
        (1_000, Figure::MemoryAt1000),
        (5_000, Figure::MemoryAt5000),
        (10_000, Figure::MemoryAt10000),
    ] {
        let mut job = Job::new(bench.small.0, bench.small.1)?;
        job.routes = Routes::Paths(routes);
        let process = peer.start(&job, &bench.programs, bench.proxy_core).await?;
        let usage = process.settled_usage().await?;
        figures.insert(figure, mib(usage.memory_kib));
        figures.insert(Figure::PeakMemory, mib(usage.peak_memory_kib));
        if routes == 1 {
            first_kib = usage.memory_kib;
        } else {
            let growth_kib = usage.memory_kib.saturating_sub(first_kib);
            figures.insert(Figure::MemoryPerRoute, growth_kib as f64 / f64::from(routes - 1));
        }
    }
    Ok(figures)
}
