//! `extAuth` of a TrafficPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// External authorisation: a server is asked whether a request may go on. The fields that the ExternalAuth filter of an
/// HTTPRoute has mean the same here.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtAuthSpec {
    /// Nobody is asked, whatever a less specific policy says. Not together with other fields. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Where the server is. In another namespace it needs a ReferenceGrant there, from kind TrafficPolicy of group
    /// sluice.dev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<AuthBackendRef>,
    /// What it is asked in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ExtAuthProtocol>,
    /// For protocol HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthSpec>,
    /// For protocol GRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuthSpec>,
    /// Whether the server is shown bodies of requests. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBodySpec>,
    /// Time for its answer: 1ms to 60s. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub timeout: Option<String>,
    /// What becomes of requests when it can't be asked. Default: Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnAuthFailure>,
    /// Status of the answer when it can't be asked. Default: 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub failure_status: Option<i64>,
}

/// A backend, as a backendRef of an HTTPRoute names it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthBackendRef {
    /// Its group. Default: that of Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Service, or of group networking.istio.io Hostname or Subset. Default: Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Default: the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

/// What a server is asked in.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtAuthProtocol {
    /// A request of the same method, path and host, without its body; status 200 lets the request go on.
    HTTP,
    /// Envoy's `envoy.service.auth.v3.Authorization/Check`.
    GRPC,
}

/// Terms of asking in HTTP.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthSpec {
    /// Put before the request's path. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_024))]
    pub path: Option<String>,
    /// Fields of the request that are sent besides Host, Authorization and Content-Length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allowed_headers: Vec<String>,
    /// Fields of the answer that the backend gets; what a client sends under these names never reaches the backend.
    /// Default: all that can be a request's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allowed_response_headers: Vec<String>,
}

/// Terms of asking in gRPC.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAuthSpec {
    /// Only these fields of the request are sent. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allowed_headers: Vec<String>,
    /// Told with every request, as `context_extensions`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
}

/// Whether a server is shown bodies.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBodySpec {
    /// Bytes of a body that it is shown; a larger body gets 413. 0: none.
    #[schemars(range(min = 0, max = 65_536))]
    pub max_size: i64,
}

/// What becomes of requests when the server can't be asked.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnAuthFailure {
    /// They are refused.
    Deny,
    /// They go on as if there were no server. What it answers, also what can't be understood, still counts.
    Allow,
}
