//! A port of a Service as backend.

use super::rules::ruled;
use super::{
    BackendId, BackendOutcome, Caller, RefFailure, Resolved, Source, Target, backend, choose, followed,
};
use crate::destination::subject_name;
use crate::health;
use crate::model::{ServiceModel, ServicePort, Transport};
use crate::policy;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{BackendProtocol, Origin, SubjectName};
use std::collections::BTreeMap;

/// Finds the port and what it speaks.
pub(crate) fn compute(view: &View<'_>, id: &BackendId, reference: &ObjectRef, port: u16) -> BackendOutcome {
    let caller = id.caller;
    let name = format!("Service \"{}/{}\"", reference.namespace, reference.name);
    let Some(service) = view.service(reference) else {
        let message = format!("{name} not found");
        return Err(RefFailure::new(
            "BackendNotFound",
            "name",
            message,
            "create it, or correct name or namespace",
        ));
    };
    if service.is_external_name {
        return Err(RefFailure::new(
            "UnsupportedProtocol",
            "name",
            format!("{name} has type ExternalName, which is not supported as backend"),
            "name the host by a ServiceEntry, and use kind Hostname of group networking.istio.io",
        ));
    }
    let Some(found) = find(service, port, caller.transport()) else {
        return Err(no_port(service, &name, port, caller.transport()));
    };
    let tls = match caller.transport() {
        Transport::Tcp => policy::upstream_tls(view, reference, &found.name),
        Transport::Udp => None,
    };
    let names = entry_names(view, reference);
    let ruled = ruled(view, id, &reference.namespace, port, &names)?;
    let subset = match &ruled.labels {
        Some(labels) if !labels.is_empty() => Some(chooser(view, service, &name, labels)?),
        _ => None,
    };
    let tls = tls.or_else(|| ruled.tls.clone());
    let protocol = ruled.spoken(spoken(found, &name, caller, tls.is_some())?)?;
    let host = id.host(view.domain());
    let mesh = ruled.mesh(view, id, (&*host, port), (true, tls.is_some()));
    let health = health::check(view, reference, &found.name, (caller, &*host), tls.as_deref());
    let (rules, health) = followed(ruled.rules.clone(), health);
    let origin = Origin::new("Service", reference.namespace.clone(), reference.name.clone());
    let section = if found.name.is_empty() { port.to_string() } else { found.name.clone() };
    let is_original = matches!(id.target, Target::Pods { .. });
    let pods = if is_original { "+pods" } else { "" };
    let key = format!("Service/{}/{}:{port}{}{pods}", reference.namespace, reference.name, ruled.suffix);
    Ok(Resolved {
        backend: backend(
            key,
            origin.section(section),
            caller,
            protocol,
            (tls, ruled.policy_of(service)),
            health,
            mesh,
        ),
        source: Source::Service {
            service: reference.clone(),
            port,
            transport: caller.transport(),
            subset,
            is_original,
        },
        rules,
    })
}

/// What a ServiceEntry with the name of the Service says of its certificate: all that such an entry does. Not noted: it
/// touches the Service.
fn entry_names(view: &View<'_>, reference: &ObjectRef) -> Vec<SubjectName> {
    let entries = view.decorating(&view.domain().host(reference));
    let names =
        choose(&entries, &reference.namespace, 0).into_iter().flat_map(|it| &it.spec.subject_alt_names);
    names.filter_map(|it| subject_name(it).ok()).collect()
}

/// The port of that number and transport.
pub(super) fn find(service: &ServiceModel, port: u16, transport: Transport) -> Option<&ServicePort> {
    service.ports.iter().find(|it| it.port == i32::from(port) && it.transport == Some(transport))
}

fn no_port(service: &ServiceModel, name: &str, port: u16, transport: Transport) -> RefFailure {
    let ports = service.ports.iter().filter(|it| it.transport == Some(transport));
    let ports: Vec<String> = ports.map(|it| it.port.to_string()).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
    let message = match transport {
        Transport::Tcp => format!("{name} has no port {port} (ports: {ports})"),
        Transport::Udp => format!("{name} has no UDP port {port} (UDP ports: {ports})"),
    };
    RefFailure::new("BackendNotFound", "port", message, "use a port of the Service")
}

/// The Service that chooses the endpoints of a subset: its slices say which these are. Pods are not watched.
fn chooser(
    view: &View<'_>,
    service: &ServiceModel,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<ObjectRef, RefFailure> {
    let fail = |message: String, next_step: String| {
        Err(RefFailure::new("BackendNotFound", "name", message, next_step))
    };
    if service.selector.is_empty() {
        let message = format!("{name} has no selector: its endpoints have no labels to choose a subset by");
        return fail(message, "name a Service with the endpoints of the subset".to_owned());
    }
    let mut wanted = service.selector.clone();
    wanted.extend(labels.clone());
    if let Some(found) = view.service_with(&service.reference.namespace, &wanted) {
        return Ok(found);
    }
    let selector: Vec<String> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let selector = selector.join(",");
    let message = format!("no Service in namespace {} has selector {selector}", service.reference.namespace);
    fail(message, "create one: its EndpointSlices say which endpoints are the subset's".to_owned())
}

/// What is spoken to the port. Where connections and datagrams go on as they are, its own word does not matter.
fn spoken(
    found: &ServicePort,
    name: &str,
    caller: Caller,
    is_tls: bool,
) -> Result<BackendProtocol, RefFailure> {
    let port = found.port;
    match caller {
        Caller::Tcp => return Ok(BackendProtocol::Tcp),
        Caller::Udp => return Ok(BackendProtocol::Udp),
        Caller::Http | Caller::Grpc | Caller::Detected => {}
    }
    protocol(found.app_protocol.as_deref(), is_tls).ok_or_else(|| {
        let word = found.app_protocol.as_deref().unwrap_or_default();
        RefFailure::new(
            "UnsupportedProtocol",
            "port",
            format!("port {port} of {name} has appProtocol {word:?}, which is not supported"),
            match word {
                "https" | "HTTPS" | "kubernetes.io/wss" => {
                    "create a BackendTLSPolicy or DestinationRule for the Service: it says whom to believe"
                }
                _ => "use http, kubernetes.io/h2c, kubernetes.io/ws or grpc, or remove it",
            },
        )
    })
}

/// GEP-1911, and the words that are in wide use. Those that mean TLS need a policy: without one nobody says whom to
/// believe.
fn protocol(word: Option<&str>, is_tls: bool) -> Option<BackendProtocol> {
    match word {
        Some("https" | "HTTPS" | "kubernetes.io/wss") if is_tls => Some(BackendProtocol::Http1),
        None | Some("http" | "HTTP" | "kubernetes.io/ws" | "grpc-web" | "GRPC-WEB") => {
            Some(BackendProtocol::Http1)
        }
        Some("kubernetes.io/h2c" | "grpc" | "GRPC" | "http2" | "HTTP2") => Some(BackendProtocol::H2c),
        Some(_) => None,
    }
}
