//! Istio's Sidecar: what workloads know of the mesh, and whether what nobody names may be reached.

use crate::WorkloadSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `spec` of a Sidecar. Istio's enumerations stay text, so that a newer value does not make the object unreadable.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "Sidecar",
    plural = "sidecars",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct SidecarSpec {
    /// Chooses pods; without it the Sidecar holds for its namespace, in the root namespace for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
    /// What may leave where no ServiceEntry names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_traffic_policy: Option<OutboundTrafficPolicySpec>,
    /// Which hosts a sidecar knows; none: all. No gateway reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressListenerSpec>,
    /// Listeners of a sidecar; nobody reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Value>,
    /// Bounds on what comes to a sidecar; nobody reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_connection_pool: Option<Value>,
}

/// An entry of `spec.egress` of a Sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListenerSpec {
    /// The only port of the hosts that is meant; absent: all that no other entry has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<SidecarPortSpec>,
    /// Where a listener of its own is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// `DEFAULT`, `IPTABLES` or `NONE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_mode: Option<String>,
    /// `NAMESPACE/HOST`: the namespace a name, `.` for the own, `*` for any, `~` for none; the host with or without a
    /// wildcard, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// `port` of an entry of `spec.egress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarPortSpec {
    /// Its number.
    pub number: i64,
    /// What it speaks: the destinations say that themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `spec.outboundTrafficPolicy` of a Sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundTrafficPolicySpec {
    /// `REGISTRY_ONLY` (default) or `ALLOW_ANY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Where a sidecar sends what nobody names; no gateway reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<Value>,
}
