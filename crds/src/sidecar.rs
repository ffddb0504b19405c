//! Istio's Sidecar, as far as it concerns a gateway: whether hosts that no ServiceEntry names may be reached.

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
    /// Which hosts a sidecar knows; no gateway reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Value>,
    /// Listeners of a sidecar; no gateway reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Value>,
    /// Bounds on what comes to a sidecar; no gateway reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_connection_pool: Option<Value>,
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
