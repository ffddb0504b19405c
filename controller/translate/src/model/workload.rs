//! A WorkloadEntry: an endpoint that ServiceEntries choose.

use super::Meta;
use sluice_crds::{Kind, ServiceEntryEndpoint, WorkloadEntry, WorkloadSelector};

/// A WorkloadEntry. Labels of the object and of its spec are together in the endpoint's; the object's come first (Istio).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkloadModel {
    pub(crate) meta: Meta,
    pub(crate) endpoint: ServiceEntryEndpoint,
}

impl WorkloadModel {
    pub(crate) fn read(it: &WorkloadEntry) -> Self {
        let mut endpoint = it.spec.endpoint();
        endpoint.labels.extend(it.metadata.labels.clone().unwrap_or_default());
        Self { meta: Meta::read(Kind::WorkloadEntry, &it.metadata), endpoint }
    }

    /// Whether a selector of its namespace chooses it.
    pub(crate) fn is_chosen_by(&self, selector: &WorkloadSelector) -> bool {
        let has = |(name, value): (&String, &String)| self.endpoint.labels.get(name) == Some(value);
        !selector.labels.is_empty() && selector.labels.iter().all(has)
    }
}
