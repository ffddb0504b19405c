//! The `sluice` binary: reads the command line and calls the library.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One proxy for ingress, egress and the mesh, driven by Gateway API objects.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(sluice::run::RunArgs),
    Check(sluice::check::CheckArgs),
    Explain(sluice::explain::ExplainArgs),
    Certificates(sluice::certificates::CertificatesArgs),
    Echo(sluice::echo::EchoArgs),
    Install(sluice::install::InstallArgs),
    Uninstall(sluice::install::UninstallArgs),
    Profile(sluice::profile::ProfileArgs),
    Status(sluice::status::StatusArgs),
    Suggest(sluice::suggest::SuggestArgs),
    Egress(sluice::egress::EgressArgs),
    Inject(sluice::inject::InjectArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => sluice::run::run(args),
        Command::Check(args) => sluice::check::run(&args),
        Command::Explain(args) => sluice::explain::run(&args),
        Command::Certificates(args) => sluice::certificates::run(&args),
        Command::Echo(args) => sluice::echo::run(args),
        Command::Install(args) => sluice::install::run(&args),
        Command::Uninstall(args) => sluice::install::run_uninstall(&args),
        Command::Profile(args) => sluice::profile::run(&args),
        Command::Status(args) => sluice::status::run(&args),
        Command::Suggest(args) => sluice::suggest::run(&args),
        Command::Egress(args) => sluice::egress::run(&args),
        Command::Inject(args) => sluice::inject::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
