//! The `sluice-controller` binary: flags, diagnostics, signals; the rest is the library.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use sluice_controller::settings::Settings;
use sluice_controller::{controller, logging};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads: the work is little and comes in bursts; translation has a thread of its own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let settings = Settings::parse();
    logging::init(settings.log_format)?;
    // Before anything that speaks TLS.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("sluice-controller")
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let token = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            token.cancel();
        });
        controller::run(settings, stop).await
    });
    // The reconciler may be in the middle of a translation, which nobody waits for any more.
    runtime.shutdown_background();
    ended
}
