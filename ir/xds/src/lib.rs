//! Delta xDS with our own type URLs: the wire between the controller and its data planes.
//!
//! The protocol is the incremental aggregated discovery service of `envoy.service.discovery.v3`, with its field
//! numbers, so that a second control plane, other clients and standard tools know it. The resources are those of
//! [`sluice_ir`], one type URL for each kind ([`type_url`]), in the [wire form](sluice_ir::wire).
//!
//! What we add stays within what the protocol leaves open:
//!
//! * the version of a resource is a hash of its bytes ([`Packed`]), the same on every replica, so that a data plane
//!   may resume anywhere;
//! * responses that belong together carry one [`BatchMark`] in `system_version_info`, and the data plane takes them
//!   over at once, when the last has come;
//! * a data plane names the Kubernetes node that it runs on ([`HOST`]), and learns where that is;
//! * a sidecar asks for destinations when somebody calls them ([`Destination`]);
//! * a refusal names its resources in the details of `error_detail` ([`Refusal`]): the others of the batch are served.
//!
//! [`peers`] is the small second service by which replicas of the controller tell each other what their data planes
//! have acknowledged; [`obtain`] the third, by which data planes have certificates obtained at handshakes; [`identity`] the
//! fourth, by which workloads get certificates of their own, and [`svid`] says which of those are believed. Everything
//! here is messages and plumbing, with the one way to [`connect`]: who may connect, what is sent when and what is kept
//! is decided by `controller/src/serve`, `controller/src/identity`, `proxy/src/sync` and `proxy/src/identity`.

mod batch;
pub mod client;
pub mod connect;
mod destination;
pub mod identity;
mod message;
pub mod obtain;
pub mod peers;
mod resource;
pub mod server;
pub mod svid;

pub use batch::BatchMark;
pub use destination::{DESTINATION, Destination, LONGEST_DESTINATION};
pub use message::{
    Any, ControlPlane, DeltaDiscoveryRequest, DeltaDiscoveryResponse, ErrorDetail, Node, Resource, Struct,
    Value,
};
pub use resource::{Packed, Refusal, UnpackError, kind_of, type_url, unpack};

/// Key of a node's metadata: the Kubernetes node that a data plane runs on. The controller answers with where that is
/// (`ControlPlane.data_plane_locality`).
pub const HOST: &str = "NODE_NAME";

/// Path of the one method of the discovery service.
pub const DELTA_PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
