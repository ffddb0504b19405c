//! Istio's WorkloadEntry: one workload outside of Kubernetes, by its address. ServiceEntries choose it by its labels.

use crate::ServiceEntryEndpoint;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `spec` of a WorkloadEntry: what an endpoint of a ServiceEntry says, as an object of its own.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "WorkloadEntry",
    plural = "workloadentries",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// IP address, or a name where the ServiceEntry has resolution `DNS`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Ports by the name of the ServiceEntry's port.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, i64>,
    /// Labels beside those of the object, which come first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Network of a mesh of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// `REGION/ZONE/SUBZONE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Relative share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Identity of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

impl WorkloadEntrySpec {
    /// The same as endpoint of a ServiceEntry.
    pub fn endpoint(&self) -> ServiceEntryEndpoint {
        let Self { address, ports, labels, network, locality, weight, service_account } = self.clone();
        ServiceEntryEndpoint { address, ports, labels, network, locality, weight, service_account }
    }
}
