//! What `sluice run` says when it has started: where to send requests, and what is wrong.

use super::RunArgs;
use crate::finding::{Finding, Severity};
use crate::output::counted;
use crate::project::Project;
use sluice_ir::{Listener, ListenerKey, ListenerProtocol};
use sluice_proxy::process::LogFormat;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tracing::{error, info, warn};

/// Tells the listeners with the addresses to use, and the problems as `sluice check` does.
pub(super) fn tell(project: &Project, unbound: &BTreeSet<ListenerKey>, args: &RunArgs, took: Duration) {
    let findings = project.findings();
    let folder = project.folder();
    if args.log_format == LogFormat::Json {
        findings.iter().for_each(tell_finding);
        for listener in project.snapshot().listeners.values().filter(|it| !unbound.contains(&it.key)) {
            let (origin, hostname) = (&listener.origin, &listener.hostname);
            urls(listener, args)
                .iter()
                .for_each(|url| info!(%url, listener = %origin, %hostname, "listening"));
        }
        let (objects, files) = (folder.objects().count(), folder.file_count());
        info!(objects, files, problems = findings.len(), took_ms = took.as_secs_f64() * 1_000.0, "started");
        return;
    }
    for finding in findings.iter().filter(|finding| finding.severity != Severity::Note) {
        eprintln!("{finding}");
    }
    let (objects, files) =
        (counted(folder.objects().count(), "object"), counted(folder.file_count(), "file"));
    eprintln!(
        "sluice {} serves {}: {objects} of {files}",
        env!("CARGO_PKG_VERSION"),
        folder.root().display()
    );
    for line in lines(project, unbound, args) {
        eprintln!("  {line}");
    }
    if !args.no_admin {
        eprintln!(
            "  {:<28} admin: /healthz/ready, /metrics, /debug/snapshot",
            format!("http://{}/", args.admin)
        );
    }
    let notes = findings.iter().filter(|finding| finding.severity == Severity::Note).count();
    if notes > 0 {
        eprintln!("  {}: sluice check {}", counted(notes, "note"), folder.root().display());
    }
    eprintln!("ready after {:.0} ms", took.as_secs_f64() * 1_000.0);
}

fn lines(project: &Project, unbound: &BTreeSet<ListenerKey>, args: &RunArgs) -> Vec<String> {
    let listeners = &project.snapshot().listeners;
    if listeners.is_empty() {
        return vec!["no listener yet: add a Gateway, the folder is watched".to_owned()];
    }
    let mut lines = Vec::new();
    for listener in listeners.values() {
        for url in urls(listener, args) {
            let failed = if unbound.contains(&listener.key) { "  NOT BOUND" } else { "" };
            lines.push(format!("{url:<28} {}, host {}{failed}", listener.origin, listener.hostname));
        }
    }
    lines
}

/// Where a listener is reached.
fn urls(listener: &Listener, args: &RunArgs) -> Vec<String> {
    let default = [args.bind];
    let addresses: &[IpAddr] = if listener.addresses.is_empty() { &default } else { &listener.addresses };
    let Some(port) = listener.port.checked_add(args.port_offset) else { return Vec::new() };
    let url = |address: &IpAddr| {
        let place = SocketAddr::new(*address, port);
        match &listener.protocol {
            ListenerProtocol::Http => format!("http://{place}/"),
            ListenerProtocol::Https(_) => format!("https://{place}/"),
            ListenerProtocol::TlsPassthrough | ListenerProtocol::TlsTerminate(_) => format!("tls://{place}"),
            ListenerProtocol::Tcp | ListenerProtocol::Detect => format!("tcp://{place}"),
            ListenerProtocol::Udp => format!("udp://{place}"),
            ListenerProtocol::ForwardProxy => format!("http://{place} (proxy)"),
        }
    };
    addresses.iter().map(url).collect()
}

/// One problem in the log of a running gateway.
pub(super) fn tell_finding(finding: &Finding) {
    match finding.severity {
        Severity::Error => error!("{finding}"),
        Severity::Warning => warn!("{finding}"),
        Severity::Note => info!("{finding}"),
    }
}
