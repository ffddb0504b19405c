//! A HealthCheckPolicy in our own terms.

use crate::model::Meta;
use crate::values::Fault;
use sluice_crds::{HealthTargetRef, ISTIO_GROUP, Kind, ObjectRef};
use sluice_ir::StatusRange;
use std::time::Duration;

/// A HealthCheckPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthModel {
    pub(crate) meta: Meta,
    pub(crate) targets: Vec<HealthTarget>,
    pub(super) probe: ProbeModel,
    pub(super) port: Option<u16>,
    pub(super) is_plain: bool,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) jitter_percent: u8,
    pub(super) unhealthy_after: u32,
    pub(super) healthy_after: u32,
    pub(super) starts_pending: bool,
    pub(super) min_healthy_percent: u8,
    /// Why it can't be used; then it has no effect.
    pub(super) faults: Vec<Fault>,
    /// What is done but probably not meant.
    pub(super) warnings: Vec<Fault>,
}

/// How endpoints are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeModel {
    /// By a request; the host is the policy's own.
    Http { is_head: bool, path: String, host: Option<String>, statuses: Vec<StatusRange> },
    /// By the health protocol of gRPC.
    Grpc { service: String },
    /// By a connection.
    Tcp,
}

/// A `targetRefs` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthTarget {
    /// The Service or ServiceEntry; `Err` with group and kind for a target of another kind.
    pub(super) object: Result<ObjectRef, (String, String)>,
    pub(super) name: String,
    /// Name of the only port that is meant.
    pub(super) section: Option<String>,
}

impl HealthModel {
    /// The objects that it targets, as often as it names them.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.targets.iter().filter_map(|it| it.object.as_ref().ok())
    }

    /// Whether it names exactly this: the section, or the whole object.
    pub(super) fn targets(&self, object: &ObjectRef, section: Option<&str>) -> bool {
        let mut targets = self.targets.iter().filter(|it| it.object.as_ref() == Ok(object));
        targets.any(|it| it.section.as_deref() == section)
    }
}

impl HealthTarget {
    pub(super) fn read(it: &HealthTargetRef, namespace: &str) -> Self {
        let default = if it.kind == "ServiceEntry" { ISTIO_GROUP } else { "" };
        let group = it.group.as_deref().unwrap_or(default);
        let kind = match (group, it.kind.as_str()) {
            ("", "Service") => Some(Kind::Service),
            (ISTIO_GROUP, "ServiceEntry") => Some(Kind::ServiceEntry),
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

    /// Group and kind, as the policy has them.
    pub(super) fn group_kind(&self) -> (&str, &str) {
        match &self.object {
            Ok(object) => (object.kind.group(), object.kind.name()),
            Err((group, kind)) => (group, kind),
        }
    }
}
