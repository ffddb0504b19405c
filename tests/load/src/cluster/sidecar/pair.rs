//! What a pair of sidecars costs at a fixed rate of requests: memory and CPU time of each, and what it adds to latency.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sluice_cluster_tests::Space;

use super::load::Asked;
use super::memory;
use super::stand::Stand;
use crate::cluster::Options;
use crate::cluster::figure::{Figure, percentile};
use crate::generator::Tally;
use crate::measure::process::Process;

/// A load before the first round: connections between the sidecars are there, and programs are in memory.
const WARM_UP: Duration = Duration::from_secs(2);
/// Goals: resident memory of each at rest and under load, CPU of each, what the pair adds.
const AT_REST_MIB: f64 = 12.0;
const UNDER_LOAD_MIB: f64 = 20.0;
const CORES: f64 = 0.08;
const ADDED_P99_MS: f64 = 0.5;

/// Rounds with the pair and without it, which begin in turn with the one and with the other.
pub(in crate::cluster) async fn measure(space: Space, options: &Options) -> Result<Vec<Figure>> {
    let stand = Stand::start(space, options).await?;
    let sidecars = [("client's sidecar", &stand.client.sidecar), ("server's sidecar", &stand.server.sidecar)];
    let mut figures = Vec::new();
    for (whose, sidecar) in sidecars {
        sidecar.settled_usage().await?;
        figures.extend(memory(&format!("{whose} at rest"), sidecar, AT_REST_MIB)?);
    }
    stand.until_enforced().await?;

    let with = asked(&stand, true, options.rate);
    let without = asked(&stand, false, options.rate);
    with.clone().run(WARM_UP).await?;
    without.clone().run(WARM_UP).await?;
    let time = Duration::from_secs(options.round_seconds);
    let mut rounds = Rounds::default();
    for round in 0..options.rounds {
        if round % 2 == 0 {
            rounds.without(&one(without.clone().run(time).await?)?);
        }
        rounds.with(&sidecars.map(|it| it.1), with.clone().run(time)).await?;
        if round % 2 == 1 {
            rounds.without(&one(without.clone().run(time).await?)?);
        }
    }
    rounds.tell(&mut figures);
    // Connections are closed, what they needed is kept for the next ones.
    for (whose, sidecar) in sidecars {
        figures.extend(memory(&format!("{whose} after the load"), sidecar, UNDER_LOAD_MIB)?);
    }
    stand.end().await?;
    Ok(figures)
}

fn asked(stand: &Stand, has_sidecars: bool, rate: u32) -> Asked {
    let (network, target) = match has_sidecars {
        true => (stand.client.network.clone(), stand.service.clone()),
        false => (stand.bare_client.clone(), stand.bare_server.clone()),
    };
    Asked { network, targets: vec![target], request: stand.request(), rate }
}

fn one(tallies: Vec<Tally>) -> Result<Tally> {
    tallies.into_iter().next().context("one target")
}

/// What each round found: ms, MiB, cores.
#[derive(Default)]
struct Rounds {
    requests: u64,
    p50: [Vec<f64>; 2],
    p99: [Vec<f64>; 2],
    cores: [Vec<f64>; 2],
    most_mib: [f64; 2],
}

impl Rounds {
    fn without(&mut self, tally: &Tally) {
        self.note(0, tally);
    }

    async fn with(
        &mut self,
        sidecars: &[&Process; 2],
        load: impl Future<Output = Result<Vec<Tally>>>,
    ) -> Result<()> {
        let (before, started) = (usage(sidecars)?, Instant::now());
        let tally = one(load.await?)?;
        let (after, elapsed) = (usage(sidecars)?, started.elapsed().as_secs_f64());
        for (number, (before, after)) in before.iter().zip(&after).enumerate() {
            self.cores[number].push((after.0 - before.0) / elapsed);
            self.most_mib[number] = after.1;
        }
        self.note(1, &tally);
        Ok(())
    }

    fn note(&mut self, has_sidecars: usize, tally: &Tally) {
        self.requests += tally.answered();
        self.p50[has_sidecars].push(tally.percentile_us(0.5) / 1e3);
        self.p99[has_sidecars].push(tally.percentile_us(0.99) / 1e3);
    }

    /// Medians; what is added is a difference within a round.
    fn tell(mut self, figures: &mut Vec<Figure>) {
        let added = |all: &[Vec<f64>; 2]| {
            let mut each: Vec<f64> =
                all[1].iter().zip(&all[0]).map(|(with, without)| with - without).collect();
            percentile(&mut each, 0.5)
        };
        let (added_p50, added_p99) = (added(&self.p50), added(&self.p99));
        let median = |all: &mut Vec<f64>| percentile(all, 0.5);
        figures.extend([
            Figure::new("requests of all rounds, none of which failed", self.requests as f64, ""),
            Figure::new("without sidecars: p50", median(&mut self.p50[0]), "ms"),
            Figure::new("without sidecars: p99", median(&mut self.p99[0]), "ms"),
            Figure::new("with both: p50", median(&mut self.p50[1]), "ms"),
            Figure::new("with both: p99", median(&mut self.p99[1]), "ms"),
            Figure::new("the pair adds, p50", added_p50, "ms"),
            Figure::at_most("the pair adds, p99", added_p99, "ms", ADDED_P99_MS),
        ]);
        for (number, whose) in ["client's sidecar", "server's sidecar"].into_iter().enumerate() {
            let cores = median(&mut self.cores[number]);
            figures.push(Figure::at_most(format!("{whose} under load: CPU"), cores, "cores", CORES));
            let most = self.most_mib[number];
            figures.push(Figure::at_most(
                format!("{whose} under load: most RSS"),
                most,
                "MiB",
                UNDER_LOAD_MIB,
            ));
        }
    }
}

/// CPU seconds and the most resident memory so far, MiB, of each.
pub(super) fn usage(sidecars: &[&Process; 2]) -> Result<[(f64, f64); 2]> {
    let one = |sidecar: &Process| {
        let usage = sidecar.usage()?;
        anyhow::Ok((usage.cpu.as_secs_f64(), usage.peak_memory_kib as f64 / 1024.0))
    };
    Ok([one(sidecars[0])?, one(sidecars[1])?])
}
