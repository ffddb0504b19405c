//! `sluice-load`: measures a proxy against its peers on one machine.
//!
//! `run` starts one proxy at a time on its own core, loads it from the other core, and keeps CPU time per request,
//! latency and memory of each round; `report` prints what the last runs found. `minimal` is the peer that everything
//! is compared with (a bare Pingora proxy), `backend` the server behind all of them.
//! Not here: instruction counts of pure code; those are the benches of each crate.

mod backend;
mod bench;
mod certificate;
mod cluster;
mod generator;
mod h2load;
mod measure;
mod minimal;
mod peers;
mod report;
mod results;
mod scenario;
mod table;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Load harness: CPU per request, latency and memory as ratios to peers.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: sluice-load run http1 tls-http1 --peers sluice,pingora,nginx,haproxy"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A bare Pingora proxy: the peer to compare with.
    Minimal(minimal::Options),
    /// A very cheap HTTP/1.1 and h2c backend.
    Backend(backend::Options),
    /// Measure scenarios, peer by peer, in interleaved rounds.
    Run(bench::Options),
    /// Measure controller, gateway and sidecars against a real Kubernetes API server, which it starts in a network of its own.
    Cluster(cluster::Options),
    /// Print the stored results as markdown.
    Report(report::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Minimal(options) => minimal::serve(options),
        Command::Backend(options) => backend::serve(&options),
        Command::Run(options) => bench::run(options),
        Command::Cluster(options) => cluster::run(options),
        Command::Report(options) => report::print(&options),
    }
}
