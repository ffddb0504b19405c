//! The messages of `envoy/service/discovery/v3/discovery.proto` and what they contain, by field number. Fields that we
//! neither write nor read are left out: decoders skip them.

use bytes::Bytes;
use std::collections::HashMap;

/// `DeltaDiscoveryRequest`: a subscription, an acknowledgement or a refusal.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Who asks; in the first request of a stream.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// Which kind of resource.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// `*`: everything of the kind that belongs to the node.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// What is no longer wanted; `*`: the client ends and does not come again.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// What the client has from before, name to version; in the first request of a kind.
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: HashMap<String, String>,
    /// Nonce of the response that this answers; empty in a subscription.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Present: something was refused.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<ErrorDetail>,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// See [`BatchMark`](crate::BatchMark).
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// New and changed resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Which kind of resource.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated by the answer.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of resources that are gone.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
    /// Who answers.
    #[prost(message, optional, tag = "7")]
    pub control_plane: Option<ControlPlane>,
}

/// `Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// Hash of the bytes.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Type and bytes.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Key.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// Type of the value.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The value's bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Name of the pod.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `NAMESPACE/NAME` of the Gateway.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// See [`HOST`](crate::HOST).
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    /// `sluice-gateway`.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
    /// Its version.
    #[prost(string, tag = "7")]
    pub user_agent_version: String,
    /// Type URLs that the client is going to subscribe to; the server answers when it has heard of each. Kinds of a
    /// newer control plane are not among them and are not sent.
    #[prost(string, repeated, tag = "10")]
    pub client_features: Vec<String>,
}

/// `envoy.config.core.v3.ControlPlane`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ControlPlane {
    /// Name of the controller's pod.
    #[prost(string, tag = "1")]
    pub identifier: String,
    /// Where the data plane runs that is answered, as `REGION/ZONE/SUBZONE`; empty: nobody knows. Envoy's message has no
    /// such field: others skip it.
    #[prost(string, tag = "1000")]
    pub data_plane_locality: String,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    /// By name.
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, Value>,
}

/// `google.protobuf.Value`; only texts are read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// A text.
    #[prost(string, optional, tag = "3")]
    pub string_value: Option<String>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ErrorDetail {
    /// A gRPC status code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// [`Refusal`](crate::Refusal)s.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}
