//! A host of a ServiceEntry as backend (`group: networking.istio.io, kind: Hostname`).

use super::rules::ruled;
use super::{BackendId, BackendOutcome, Caller, RefFailure, Resolved, Source, backend, followed, service};
use crate::destination::subject_name;
use crate::health;
use crate::model::{EntryModel, EntryPort, Resolution, Transport};
use crate::policy;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{BackendProtocol, Origin};
use std::sync::Arc;

/// Finds the entry that names `host` for objects of `namespace`, its port and what it speaks.
pub(crate) fn compute(
    view: &View<'_>,
    id: &BackendId,
    (namespace, host): (&str, &str),
    port: u16,
) -> BackendOutcome {
    let caller = id.caller;
    // A Service has its name for itself, whatever entries say.
    if let Some(service) = view.domain().service(host).filter(|it| view.service(it).is_some()) {
        return of_service(view, id, (namespace, host), &service, port);
    }
    let entries = view.entries_of(host);
    let Some(entry) = choose(&entries, namespace, port) else {
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
    resolution(entry, &name, host, caller)?;
    let names =
        entry.spec.subject_alt_names.iter().filter_map(|it| subject_name(it).ok()).collect::<Vec<_>>();
    let ruled = ruled(view, id, &reference.namespace, port, &names)?;
    let tls = match caller.transport() {
        Transport::Tcp => policy::upstream_tls(view, reference, &found.name),
        Transport::Udp => None,
    };
    // As with Services, a BackendTLSPolicy comes before the tls of a DestinationRule.
    let tls = tls.or_else(|| ruled.tls.clone());
    let protocol = ruled.spoken(spoken(found, &name, caller, tls.is_some())?)?;
    // The entry that every namespace sees has the short key; one that only some see must not be taken for it.
    let exported: Vec<_> = entries.iter().copied().filter(|it| it.is_exported()).collect();
    let is_common = choose(&exported, "", port).is_some_and(|it| Arc::ptr_eq(it, entry));
    let key = if is_common {
        format!("Hostname/{host}:{port}{}", ruled.suffix)
    } else {
        format!("Hostname/{}/{}/{host}:{port}{}", reference.namespace, reference.name, ruled.suffix)
    };
    let health = health::check(view, reference, &found.name, (caller, host), tls.as_deref());
    let mesh = ruled.mesh(view, id, (host, port), (entry.is_internal(), tls.is_some()));
    let (rules, health) = followed(ruled.rules, health);
    let origin = Origin::new("ServiceEntry", reference.namespace.clone(), reference.name.clone());
    let section = if found.name.is_empty() { port.to_string() } else { found.name.clone() };
    Ok(Resolved {
        backend: backend(key, origin.section(section), caller, protocol, (tls, ruled.policy), health, mesh),
        source: Source::Entry { entry: reference.clone(), host: host.to_owned(), port, labels: ruled.labels },
        rules,
    })
}

/// What is spoken to the port. A whole connection may be of any protocol, datagrams only of UDP.
fn spoken(
    found: &EntryPort,
    name: &str,
    caller: Caller,
    is_tls: bool,
) -> Result<BackendProtocol, RefFailure> {
    let next_step = match (caller, found.protocol.as_str()) {
        (Caller::Udp, "UDP") => return Ok(BackendProtocol::Udp),
        (Caller::Udp, _) => "use UDP",
        (Caller::Tcp, "UDP") => "use TCP, or a UDPRoute",
        (Caller::Tcp, _) => return Ok(BackendProtocol::Tcp),
        (Caller::Http | Caller::Grpc | Caller::Detected, "HTTP" | "GRPC-WEB") => {
            return Ok(BackendProtocol::Http1);
        }
        (Caller::Http | Caller::Grpc | Caller::Detected, "HTTP2" | "GRPC") => {
            return Ok(BackendProtocol::H2c);
        }
        (Caller::Http | Caller::Grpc | Caller::Detected, "HTTPS" | "TLS") if is_tls => {
            return Ok(BackendProtocol::Http1);
        }
        (Caller::Http | Caller::Grpc | Caller::Detected, "HTTPS" | "TLS") => {
            "create a BackendTLSPolicy for the ServiceEntry, or a DestinationRule with tls for the host: it says whom to believe"
        }
        (Caller::Http | Caller::Grpc | Caller::Detected, _) => "use HTTP, HTTP2 or GRPC",
    };
    let EntryPort { number, protocol, .. } = found;
    let message = format!("port {number} of {name} has protocol {protocol}, which is not supported");
    Err(RefFailure::new("UnsupportedProtocol", "port", message, next_step))
}

/// The namespace's own entry first, then the oldest that it sees. Ports of several entries of one namespace are put
/// together: of these the first that has the port, if any has.
pub(crate) fn choose<'a>(
    entries: &[&'a Arc<EntryModel>],
    namespace: &str,
    port: u16,
) -> Option<&'a Arc<EntryModel>> {
    let visible = || entries.iter().copied().filter(move |it| it.is_visible_in(namespace));
    let first = visible().find(|it| it.meta.reference.namespace == namespace).or_else(|| visible().next())?;
    let home = &first.meta.reference.namespace;
    let mut of_same = visible().filter(|it| it.meta.reference.namespace == *home);
    let with_port = of_same.find(|it| it.ports.iter().any(|it| it.number == i64::from(port)));
    Some(with_port.unwrap_or(first))
}

/// The Service that has the host's name. Of another namespace it must be named as one, which grants can allow.
fn of_service(
    view: &View<'_>,
    id: &BackendId,
    (namespace, host): (&str, &str),
    service: &ObjectRef,
    port: u16,
) -> BackendOutcome {
    if service.namespace == *namespace {
        return service::compute(view, id, service, port);
    }
    Err(RefFailure::new(
        "RefNotPermitted",
        "name",
        format!("{host:?} is {service}, which is in another namespace"),
        "use kind Service with its namespace, and a ReferenceGrant there",
    ))
}

/// Whether the endpoints can be found in the way that the entry asks for.
fn resolution(entry: &EntryModel, name: &str, host: &str, caller: Caller) -> Result<(), RefFailure> {
    let refuse = |message: String, next_step: &str| {
        Err(RefFailure::new("UnsupportedProtocol", "name", message, next_step))
    };
    if entry.resolution == Resolution::Unknown {
        let word = entry.spec.resolution.as_deref().unwrap_or_default();
        return refuse(
            format!("{name} has resolution {word}, which is not supported"),
            "use NONE, STATIC, DNS, DNS_ROUND_ROBIN or DYNAMIC_DNS",
        );
    }
    if caller == Caller::Udp && entry.is_asked(host) {
        return refuse(
            format!("{name} has no endpoints for {host:?}, and datagrams name no host to look up"),
            "list endpoints, or name a host without wildcard",
        );
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
