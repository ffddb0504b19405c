//! Bare Pingora: this program's own `minimal` command.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Routes;
use super::job::{Job, local};

pub(super) fn command(job: &Job, own: &Path) -> Result<Command> {
    let mut command = Command::new(own);
    command.args(["minimal", "--threads", "1", "--listen", &local(job.port).to_string()]);
    command.args(["--upstream", &job.backend.to_string()]);
    if let Some((port, certificate)) = &job.tls {
        command.args(["--listen-tls", &local(*port).to_string()]);
        command.arg("--certificate").arg(&certificate.chain).arg("--key").arg(&certificate.key);
    }
    if job.routes != Routes::One {
        let mut lines = String::new();
        for (host, prefix) in job.routes.entries() {
            writeln!(lines, "{host} {prefix}")?;
        }
        command.arg("--routes").arg(job.write("routes.txt", &lines)?);
    }
    if job.access_log {
        command.arg("--access-log").arg(job.file("access.log"));
    }
    Ok(command)
}
