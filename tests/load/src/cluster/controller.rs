//! The controller of a stand: one process beside the API server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sluice_cluster_tests::{SYSTEM, Space};

use crate::measure::process::Process;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);

/// Where a program is, whatever the working folder of who runs it.
pub(super) fn program(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{}: build it first", path.display()))
}

/// Starts the controller of this number, which names its log and its pod.
pub(super) fn start(
    space: &Space,
    program: &Path,
    folder: &Path,
    number: u32,
    options: &[&str],
) -> Result<Process> {
    let mut command = Command::new(program);
    command
        .arg("--kubeconfig")
        .arg(space.cluster.kubeconfig())
        .args(["--namespace", SYSTEM, "--pod-name", &format!("controller-{number}")])
        .args(["--serve", &format!("{ADDRESS}:15010"), "--admin", &format!("{ADDRESS}:15014")])
        .args(options);
    Process::start_anywhere(&command, folder.join(format!("controller-{number}.log")))
}

/// The options by which a data plane finds the controller and knows it.
pub(super) fn named() -> [String; 4] {
    [
        "--controller".to_owned(),
        format!("https://{ADDRESS}:15010"),
        "--controller-name".to_owned(),
        format!("sluice-controller.{SYSTEM}.svc"),
    ]
}
