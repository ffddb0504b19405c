//! What a Gateway needs in a cluster: the plan that the provisioner makes objects from. Pure data; no Kubernetes type
//! but our own parameters.

use super::listener::Judged;
use crate::model::{AddressModel, Transport};
use crate::status::GatewayAddress;
use serde::Serialize;
use sluice_crds::{ExternalTrafficPolicy, ObjectRef, PatchesSpec, ResourcesSpec, ServiceType};
use sluice_ir::{ADMIN_PORT, cluster_port, low_port};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a Gateway of ours needs to run in a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPlan {
    /// The Gateway.
    pub reference: ObjectRef,
    /// The Gateway's own `metadata.uid`; without it nothing can be owned by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The generation that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Its GatewayClass.
    pub class: String,
    /// Whether the Gateway as a whole is accepted. Otherwise nothing is made, and what is there stays as it is: a slip
    /// in an edit must not end a data plane that serves.
    pub is_accepted: bool,
    /// `infrastructure.labels` (GEP-1867): on everything that is made.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `infrastructure.annotations`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `spec.addresses`: each an address, or `None` for any one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Option<IpAddr>>,
    /// Ports of the Service, sorted.
    pub ports: Vec<PlannedPort>,
    /// What runs it.
    pub management: Management,
}

/// A port of the Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedPort {
    /// `http-80`; `udp-53` beside `tcp-53`.
    pub name: String,
    /// The listeners' port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Transport,
    /// What the data plane binds.
    pub target: u16,
}

/// Who runs a Gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Management {
    /// The controller makes what it needs.
    Managed(Box<Workload>),
    /// A data plane runs already.
    #[serde(rename_all = "camelCase")]
    Unmanaged {
        /// Its ServiceAccount; absent: the name that a managed one would have.
        #[serde(skip_serializing_if = "Option::is_none")]
        service_account: Option<String>,
        /// What reaches it.
        addresses: Vec<GatewayAddress>,
    },
}

/// What is made for a Gateway, as far as its parameters say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Absent: the default, or what the autoscaler says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Absent: the controller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Absent: the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// The Service.
    pub service: ServicePlan,
    /// Absent: no HorizontalPodAutoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Absent: no PodDisruptionBudget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// Merged into what is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches: Option<PatchesSpec>,
}

/// How the Service is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePlan {
    /// Who reaches it.
    pub r#type: ServiceType,
    /// Absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Of the Service alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Networks that are let in; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_source_ranges: Vec<String>,
    /// Node port of a listener's port.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_ports: BTreeMap<u16, u16>,
}

impl Default for ServicePlan {
    fn default() -> Self {
        Self {
            r#type: ServiceType::LoadBalancer,
            external_traffic_policy: None,
            annotations: BTreeMap::new(),
            load_balancer_class: None,
            load_balancer_source_ranges: Vec::new(),
            node_ports: BTreeMap::new(),
        }
    }
}

/// Scaling by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest data planes.
    pub min_replicas: u32,
    /// Most data planes.
    pub max_replicas: u32,
    /// CPU that is aimed at, in percent of what is asked for.
    pub cpu_utilization_percent: u32,
}

/// How many data planes may be away at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Disruption {
    /// At least so many stay.
    MinAvailable(Amount),
    /// At most so many are away.
    MaxUnavailable(Amount),
}

/// A number of data planes, or a share of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// `50%`, rounded up.
    Percent(u8),
}

/// What is known of the infrastructure of a Gateway in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Infrastructure {
    /// Addresses that reach the Gateway: `status.addresses`, of which the API takes 16.
    pub addresses: Vec<GatewayAddress>,
    /// Why there is no address, or why a requested one can not be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_problem: Option<AddressProblem>,
    /// Whether the data planes acknowledged the newest listeners.
    pub programmed: bool,
}

/// Why a Gateway is not reached at its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressProblem {
    /// The reason of `Programmed`.
    pub reason: AddressReason,
    /// A sentence with the next step.
    pub message: String,
}

/// Reasons of `Programmed=False` that come from the infrastructure (Gateway API GatewayConditionReason).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AddressReason {
    /// None is assigned yet.
    AddressNotAssigned,
    /// A requested one can't be had.
    AddressNotUsable,
    /// What the Gateway runs on can't be made.
    NoResources,
}

impl AddressReason {
    /// The word of the condition.
    pub fn word(self) -> &'static str {
        match self {
            Self::AddressNotAssigned => "AddressNotAssigned",
            Self::AddressNotUsable => "AddressNotUsable",
            Self::NoResources => "NoResources",
        }
    }
}

/// The ports that the Service has: those of all listeners that are accepted, also while a certificate is missing, so
/// that it does not come and go with each.
pub(super) fn ports(judged: &[Vec<Judged<'_>>]) -> Vec<PlannedPort> {
    let mut ports: BTreeMap<(u16, Transport), PlannedPort> = BTreeMap::new();
    for it in judged.iter().flatten().filter(|it| it.refused.is_none() && it.conflicted.is_none()) {
        let Some((transport, port)) = it.place() else { continue };
        ports.entry((port, transport)).or_insert_with(|| PlannedPort {
            name: format!(
                "{}-{port}",
                it.model.protocol.rsplit('/').next().unwrap_or("port").to_ascii_lowercase()
            ),
            port,
            protocol: transport,
            target: cluster_port(port),
        });
    }
    ports.into_values().collect()
}

/// Why listeners of these ports can't be on one data plane in a cluster, by port: its admin interface has the port, or
/// a low port needs it as target.
pub(super) fn blocked(judged: &[Vec<Judged<'_>>]) -> BTreeMap<(Transport, u16), String> {
    let all: BTreeSet<_> = judged.iter().flatten().filter_map(Judged::place).collect();
    let why = |(transport, port): (Transport, u16)| match low_port(port)
        .filter(|low| all.contains(&(transport, *low)))
    {
        Some(low) => Some(format!("port {port} is where the data plane serves port {low}")),
        None if (transport, port) == (Transport::Tcp, ADMIN_PORT) => {
            Some(format!("port {port} is the data plane's admin interface"))
        }
        None => None,
    };
    all.iter().filter_map(|place| Some((*place, why(*place)?))).collect()
}

/// `spec.addresses` as they are asked for. Those that are no IP address have refused the Gateway already.
pub(super) fn requested(addresses: &[AddressModel]) -> Vec<Option<IpAddr>> {
    let wanted = addresses.iter().filter(|it| it.kind == "IPAddress");
    wanted
        .filter_map(|it| if it.value.is_empty() { Some(None) } else { it.value.parse().ok().map(Some) })
        .collect()
}
