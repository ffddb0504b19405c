//! The `sluice-sidecar` binary: reads the command line and calls the library.

use clap::{Parser, Subcommand};
use sluice_sidecar::capture::{self, CaptureCommand};
use sluice_sidecar::orders::{self, OrderArgs, WaitArgs};
use sluice_sidecar::run::{self, RunArgs};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The data plane beside one workload.
#[derive(Debug, Parser)]
#[command(name = "sluice-sidecar", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rules of the kernel that bring the workload's connections to the proxy.
    #[command(subcommand)]
    Capture(CaptureCommand),
    Run(Box<RunArgs>),
    Wait(WaitArgs),
    /// Announces the end of the sidecar on this machine: the hook preStop of a pod.
    Drain(OrderArgs),
    /// Ends the sidecar on this machine, when what is under way is finished.
    Quit(OrderArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Capture(command) => capture::run(command),
        Command::Run(args) => run::run(*args),
        Command::Wait(args) => orders::wait(&args),
        Command::Drain(args) => orders::drain(&args),
        Command::Quit(args) => orders::quit(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
