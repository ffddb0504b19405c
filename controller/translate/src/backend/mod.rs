//! Backends: what a backendRef names (`id`), whether it is there and what it speaks (`service`, `service_entry`), and
//! the endpoints behind it (`endpoints`, `entry_endpoints`), for clients with the rules that they follow (`rules`).

mod endpoints;
mod entry_endpoints;
mod id;
mod rules;
mod service;
mod service_entry;

pub(crate) use endpoints::compute as endpoints;
pub(crate) use id::{BackendId, Caller, Target, identify};
pub(crate) use service_entry::choose;

use crate::model::Transport;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{
    Backend, BackendKey, BackendPolicy, BackendProtocol, EndpointSetKey, HealthCheck, MeshTls, Origin,
    UpstreamTls,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A backend, or why the reference does not resolve.
pub(crate) type BackendOutcome = Result<Resolved, RefFailure>;

/// A backend and where its endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) backend: Arc<Backend>,
    pub(crate) source: Source,
    /// The DestinationRules that hold for it, the first first, then the HealthCheckPolicy.
    pub(crate) rules: Arc<[ObjectRef]>,
}

/// Where endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A port of a Service, by its name in the slices. Of a subset only those that another Service chooses too. Where clients
    /// reach pods by their own addresses (`is_original`), connections go where they were going.
    Service {
        service: ObjectRef,
        port: u16,
        transport: Transport,
        subset: Option<ObjectRef>,
        is_original: bool,
    },
    /// What clients name, looked up when they do, because a Sidecar allows any.
    Anything { sidecar: ObjectRef },
    /// A port of a host of a ServiceEntry, perhaps only endpoints with these labels.
    Entry { entry: ObjectRef, host: String, port: u16, labels: Option<BTreeMap<String, String>> },
}

/// Why a reference does not resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefFailure {
    /// Reason of ResolvedRefs=False.
    pub(crate) reason: &'static str,
    /// `Service "shop/carts" has no port 8081 (ports: 8080)`.
    pub(crate) message: String,
    pub(crate) next_step: String,
    /// Which part of the backendRef: `name`, `port`, `kind`, `namespace`.
    pub(crate) part: &'static str,
}

impl RefFailure {
    pub(crate) fn new(
        reason: &'static str,
        part: &'static str,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self { reason, message: message.into(), next_step: next_step.into(), part }
    }
}

/// Whether an object may name a backend of another namespace.
///
/// # Errors
/// When no ReferenceGrant lets it.
pub(crate) fn check_grant(view: &View<'_>, from: &ObjectRef, id: &BackendId) -> Result<(), RefFailure> {
    let Target::Service { service, .. } = &id.target else { return Ok(()) };
    let to = ("", "Service", &*service.namespace, &*service.name);
    let is_own = service.namespace == from.namespace;
    if is_own || view.is_granted((from.kind.group(), from.kind.name(), &from.namespace), to) {
        return Ok(());
    }
    Err(RefFailure::new(
        "RefNotPermitted",
        "namespace",
        format!(
            "Service \"{}/{}\" is in another namespace, and no ReferenceGrant there lets {} of namespace {} name it",
            service.namespace, service.name, from.kind, from.namespace
        ),
        format!("create a ReferenceGrant in namespace {}", service.namespace),
    ))
}

/// Computes a backend.
pub(crate) fn compute(view: &View<'_>, id: &BackendId) -> BackendOutcome {
    match &id.target {
        Target::Anything { sidecar } => Ok(anything(sidecar, id.caller)),
        Target::Service { service, port } | Target::Pods { service, port } => {
            service::compute(view, id, service, *port)
        }
        Target::Hostname { namespace, host, port } => {
            service_entry::compute(view, id, (namespace, host), *port)
        }
    }
}

/// What a backend follows: its DestinationRules, and the HealthCheckPolicy by which its endpoints are asked.
fn followed(
    rules: Arc<[ObjectRef]>,
    health: Option<(ObjectRef, Box<HealthCheck>)>,
) -> (Arc<[ObjectRef]>, Option<Box<HealthCheck>>) {
    match health {
        None => (rules, None),
        Some((policy, check)) => (rules.iter().cloned().chain([policy]).collect(), Some(check)),
    }
}

/// Whatever a client names: no rule and no policy is for it.
fn anything(sidecar: &ObjectRef, caller: Caller) -> Resolved {
    let key = format!("Sidecar/{}/{}", sidecar.namespace, sidecar.name);
    let origin = Origin::new("Sidecar", sidecar.namespace.clone(), sidecar.name.clone());
    Resolved {
        backend: backend(key, origin, caller, BackendProtocol::Http1, (None, None), None, MeshTls::Off),
        source: Source::Anything { sidecar: sidecar.clone() },
        rules: Arc::new([]),
    }
}

/// A backend of the port `key`. gRPC needs HTTP/2: where the port speaks HTTP/1.1 by its own word, the backend gets a
/// key of its own beside the one that HTTPRoutes use. So does one that is spoken to as a whole, or as each client speaks. Ports of UDP are others
/// than those of the same number, endpoints and all.
fn backend(
    key: String,
    origin: Origin,
    caller: Caller,
    protocol: BackendProtocol,
    (tls, mut policy): (Option<Box<UpstreamTls>>, Option<Box<BackendPolicy>>),
    health: Option<Box<HealthCheck>>,
    mesh: MeshTls,
) -> Arc<Backend> {
    let endpoints = match caller.transport() {
        Transport::Tcp => key.clone(),
        Transport::Udp => format!("{key}+udp"),
    };
    let (key, protocol) = match (protocol, caller) {
        (BackendProtocol::Http1, Caller::Grpc) => (format!("{key}+h2c"), BackendProtocol::H2c),
        (_, Caller::Tcp) => (format!("{key}+tcp"), BackendProtocol::Tcp),
        (_, Caller::Udp) => (endpoints.clone(), BackendProtocol::Udp),
        (BackendProtocol::Http1, Caller::Detected) => {
            let policy = policy.get_or_insert_with(|| Box::new(BackendPolicy::new(origin.clone())));
            policy.connections.speaks_as_client = true;
            (format!("{key}+detected"), BackendProtocol::Http1)
        }
        (protocol, Caller::Http | Caller::Grpc | Caller::Detected) => (key, protocol),
    };
    let endpoints = EndpointSetKey::new(endpoints);
    Arc::new(Backend { key: BackendKey::new(key), origin, protocol, endpoints, tls, policy, health, mesh })
}
