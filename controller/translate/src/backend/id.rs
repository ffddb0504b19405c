//! What a backendRef names, as far as its text alone says.

use super::RefFailure;
use crate::model::{BackendReference, Transport, host_name, kind_name, port};
use sluice_crds::{ISTIO_GROUP, Kind, Name, ObjectRef};

/// A backend by name: what several routes share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BackendId {
    pub(crate) target: Target,
    pub(crate) caller: Caller,
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
            Self::Http | Self::Grpc | Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// What the backend is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// A port of a Service.
    Service { service: ObjectRef, port: u16 },
    /// A port of a host, as seen from a namespace.
    Hostname { namespace: Name, host: Name, port: u16 },
}

/// Reads a backendRef of an object in `namespace`.
pub(crate) fn identify(
    reference: &BackendReference,
    namespace: &Name,
    caller: Caller,
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
        (group, kind) => {
            return Err(RefFailure::new(
                "InvalidKind",
                "kind",
                format!("backends of kind {} are not supported", kind_name(kind, group)),
                format!("use kind Service, or kind Hostname of group {ISTIO_GROUP}"),
            ));
        }
    };
    Ok(BackendId { target, caller })
}
