//! TrafficPolicy: our own kind, which refines how requests of a Gateway, ListenerSet, listener, route or rule are
//! treated (a policy as GEP-713 has them). The CRD in `yaml/` is generated from this file
//! (`UPDATE_CRDS=1 cargo test -p sluice-crds`).

use crate::traffic_auth::ExtAuthSpec;
use crate::traffic_cache::CacheSpec;
use crate::traffic_content::{CompressionSpec, DecompressionSpec};
use crate::traffic_faults::FaultsSpec;
use crate::traffic_rate::RateLimitSpec;
use crate::traffic_resilience::{BufferSpec, ConcurrencySpec, HedgingSpec};
use crate::traffic_status::TrafficPolicyStatus;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// How requests of its targets are treated. Each setting stands by itself: of the policies that govern a request, the
/// most specific one that has the setting gives all of it.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    singular = "trafficpolicy",
    namespaced,
    status = "TrafficPolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "How requests of a Gateway, ListenerSet, listener, route or rule are treated.",
    printcolumn = r#"{"name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].name"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicySpec {
    /// What the policy governs, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TrafficTargetRef>,
    /// Who may come in, by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientsSpec>,
    /// Bounds on requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RequestLimitsSpec>,
    /// How often requests may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitSpec>,
    /// Time bounds of rules that have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TrafficTimeoutsSpec>,
    /// Faults on purpose, to see how clients and services bear them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsSpec>,
    /// How request bodies that are compressed are unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decompression: Option<DecompressionSpec>,
    /// Answers that are kept for those who ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSpec>,
    /// How answers are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionSpec>,
    /// Requests are read whole before a backend is troubled with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferSpec>,
    /// A limit on the requests that a backend works on at one time, found from how long it takes to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencySpec>,
    /// A further try beside one that is slow; the first good answer is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedging: Option<HedgingSpec>,
    /// Who is asked whether a request may go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<ExtAuthSpec>,
}

/// Something of the policy's namespace that is governed.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTargetRef {
    /// Its group. Default: gateway.networking.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Gateway, ListenerSet, HTTPRoute or GRPCRoute.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Only this part of it: the name of a listener, or of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Lists of addresses and ranges: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`. The address is that of the connection
/// (after the PROXY protocol), or of X-Forwarded-For where the Gateway trusts hops in front of it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientsSpec {
    /// Only these come in; others get 403. Default: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_024))]
    pub allow: Option<Vec<String>>,
    /// These get 403, also when `allow` has them. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_024))]
    pub deny: Option<Vec<String>>,
}

/// Bounds on requests.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLimitsSpec {
    /// Bytes of a request body; 413 above. Takes the place of the Gateway's own, larger or smaller. Default: the Gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub request_body_bytes: Option<i64>,
    /// Header fields of a request; 431 above. The Gateway's bound holds too. Default: the Gateway's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub request_headers: Option<i64>,
    /// Bytes of names and values of all header fields of a request; 431 above. The Gateway's bound on the head holds
    /// too. Default: the Gateway's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 1_048_576))]
    pub request_header_bytes: Option<i64>,
}

/// Time bounds. What a rule of an HTTPRoute says itself stands above.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTimeoutsSpec {
    /// The whole request, over all tries; 504 after. 0s: none. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub request: Option<String>,
    /// One try at a backend; 504 after. 0s: none. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub backend_request: Option<String>,
}

/// The CustomResourceDefinition of TrafficPolicy, generated from the types above.
pub const TRAFFIC_CRD_YAML: &str = include_str!("../yaml/trafficpolicies.sluice.dev.yaml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{TRAFFIC_CRD_YAML, TrafficPolicy};
    use kube::CustomResourceExt;

    /// `UPDATE_CRDS=1 cargo test -p sluice-crds` writes the file anew.
    #[test]
    fn the_crd_in_yaml_is_that_of_the_types() {
        let crd = serde_json::to_value(TrafficPolicy::crd()).unwrap();
        let text = format!(
            "# Generated from crds/src/traffic.rs by UPDATE_CRDS=1 cargo test -p sluice-crds\n{}",
            serde_saphyr::to_string(&crd).unwrap()
        );
        if std::env::var_os("UPDATE_CRDS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/yaml/trafficpolicies.sluice.dev.yaml");
            std::fs::write(path, text).unwrap();
            return;
        }
        assert!(text == TRAFFIC_CRD_YAML, "stale: run UPDATE_CRDS=1 cargo test -p sluice-crds");
        let read: serde_json::Value = serde_saphyr::from_str(TRAFFIC_CRD_YAML).unwrap();
        assert_eq!(read, crd);
    }
}
