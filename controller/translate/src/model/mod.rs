//! The objects in our own terms: what the translation needs of each kind, without the copy-shaped types that the
//! generated API has for each place a thing can stand in. Made once, when an object comes in.

mod client_tls;
mod core;
mod entry;
mod gateway;
mod grant;
mod listener;
mod peer_authentication;
mod pod;
mod policy;
mod reference;
mod route;
mod selector;
mod sidecar;
mod stream;
mod traffic;
mod transport;
mod workload;

pub(crate) use client_tls::{ClientTlsModel, ValidationModel};
pub use core::place_of_node;
pub(crate) use core::{
    ConfigMapModel, EntryModel, EntryPort, SecretModel, ServiceModel, ServicePort, SliceModel, host_name,
    port,
};
pub(crate) use entry::{Resolution, is_wildcard, network};
pub(crate) use gateway::{
    AddressModel, ClassModel, GatewayModel, IssuerModel, ParametersModel, ParametersReference, SetModel,
};
pub(crate) use grant::GrantModel;
pub(crate) use listener::{ListenerModel, NamespaceRule};
pub(crate) use peer_authentication::PeerAuthenticationModel;
pub(crate) use pod::{PodModel, has_sidecar, workload};
pub(crate) use policy::{PolicyModel, TargetModel, TrustModel};
pub(crate) use reference::ObjectReference;
pub(crate) use route::{
    AuthModel, BackendModel, BackendReference, Fault, FaultReason, FilterModel, MirrorModel, RouteModel,
    RuleExtras, RuleModel,
};
pub(crate) use selector::Selector;
pub(crate) use sidecar::{EgressModel, OfNamespace, OutboundMode, Remark, SidecarModel};
pub(crate) use stream::StreamModel;
pub(crate) use traffic::{AuthReference, RateServerSecrets, TrafficModel, TrafficTarget};
pub use transport::Transport;
pub(crate) use workload::WorkloadModel;

use sluice_crds::ObjectRef;
use sluice_crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::{GATEWAY_API_GROUP, Kind};

/// Which object, in which generation, how old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) reference: ObjectRef,
    pub(crate) generation: Option<i64>,
    /// Seconds since 1970; 0 where objects have no age (a folder).
    pub(crate) created_s: i64,
}

impl Meta {
    pub(crate) fn read(kind: Kind, metadata: &ObjectMeta) -> Self {
        Self {
            reference: ObjectRef::new(
                kind,
                metadata.namespace.clone().unwrap_or_default(),
                metadata.name.clone().unwrap_or_default(),
            ),
            generation: metadata.generation,
            created_s: metadata.creation_timestamp.as_ref().map_or(0, |it| it.0.as_second()),
        }
    }
}

/// The group of a reference to a Gateway API object: absent means the Gateway API's own.
pub(crate) fn gateway_group(group: Option<&String>) -> &str {
    group.map_or(GATEWAY_API_GROUP, String::as_str)
}

/// A kind as people write it: `Bucket.example.com`, `ConfigMap`.
pub(crate) fn kind_name(kind: &str, group: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}
