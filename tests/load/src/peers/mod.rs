//! The proxies that are compared, each set up for the same job.
//!
//! A file per peer turns a `Job` into configuration and a command. Here: what they share, and how one is started.

mod envoy;
mod haproxy;
mod job;
mod nginx;
mod pingora;
pub(crate) mod sluice;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::generator::{Link, Target};
use crate::measure::process::Process;

pub(crate) use job::{Job, Routes, free_port, local, request};

/// How long a proxy may take until it serves its first and last route.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A proxy to measure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// This project's release binary.
    Sluice,
    /// `sluice-load minimal`.
    Pingora,
    /// nginx in PATH.
    Nginx,
    /// HAProxy in PATH.
    Haproxy,
    /// Envoy in PATH.
    Envoy,
}

/// Where the peers' programs are.
pub(crate) struct Programs {
    /// The `sluice` binary.
    pub(crate) sluice: PathBuf,
    /// This very program.
    pub(crate) own: PathBuf,
}

impl Peer {
    /// Name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sluice => "Sluice",
            Self::Pingora => "bare Pingora",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
        }
    }

    /// The version it reports; an error when it is not on this machine.
    pub(crate) fn version(self, programs: &Programs) -> Result<String> {
        let (program, argument) = match self {
            Self::Sluice => (programs.sluice.clone(), "--version"),
            Self::Pingora => return Ok("0.9.1".to_owned()),
            Self::Nginx => ("nginx".into(), "-v"),
            Self::Haproxy => ("haproxy".into(), "-v"),
            Self::Envoy => ("envoy".into(), "--version"),
        };
        let output = Command::new(&program).arg(argument).output();
        let output = output.with_context(|| format!("{} is not here: {}", self.name(), program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let number = text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find(|part| part.contains('.'));
        Ok(number.map_or_else(|| text.trim().to_owned(), str::to_owned))
    }

    /// The signal that asks for an end without a lost request; `None`: it has none.
    pub(crate) fn drain_signal(self) -> Option<&'static str> {
        match self {
            Self::Sluice | Self::Pingora => Some("TERM"),
            Self::Nginx => Some("QUIT"),
            Self::Haproxy => Some("USR1"),
            Self::Envoy => None,
        }
    }

    fn command(self, job: &Job, programs: &Programs) -> Result<Command> {
        match self {
            Self::Sluice => sluice::command(job, &programs.sluice),
            Self::Pingora => pingora::command(job, &programs.own),
            Self::Nginx => nginx::command(job),
            Self::Haproxy => haproxy::command(job),
            Self::Envoy => envoy::command(job),
        }
    }

    /// Writes its configuration, starts it on `core`, and waits until it serves.
    pub(crate) async fn start(self, job: &Job, programs: &Programs, core: usize) -> Result<Process> {
        self.launch(&self.command(job, programs)?, job, core).await
    }

    async fn launch(self, command: &Command, job: &Job, core: usize) -> Result<Process> {
        let mut process = Process::start(command, core, job.folder())?;
        let requests = job.routes.requests();
        for request in requests.first().into_iter().chain(requests.last()) {
            until_served(&mut process, &job.target(), request, job.body_bytes)
                .await
                .with_context(|| format!("{} does not serve", self.name()))?;
        }
        Ok(process)
    }
}

/// Starts Sluice on a folder whose routes the scenario has written itself.
pub(crate) async fn start_sluice(job: &Job, programs: &Programs, core: usize) -> Result<Process> {
    sluice::write_base(job)?;
    Peer::Sluice.launch(&sluice::run(job, &programs.sluice)?, job, core).await
}

async fn until_served(process: &mut Process, target: &Target, request: &[u8], body_bytes: u64) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let tried = async { Link::connect(target, None).await?.exchange(request, body_bytes).await };
        let failure = match tokio::time::timeout(Duration::from_secs(5), tried).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "no answer within 5 s".to_owned(),
        };
        if let Some(status) = process.exited()? {
            bail!("it ended with {status}: {}", process.last_words());
        }
        if Instant::now() > deadline {
            bail!("{failure}; it said: {}", process.last_words());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
