//! A host of a ServiceEntry as backend (`group: networking.istio.io, kind: Hostname`).

use super::{BackendOutcome, RefFailure, Resolved, Source, backend};
use crate::model::EntryModel;
use crate::view::View;
use sluice_ir::{BackendProtocol, Origin};
use std::sync::Arc;

/// Finds the entry that names `host` for objects of `namespace`, its port and what it speaks.
pub(crate) fn compute(
    view: &View<'_>,
    namespace: &str,
    host: &str,
    port: u16,
    is_grpc: bool,
) -> BackendOutcome {
    let entries = view.entries_of(host);
    let Some(entry) = choose(&entries, namespace) else {
        let message = if entries.is_empty() {
            format!("no ServiceEntry names host {host:?}")
        } else {
            format!("no ServiceEntry that names host {host:?} is exported to namespace {namespace}")
        };
        let next_step =
            format!("create a ServiceEntry with this host in namespace {namespace}, or correct exportTo");
        return Err(RefFailure::new("BackendNotFound", "name", message, next_step));
    };
    let reference = &entry.meta.reference;
    let name = format!("ServiceEntry \"{}/{}\"", reference.namespace, reference.name);
    let Some(found) = entry.ports.iter().find(|it| it.number == i64::from(port)) else {
        let ports: Vec<String> = entry.ports.iter().map(|it| it.number.to_string()).collect();
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        let message = format!("{name} has no port {port} (ports: {ports})");
        return Err(RefFailure::new("BackendNotFound", "port", message, "use a port of the ServiceEntry"));
    };
    resolution(entry, &name)?;
    let protocol = match found.protocol.as_str() {
        "HTTP" => BackendProtocol::Http1,
        "HTTP2" | "GRPC" => BackendProtocol::H2c,
        other => {
            return Err(RefFailure::new(
                "UnsupportedProtocol",
                "port",
                format!("port {port} of {name} has protocol {other}, which is not supported"),
                match other {
                    "HTTPS" | "TLS" => {
                        "TLS is spoken only to Services with a BackendTLSPolicy; use HTTP, HTTP2 or GRPC"
                    }
                    _ => "use HTTP, HTTP2 or GRPC",
                },
            ));
        }
    };
    // The entry that every namespace sees has the short key; one that only some see must not be taken for it.
    let is_common = entries.iter().find(|it| it.is_exported()).is_some_and(|it| Arc::ptr_eq(it, entry));
    let key = if is_common {
        format!("Hostname/{host}:{port}")
    } else {
        format!("Hostname/{}/{}/{host}:{port}", reference.namespace, reference.name)
    };
    let origin = Origin::new("ServiceEntry", reference.namespace.clone(), reference.name.clone());
    let section = if found.name.is_empty() { port.to_string() } else { found.name.clone() };
    Ok(Resolved {
        backend: backend(key, origin.section(section), (protocol, None), is_grpc),
        source: Source::Entry { entry: reference.clone(), host: host.to_owned(), port },
    })
}

/// The namespace's own entry first, then the oldest that it sees.
fn choose<'a>(entries: &[&'a Arc<EntryModel>], namespace: &str) -> Option<&'a Arc<EntryModel>> {
    let own = entries.iter().find(|it| it.meta.reference.namespace == namespace);
    own.or_else(|| entries.iter().find(|it| it.is_visible_in(namespace))).copied()
}

/// Whether the endpoints can be found in the way that the entry asks for.
fn resolution(entry: &EntryModel, name: &str) -> Result<(), RefFailure> {
    let refuse = |message: String, next_step: &str| {
        Err(RefFailure::new("UnsupportedProtocol", "name", message, next_step))
    };
    if entry.spec.workload_selector.is_some() {
        return refuse(
            format!("{name} chooses its endpoints by workloadSelector, which is not supported"),
            "list the endpoints",
        );
    }
    match entry.spec.resolution.as_deref().unwrap_or("NONE") {
        "STATIC" | "DNS" | "DNS_ROUND_ROBIN" => {}
        other => {
            return refuse(
                format!("{name} has resolution {other}, which is not supported"),
                "use STATIC with endpoints, or DNS",
            );
        }
    }
    let unix = entry.spec.endpoints.iter().find(|it| it.address.starts_with("unix:"));
    match unix {
        Some(it) => refuse(
            format!("{name} has endpoint {:?}; unix sockets are not supported", it.address),
            "use an IP address",
        ),
        None => Ok(()),
    }
}
