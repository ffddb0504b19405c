//! What a backendRef names, as far as its text alone says.

use super::RefFailure;
use crate::model::{BackendReference, host_name, kind_name, port};
use sluice_crds::{ISTIO_GROUP, Kind, Name, ObjectRef};

/// A backend by name: what several routes share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BackendId {
    pub(crate) target: Target,
    /// Whether a GRPCRoute calls it.
    pub(crate) is_grpc: bool,
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
    is_grpc: bool,
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
    Ok(BackendId { target, is_grpc })
}
