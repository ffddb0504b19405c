//! The part of GatewayParameters that says how a Gateway runs in a cluster: its Deployment, Service, scaling, and what
//! is merged into the objects that the controller makes. Without a cluster all of it has no effect.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The Deployment of a Gateway.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// How many data planes run; of no account while `autoscaling` is set. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000))]
    pub replicas: Option<i64>,
    /// Image of the data plane. Default: the one that the controller was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What the data plane's container asks for and may take. Default: 100m CPU and 64Mi memory asked for, no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
}

/// Resources of a container, by name (`cpu`, `memory`).
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesSpec {
    /// What is set aside for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, IntOrString>,
    /// What it may take at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, IntOrString>,
}

/// The Service of a Gateway.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Who reaches it. Default: LoadBalancer.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ServiceType>,
    /// Whether traffic from outside stays on the node it came to, which keeps the client's address. Not for ClusterIP.
    /// Default: the cluster's (Cluster).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Annotations of the Service alone, above those of `spec.infrastructure` of the Gateway.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer takes care of it; can't be changed later. Only for LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Networks that the load balancer lets in, as CIDR. Only for LoadBalancer. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Ports of the nodes, where they must be certain ones. Not for ClusterIP. Default: the cluster chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub node_ports: Vec<NodePortSpec>,
}

/// Who reaches a Service.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Everybody, at an address that the cluster's load balancer gives.
    LoadBalancer,
    /// Everybody who reaches a node, at a high port of each node.
    NodePort,
    /// Only the cluster.
    ClusterIP,
}

/// Where traffic from outside goes.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternalTrafficPolicy {
    /// To data planes of all nodes.
    Cluster,
    /// Only to those of the node that it came to.
    Local,
}

/// The node port of a listener's port.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePortSpec {
    /// Port of a listener.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i64,
    /// Port of the nodes.
    #[schemars(range(min = 1, max = 65_535))]
    pub node_port: i64,
}

/// Scaling by load, with a HorizontalPodAutoscaler.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingSpec {
    /// Fewest data planes. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub min_replicas: Option<i64>,
    /// Most data planes.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_replicas: i64,
    /// CPU that is aimed at, in percent of what the container asks for. Default 75.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub cpu_utilization_percent: Option<i64>,
}

/// How many data planes may be away at once when nodes are drained, with a PodDisruptionBudget: one of the two.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionSpec {
    /// How many stay at least: a number or a share ("50%").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// How many may be away: a number or a share ("25%").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}

/// What is merged into the objects that the controller makes, for all that has no field of its own. Maps are merged,
/// `null` takes a field out, and lists of named things (containers, volumes, env, ports, ...) are merged by name.
/// Names, namespaces, owners and the selector of the Deployment stay as they are.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchesSpec {
    /// Into the Deployment.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub deployment: Map<String, Value>,
    /// Into the Service.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub service: Map<String, Value>,
    /// Into the ServiceAccount.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub service_account: Map<String, Value>,
    /// Into the HorizontalPodAutoscaler.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub horizontal_pod_autoscaler: Map<String, Value>,
    /// Into the PodDisruptionBudget.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub pod_disruption_budget: Map<String, Value>,
}

/// An address of a gateway that is not managed.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressSpec {
    /// IPAddress or Hostname. Default: IPAddress.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<AddressType>,
    /// The address.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// What an address is.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressType {
    /// An IPv4 or IPv6 address.
    IPAddress,
    /// A DNS name.
    Hostname,
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}})
}
