//! The time window of a measurement: what the proxy and its core used while a load ran.

use std::time::Instant;

use anyhow::Result;

use crate::bench::Bench;
use crate::generator::Tally;
use crate::measure::cores;
use crate::measure::process::Process;
use crate::results::{Figure, Figures};

/// Runs `load` and returns its tally, CPU per request, rate, latency, memory and noise.
pub(super) async fn around(
    process: &Process,
    bench: &Bench,
    load: impl Future<Output = Result<Tally>>,
) -> Result<(Tally, Figures)> {
    let (busy, before, started) = (cores::busy(bench.proxy_core)?, process.usage()?, Instant::now());
    let tally = load.await?;
    let (after, wall) = (process.usage()?, started.elapsed().as_secs_f64().max(1e-9));
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    let busy = (cores::busy(bench.proxy_core)? - busy).as_secs_f64();
    let mut figures = Figures::from([
        (Figure::Rate, tally.rate()),
        (Figure::LatencyP50, tally.percentile_us(0.5)),
        (Figure::LatencyP99, tally.percentile_us(0.99)),
        (Figure::Memory, mib(after.memory_kib)),
        (Figure::PeakMemory, mib(after.peak_memory_kib)),
        (Figure::Failures, tally.failed() as f64),
        (Figure::CoreUsed, 100.0 * cpu / wall),
        (Figure::CoreOther, (100.0 * (busy - cpu) / wall).max(0.0)),
    ]);
    if tally.answered() > 0 {
        figures.insert(Figure::CpuPerRequest, 1e6 * cpu / tally.answered() as f64);
    }
    tell_failures(&tally);
    Ok((tally, figures))
}

/// Failures by reason, on standard error.
pub(super) fn tell_failures(tally: &Tally) {
    for (reason, count) in tally.failures() {
        eprintln!("  {count} × {reason}");
    }
}

/// KiB as MiB.
pub(super) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
