//! Termination in the middle of a load.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::window;
use crate::bench::Bench;
use crate::generator::{Load, Pace, Plan, Until};
use crate::peers::{Job, Peer};
use crate::results::{Figure, Figures};

/// How long a proxy may take from the signal to its end.
const EXIT_LIMIT: Duration = Duration::from_secs(40);

/// Loads `peer`, sends its signal half way, and goes on until connections are refused.
pub(super) async fn measure(peer: Peer, bench: &Bench) -> Result<Figures> {
    let signal = peer.drain_signal().context("it has no signal for that")?;
    let job = Job::new(bench.small.0, bench.small.1)?;
    let mut process = peer.start(&job, &bench.programs, bench.proxy_core).await?;
    let load = Load::start(Plan {
        target: job.target(),
        requests: job.routes.requests(),
        body_bytes: job.body_bytes,
        connections: 64,
        pace: Pace::Closed,
        until: Until::Told,
        reconnect: false,
        server_names: None,
        may_refuse: false,
    });
    tokio::time::sleep(bench.length / 2).await;
    load.expect_drain();
    let signalled = Instant::now();
    process.signal(signal)?;
    let tally = load.finish(EXIT_LIMIT).await;
    let ended = process.wait(EXIT_LIMIT.saturating_sub(signalled.elapsed())).await?;
    ended.with_context(|| format!("still there {EXIT_LIMIT:?} after {signal}"))?;
    window::tell_failures(&tally);
    Ok(Figures::from([
        (Figure::Requests, tally.answered() as f64),
        (Figure::Reconnects, tally.reconnects() as f64),
        (Figure::Failures, tally.failed() as f64),
        (Figure::LatencyP99, tally.percentile_us(0.99)),
        (Figure::ExitTime, signalled.elapsed().as_secs_f64() * 1e3),
    ]))
}
