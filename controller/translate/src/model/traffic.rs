//! TrafficPolicy (GEP-713): what it governs and what it says.

use super::{BackendReference, Meta};
use crate::backend::Caller;
use crate::values::Fault;
use sluice_crds::{GATEWAY_API_GROUP, Kind, Name, ObjectRef, TrafficTargetRef};
use sluice_ir::TrafficSettings;

/// A TrafficPolicy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrafficModel {
    pub(crate) meta: Meta,
    pub(crate) targets: Vec<TrafficTarget>,
    /// In the IR's terms; of a policy with faults only what keeps it closed.
    pub(crate) settings: TrafficSettings,
    /// Who is asked whether requests may go on.
    pub(crate) auth: Option<AuthReference>,
    pub(crate) rate_server: RateServerSecrets,
    /// Why it can't be used.
    pub(crate) faults: Vec<Fault>,
}

/// `extAuth.backendRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthReference {
    pub(crate) backend: BackendReference,
    pub(crate) caller: Caller,
}

/// A `targetRefs` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrafficTarget {
    /// The object; `Err` with group and kind for a target of another kind.
    pub(crate) object: Result<ObjectRef, (String, String)>,
    pub(crate) name: String,
    /// The listener or rule that is meant alone.
    pub(crate) section: Option<String>,
}

/// Secrets of the policy's namespace that the server of global rate limits is reached with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateServerSecrets {
    /// User and password.
    pub(crate) credentials: Option<Name>,
    /// Authorities, certificate and key.
    pub(crate) tls: Option<Name>,
}

impl TrafficModel {
    /// The objects that it governs or parts of which it does, as often as it names them.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.targets.iter().filter_map(|it| it.object.as_ref().ok())
    }

    /// Whether it names exactly this: the section, or the whole object.
    pub(crate) fn targets(&self, object: &ObjectRef, section: Option<&str>) -> bool {
        let mut targets = self.targets.iter().filter(|it| it.object.as_ref() == Ok(object));
        targets.any(|it| it.section.as_deref() == section)
    }
}

impl TrafficTarget {
    pub(crate) fn read(it: &TrafficTargetRef, namespace: &str) -> Self {
        let group = it.group.as_deref().unwrap_or(GATEWAY_API_GROUP);
        let kind = match (group, it.kind.as_str()) {
            (GATEWAY_API_GROUP, "Gateway") => Some(Kind::Gateway),
            (GATEWAY_API_GROUP, "ListenerSet") => Some(Kind::ListenerSet),
            (GATEWAY_API_GROUP, "HTTPRoute") => Some(Kind::HttpRoute),
            (GATEWAY_API_GROUP, "GRPCRoute") => Some(Kind::GrpcRoute),
            _ => None,
        };
        Self {
            object: kind
                .map(|kind| ObjectRef::new(kind, namespace, &it.name))
                .ok_or_else(|| (group.to_owned(), it.kind.clone())),
            name: it.name.clone(),
            section: it.section_name.clone().filter(|it| !it.is_empty()),
        }
    }
}
