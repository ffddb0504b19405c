//! HealthCheckPolicy: our own kind, which has the endpoints of a Service or ServiceEntry asked whether they are well (a
//! direct policy as GEP-713 has them, like BackendTLSPolicy). The CRD in `yaml/` is generated from this file
//! (`UPDATE_CRDS=1 cargo test -p sluice-crds`).

use crate::traffic_status::TrafficPolicyStatus;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Pattern of a status or a range of them.
const STATUSES: &str = "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$";

/// How the endpoints of its targets are asked, by every gateway that sends them requests, and what follows.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "HealthCheckPolicy",
    plural = "healthcheckpolicies",
    singular = "healthcheckpolicy",
    namespaced,
    status = "TrafficPolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "How the endpoints of a Service or ServiceEntry are asked whether they are well.",
    printcolumn = r#"{"name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].name"}"#,
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.type"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckPolicySpec {
    /// Whose endpoints are asked; Services and ServiceEntries of the policy's namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<HealthTargetRef>,
    /// How they are asked.
    #[serde(rename = "type")]
    pub kind: HealthCheckType,
    /// For type HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHealthSpec>,
    /// For type GRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealthSpec>,
    /// The port that is asked, of the endpoint itself. Default: the one that requests go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i64>,
    /// Whether TLS is spoken. Default: AsTraffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<HealthTls>,
    /// From the beginning of a check to that of the next, 1s to 1h. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub interval: Option<String>,
    /// So long a check may take, from connecting to the whole answer; 100ms to 1m. Default: 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub timeout: Option<String>,
    /// Each wait is changed at random by up to this part of the interval, so that gateways do not ask in step. Default:
    /// 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 50))]
    pub jitter_percent: Option<i64>,
    /// Failed checks in a row that take an endpoint out. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: Option<i64>,
    /// Good checks in a row that take it in again. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: Option<i64>,
    /// What a new endpoint is until its first check, which alone decides. Default: Healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_state: Option<HealthInitialState>,
    /// With a smaller part of the endpoints healthy, all are used. 0: never, requests get 503 when none is. Default: 1,
    /// which means all are used when none is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_healthy_percent: Option<i64>,
}

/// Something of the policy's namespace that has endpoints.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthTargetRef {
    /// Its group. Default: that of the kind: empty for Service, networking.istio.io for ServiceEntry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Service or ServiceEntry.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Only this port of it, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// How endpoints are asked.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthCheckType {
    /// By a request, in the protocol of the port.
    #[default]
    Http,
    /// By `grpc.health.v1.Health/Check`.
    Grpc,
    /// By a connection; with TLS also the handshake.
    Tcp,
}

/// The request of an HTTP check.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHealthSpec {
    /// Path, perhaps with a query. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_024))]
    pub path: Option<String>,
    /// Host that is asked for. Default: the server name of TLS, else the host of the Service or ServiceEntry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Default: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HealthMethod>,
    /// Good answers: `204`, `200-299`. Default: 200-299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = STATUSES)))]
    pub expected_statuses: Option<Vec<String>>,
}

/// Method of an HTTP check.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthMethod {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
}

/// What a gRPC check asks for.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GrpcHealthSpec {
    /// The service. Default: the empty name, the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
}

/// Whether checks speak TLS.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthTls {
    /// As requests do: by the BackendTLSPolicy or DestinationRule of the port.
    #[default]
    AsTraffic,
    /// Never: for a port of its own that speaks none.
    Disable,
}

/// What a new endpoint is.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthInitialState {
    /// It gets requests.
    #[default]
    Healthy,
    /// It gets none before its first good check.
    Pending,
}

/// The CustomResourceDefinition of HealthCheckPolicy, generated from the types above.
pub const HEALTH_CRD_YAML: &str = include_str!("../yaml/healthcheckpolicies.sluice.dev.yaml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{HEALTH_CRD_YAML, HealthCheckPolicy};
    use kube::CustomResourceExt;

    /// `UPDATE_CRDS=1 cargo test -p sluice-crds` writes the file anew.
    #[test]
    fn the_crd_in_yaml_is_that_of_the_types() {
        let crd = serde_json::to_value(HealthCheckPolicy::crd()).unwrap();
        let text = format!(
            "# Generated from crds/src/health.rs by UPDATE_CRDS=1 cargo test -p sluice-crds\n{}",
            serde_saphyr::to_string(&crd).unwrap()
        );
        if std::env::var_os("UPDATE_CRDS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/yaml/healthcheckpolicies.sluice.dev.yaml");
            std::fs::write(path, text).unwrap();
            return;
        }
        assert!(text == HEALTH_CRD_YAML, "stale: run UPDATE_CRDS=1 cargo test -p sluice-crds");
        let read: serde_json::Value = serde_saphyr::from_str(HEALTH_CRD_YAML).unwrap();
        assert_eq!(read, crd);
    }
}
