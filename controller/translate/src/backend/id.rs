//! What a backendRef names, as far as its text alone says.

use super::RefFailure;
use crate::destination::ServiceDomain;
use crate::model::{BackendReference, Transport, host_name, kind_name, port};
use sluice_crds::{ISTIO_GROUP, Kind, Name, ObjectRef};
use std::borrow::Cow;

/// A backend by name: what several routes share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BackendId {
    pub(crate) target: Target,
    pub(crate) caller: Caller,
    /// Namespace of the routes, where it is another than the Service's: it may have DestinationRules of its own. A
    /// host knows it by itself. Empty: clients of a namespace that has no rules of its own.
    pub(crate) client: Option<Name>,
    /// The only part of the endpoints that is meant, by its name in a DestinationRule.
    pub(crate) subset: Option<Name>,
}

/// What kind of route calls it: the same port can mean something else to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Caller {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
    /// TLSRoute and TCPRoute.
    Tcp,
    /// UDPRoute.
    Udp,
    /// A sidecar, of a port that does not say what it speaks: as the client does.
    Detected,
}

impl Caller {
    /// The caller that routes of a kind are.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::GrpcRoute => Self::Grpc,
            Kind::TlsRoute | Kind::TcpRoute => Self::Tcp,
            Kind::UdpRoute => Self::Udp,
            _ => Self::Http,
        }
    }

    /// What the port must speak.
    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Grpc | Self::Tcp | Self::Detected => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// What the backend is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// A port of a Service.
    Service { service: ObjectRef, port: u16 },
    /// The same of a headless one, as sidecars reach it: each pod by its own address.
    Pods { service: ObjectRef, port: u16 },
    /// Whatever host a client of a forward proxy names, because a Sidecar allows any.
    Anything { sidecar: ObjectRef },
    /// A port of a host, as seen from a namespace.
    Hostname { namespace: Name, host: Name, port: u16 },
}

/// Reads a backendRef of an object in `namespace`.
pub(crate) fn identify(
    reference: &BackendReference,
    namespace: &Name,
    caller: Caller,
    domain: &ServiceDomain,
) -> Result<BackendId, RefFailure> {
    let name = &reference.name;
    let port_of = |what: &str| match reference.port {
        None => Err(RefFailure::new(
            "BackendNotFound",
            "port",
            format!("backendRef to {what} has no port"),
            "add the port",
        )),
        Some(number) => port(i64::from(number)).ok_or_else(|| {
            RefFailure::new("BackendNotFound", "port", format!("{number} is no port"), "use 1 to 65535")
        }),
    };
    let mut subset = None;
    let target = match reference.group_kind() {
        ("", "Service") => {
            let namespace = reference.namespace.as_ref().unwrap_or(namespace);
            let port = port_of(&format!("Service {name:?}"))?;
            Target::Service { service: ObjectRef::new(Kind::Service, namespace, name.clone()), port }
        }
        (ISTIO_GROUP, "Hostname") => {
            if reference.namespace.as_ref().is_some_and(|it| it != namespace) {
                return Err(RefFailure::new(
                    "InvalidKind",
                    "namespace",
                    format!("a Hostname has no namespace, but the backendRef to {name:?} names one"),
                    "remove the namespace; exportTo of the ServiceEntry says who sees it",
                ));
            }
            let port = port_of(&format!("Hostname {name:?}"))?;
            Target::Hostname { namespace: namespace.clone(), host: host_name(name).into(), port }
        }
        (ISTIO_GROUP, "Subset") => {
            let port = port_of(&format!("Subset {name:?}"))?;
            let (part, target) = of_subset(reference, namespace, port, domain)?;
            subset = Some(part);
            target
        }
        (group, kind) => {
            return Err(RefFailure::new(
                "InvalidKind",
                "kind",
                format!("backends of kind {} are not supported", kind_name(kind, group)),
                match (group, kind) {
                    (ISTIO_GROUP, "ServiceEntry") => {
                        format!("use kind Hostname of group {ISTIO_GROUP}, with a host of the ServiceEntry")
                    }
                    _ => format!("use kind Service, or kind Hostname of group {ISTIO_GROUP}"),
                },
            ));
        }
    };
    let client = match &target {
        Target::Service { service, .. } => Some(namespace.clone()).filter(|it| *it != service.namespace),
        Target::Pods { .. } | Target::Hostname { .. } | Target::Anything { .. } => None,
    };
    Ok(BackendId { target, caller, client, subset })
}

/// `SUBSET.HOST`, where the host is a Service or a host of a ServiceEntry: subset and target.
fn of_subset(
    reference: &BackendReference,
    namespace: &Name,
    port: u16,
    domain: &ServiceDomain,
) -> Result<(Name, Target), RefFailure> {
    let name = host_name(&reference.name);
    let Some((subset, host)) = name.split_once('.').filter(|it| !it.0.is_empty() && !it.1.is_empty()) else {
        return Err(RefFailure::new(
            "BackendNotFound",
            "name",
            format!("{:?} names no subset of a host", reference.name),
            "write SUBSET.HOST, for example v2.cart",
        ));
    };
    let named = reference.namespace.as_ref();
    let service = match domain.service(host) {
        None if !host.contains('.') => Some(ObjectRef::new(Kind::Service, named.unwrap_or(namespace), host)),
        whole => whole,
    };
    let home = service.as_ref().map_or(namespace, |it| &it.namespace);
    if named.is_some_and(|it| it != home) {
        return Err(RefFailure::new(
            "InvalidKind",
            "namespace",
            format!("{host:?} is not of the namespace that the backendRef names"),
            "remove the namespace",
        ));
    }
    let target = match service {
        Some(service) => Target::Service { service, port },
        None => Target::Hostname { namespace: namespace.clone(), host: host.into(), port },
    };
    Ok((subset.into(), target))
}

impl BackendId {
    /// The host by which rules name it.
    pub(crate) fn host(&self, domain: &ServiceDomain) -> Cow<'_, str> {
        match &self.target {
            Target::Service { service, .. } | Target::Pods { service, .. } => {
                Cow::Owned(domain.host(service))
            }
            Target::Hostname { host, .. } => Cow::Borrowed(host),
            // Rules are for hosts that somebody names.
            Target::Anything { .. } => Cow::Borrowed(""),
        }
    }

    /// Namespace of the routes.
    pub(crate) fn client(&self) -> &Name {
        match &self.target {
            Target::Service { service, .. } | Target::Pods { service, .. } => {
                self.client.as_ref().unwrap_or(&service.namespace)
            }
            Target::Hostname { namespace, .. } => namespace,
            Target::Anything { sidecar } => &sidecar.namespace,
        }
    }
}
