//! The scenarios of `sluice-sidecar`: two pods in networks of their own, captured by real rules, each with a sidecar as a
//! process of ours; a real controller at a real API server is their control plane and their authority.
//!
//! STRICT mutual TLS and ten policies govern the server, and every scenario proves that they do. Two more pods without
//! a sidecar tell what client, server and network take by themselves.

mod inside;
pub(super) mod kinds;
mod load;
mod mounts;
mod objects;
pub(super) mod pair;
mod pod;
pub(super) mod policy;
pub(super) mod rotation;
pub(super) mod services;
mod stand;

use anyhow::Result;

use super::figure::Figure;
use crate::measure::process::Process;

/// Who calls, and who is called: name, service account and label `app` of a pod.
const CLIENT: &str = "client";
const SERVER: &str = "server";
/// The node of all pods of ours.
const NODE: &str = "load";
/// The port of the server, and that of its Service.
const PORT: u16 = 8080;
const SERVICE_PORT: u16 = 80;
/// The same for connections that are carried whole.
const TCP_PORT: u16 = 8081;
const TCP_SERVICE_PORT: u16 = 81;
/// Body bytes of every answer.
const BODY_BYTES: u64 = 1024;
/// Connections of a client.
const CONNECTIONS: usize = 16;

/// The memory of a sidecar, by kind; all of it beside its goal, MiB.
fn memory(whose: &str, sidecar: &Process, goal_mib: f64) -> Result<Vec<Figure>> {
    let memory = sidecar.memory()?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(vec![
        Figure::at_most(format!("{whose}: resident (RSS)"), mib(memory.resident_kib), "MiB", goal_mib),
        Figure::new(format!("{whose}: its own (RssAnon)"), mib(memory.own_kib), "MiB"),
        Figure::new(format!("{whose}: of files (RssFile)"), mib(memory.file_kib), "MiB"),
        Figure::new(format!("{whose}: shared pages divided (Pss)"), mib(memory.proportional_kib), "MiB"),
    ])
}
