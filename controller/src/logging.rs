//! Diagnostics of the process: structured events on standard error, filtered by the variable `SLUICE_LOG`, such as
//! `info` or `sluice_controller::watch=debug,warn`.

use crate::settings::LogFormat;
use anyhow::{Context as _, Result};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Variable that replaces the default filter.
const VARIABLE: &str = "SLUICE_LOG";
/// Shown without the variable.
const DEFAULT: &str = "info";
/// Crates that report every lost connection on their own; the controller says what matters of it.
const QUIET: &str = "kube_client=off,hyper=error,h2=error,rustls=error,tower=error";

/// Sends events of this process to standard error. Once for each process.
///
/// # Errors
/// When the filter can't be read, or when a subscriber is installed already.
pub fn init(format: LogFormat) -> Result<()> {
    let own = std::env::var(VARIABLE).ok().filter(|filter| !filter.trim().is_empty());
    let wanted = own.as_deref().unwrap_or(DEFAULT);
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{wanted}"))
        .with_context(|| format!("{VARIABLE} {wanted:?} is not a filter such as \"info\""))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let set = match format {
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => builder.finish().try_init(),
    };
    set.context("diagnostics are set up already")
}
