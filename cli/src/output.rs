//! Writing reports to standard output, for people or for programs.

use anyhow::Context as _;
use serde::Serialize;
use std::io::{self, ErrorKind, Write as _};

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For programs, and people who know `kubectl get -o yaml`.
    Yaml,
}

/// Writes a report. A reader that closes early, as `head` does, is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the report"),
        _ => Ok(()),
    }
}

/// Writes `report` as JSON or YAML, or the text that `text` makes.
pub fn print_as<R: Serialize>(
    format: Format,
    report: &R,
    text: impl FnOnce(&R) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Text => text(report),
        Format::Json => {
            serde_json::to_string_pretty(report).context("can't write the report as JSON")? + "\n"
        }
        Format::Yaml => serde_saphyr::to_string(report).context("can't write the report as YAML")?,
    };
    print(&text)
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
