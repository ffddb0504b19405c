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
    let (others, before, started) = (Others::now(bench)?, process.usage()?, Instant::now());
    let tally = load.await?;
    let (after, wall) = (process.usage()?, started.elapsed().as_secs_f64().max(1e-9));
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    let others = Others::now(bench)?.since(&others, cpu);
    let mut figures = Figures::from([
        (Figure::Rate, tally.rate()),
        (Figure::LatencyP50, tally.percentile_us(0.5)),
        (Figure::LatencyP99, tally.percentile_us(0.99)),
        (Figure::Memory, mib(after.memory_kib)),
        (Figure::PeakMemory, mib(after.peak_memory_kib)),
        (Figure::Failures, tally.failed() as f64),
        (Figure::CoreUsed, 100.0 * cpu / wall),
        (Figure::CoreOther, (100.0 * others / wall).max(0.0)),
    ]);
    if tally.answered() > 0 {
        figures.insert(Figure::CpuPerRequest, 1e6 * cpu / tally.answered() as f64);
    }
    tell_failures(&tally);
    Ok((tally, figures))
}

/// What both cores and this program have used until now, in seconds: the rest is noise.
struct Others {
    proxy_core: f64,
    load_core: f64,
    own: f64,
}

impl Others {
    fn now(bench: &Bench) -> Result<Self> {
        let busy = |core| cores::busy(core).map(|time| time.as_secs_f64());
        Ok(Self {
            proxy_core: busy(bench.proxy_core)?,
            load_core: busy(bench.load_core)?,
            own: cores::own_time()?.as_secs_f64(),
        })
    }

    /// The more disturbed core's time that belongs neither to the proxy (`cpu`) nor to this program.
    fn since(&self, start: &Self, cpu: f64) -> f64 {
        let proxy_core = self.proxy_core - start.proxy_core - cpu;
        let load_core = self.load_core - start.load_core - (self.own - start.own);
        proxy_core.max(load_core)
    }
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
