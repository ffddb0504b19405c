//! `sluice-load run`: who is measured when.
//!
//! Within a round the peers follow each other, one at a time, and each round starts with another one, so that a machine
//! that slows down hurts nobody in particular. A measurement waits for a quiet
//! machine, and is taken again when others used one of the cores meanwhile.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::backend;
use crate::measure::cores;
use crate::peers::{Peer, Programs};
use crate::results::{Figure, Figures, Results, Sample, Samples};
use crate::scenario::Scenario;
use crate::table;

/// Where results are kept unless told otherwise.
pub(crate) const RESULTS: &str = "target/load/results.json";
/// Above this use of a core by others, in per cent, a measurement is taken again.
const MOST_NOISE_PERCENT: f64 = 10.0;
/// How often at most.
const MOST_ATTEMPTS: u32 = 3;
/// Body bytes of most scenarios.
const SMALL_BYTES: usize = 1024;
/// Body bytes of `bulk`, and of what is passed through.
pub(crate) const BULK_BYTES: usize = 1024 * 1024;

/// Arguments of `sluice-load run`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(required = true, value_enum)]
    scenarios: Vec<Scenario>,
    /// Rounds; a table shows their medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sluice,pingora,nginx,haproxy,envoy")]
    peers: Vec<Peer>,
    /// The Sluice binary.
    #[arg(long, default_value = "target/release/sluice")]
    sluice: PathBuf,
    /// Core of the proxy under test.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of load and backend.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// How long, in seconds, each measurement waits for the machine to be quiet before it starts.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// Requests of reload-storm.
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// Changes of reload-storm.
    #[arg(long, default_value_t = 1_000)]
    changes: u32,
    /// Edits of change-one-of-5000.
    #[arg(long, default_value_t = 50)]
    edits: u32,
    /// Idle connections of idle-plain and idle-tls.
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
    /// Where results are kept; a scenario's new results replace its old ones.
    #[arg(long, default_value = RESULTS)]
    results: PathBuf,
}

/// What every scenario needs to know.
pub(crate) struct Bench {
    /// Where the proxies are.
    pub(crate) programs: Programs,
    /// Core of the proxy.
    pub(crate) proxy_core: usize,
    /// Core of load and backend.
    pub(crate) load_core: usize,
    /// Length of one measurement.
    pub(crate) length: Duration,
    /// How long to wait for a quiet machine.
    pub(crate) patience: Duration,
    /// A backend with small answers, and their size.
    pub(crate) small: (SocketAddr, u64),
    /// A backend with large answers, and their size.
    pub(crate) bulk: (SocketAddr, u64),
    /// Requests of reload-storm.
    pub(crate) requests: u64,
    /// Changes of reload-storm.
    pub(crate) changes: u32,
    /// Edits of change-one-of-5000.
    pub(crate) edits: u32,
    /// Connections of the idle scenarios.
    pub(crate) connections: usize,
}

/// Measures everything that was asked for; a signal ends it and every child.
pub(crate) fn run(options: Options) -> Result<()> {
    cores::pin_this_process(options.load_core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        tokio::select! {
            result = all(options) => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
            _ = hang_up.recv() => bail!("terminal closed"),
        }
    })
}

async fn all(options: Options) -> Result<()> {
    let bench = Bench {
        programs: Programs { sluice: options.sluice, own: std::env::current_exe()? },
        proxy_core: options.proxy_core,
        load_core: options.load_core,
        length: Duration::from_secs(options.seconds),
        patience: Duration::from_secs(options.patience),
        small: (backend::start(SMALL_BYTES).await?, SMALL_BYTES as u64),
        bulk: (backend::start(BULK_BYTES).await?, BULK_BYTES as u64),
        requests: options.requests,
        changes: options.changes,
        edits: options.edits,
        connections: options.connections,
    };
    let mut results = Results::load(&options.results)?;
    results.machine = cores::machine();
    let mut present = Vec::new();
    for peer in options.peers {
        match peer.version(&bench.programs) {
            Ok(version) => {
                results.versions.insert(peer, version);
                present.push(peer);
            }
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    for scenario in options.scenarios {
        let peers: Vec<Peer> = present.iter().copied().filter(|peer| scenario.concerns(*peer)).collect();
        if peers.is_empty() {
            eprintln!("{}: none of the peers that it concerns is here", scenario.name());
            continue;
        }
        let samples = rounds(scenario, &peers, options.rounds, &bench).await;
        println!("\n{}: {}\n\n{}", scenario.name(), scenario.about(), table::render(scenario, &samples));
        results.scenarios.insert(scenario, samples);
        results.store(&options.results)?;
    }
    Ok(())
}

async fn rounds(scenario: Scenario, peers: &[Peer], rounds: u32, bench: &Bench) -> Samples {
    let mut samples = Samples::default();
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let peer = peers[(turn + round as usize) % peers.len()];
            match quietly(scenario, peer, bench).await {
                Ok(figures) => {
                    let main = scenario.primary().and_then(|figure| Some((figure, *figures.get(&figure)?)));
                    let main = main.map_or_else(String::new, |(figure, value)| {
                        format!(": {} {}", figure.show(value), figure.heading())
                    });
                    eprintln!("{} {} round {}{main}", scenario.name(), peer.name(), round + 1);
                    samples.0.push(Sample { peer, round, figures });
                }
                Err(error) => eprintln!("{} {} round {}: {error:#}", scenario.name(), peer.name(), round + 1),
            }
        }
    }
    samples
}

/// Measures, again when others used a core; the last attempt counts, its noise is in the table.
async fn quietly(scenario: Scenario, peer: Peer, bench: &Bench) -> Result<Figures> {
    let mut attempt = 1;
    loop {
        cores::until_quiet([bench.proxy_core, bench.load_core], bench.patience).await?;
        let figures = scenario.measure(peer, bench).await.context("not measured")?;
        let noise = figures.get(&Figure::CoreOther).copied().unwrap_or(0.0);
        if noise <= MOST_NOISE_PERCENT || attempt == MOST_ATTEMPTS {
            return Ok(figures);
        }
        eprintln!("{} {}: others used {noise:.0} % of a core, once more", scenario.name(), peer.name());
        attempt += 1;
    }
}
