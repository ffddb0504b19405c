//! The `sluice-gateway` binary: reads the command line and calls the library.

use clap::Parser;
use sluice_gateway::run::{RunArgs, run};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The data plane of one Gateway: serves what the controller says, and what it said last when it is away.
#[derive(Debug, Parser)]
#[command(name = "sluice-gateway", version)]
struct Command {
    #[command(flatten)]
    args: RunArgs,
}

fn main() -> ExitCode {
    run(Command::parse().args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
