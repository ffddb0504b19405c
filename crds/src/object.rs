//! One object of any kind, and the reference that names it.

use crate::{
    AuthorizationPolicy, BackendTlsPolicy, CertificateIssuer, ConfigMap, DestinationRule, EndpointSlice,
    Gateway, GatewayClass, GatewayParameters, GrpcRoute, HealthCheckPolicy, HttpRoute, Kind, ListenerSet,
    Name, Namespace, Node, PeerAuthentication, Pod, ReferenceGrant, RequestAuthentication, Secret, Service,
    ServiceEntry, Sidecar, TcpRoute, Telemetry, TlsRoute, TrafficPolicy, UdpRoute, WorkloadEntry,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Names an object: kind, namespace, name. Ordered by kind, then namespace, then name.
///
/// A handle of one word: who speaks of an object keeps 8 bytes for it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef(Arc<ObjectName>);

/// The parts of an [`ObjectRef`], which derefs to them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Name,
    /// The name.
    pub name: Name,
}

impl ObjectRef {
    /// The reference with these parts; the namespace of a cluster-scoped kind is dropped.
    pub fn new(kind: Kind, namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        let namespace = if kind.is_namespaced() { namespace.into() } else { Name::default() };
        Self(Arc::new(ObjectName { kind, namespace, name: name.into() }))
    }
}

impl Deref for ObjectRef {
    type Target = ObjectName;

    fn deref(&self) -> &ObjectName {
        &self.0
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ObjectRef {
    /// `HTTPRoute shop/cart`, `GatewayClass sluice`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

macro_rules! object {
    ($($kind:ident($type:ty)),+ $(,)?) => {
        /// An object of any kind that Sluice reads.
        #[derive(Clone, PartialEq)]
        pub enum Object {
            $(
                #[doc = concat!("A ", stringify!($kind), ".")]
                $kind(Box<$type>),
            )+
        }

        impl Object {
            /// The object's kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// The object's metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(it) => &it.metadata,)+
                }
            }

            /// The object's metadata, for filling in defaults.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$kind(it) => &mut it.metadata,)+
                }
            }

            pub(crate) fn deserialize(
                kind: Kind,
                value: serde_json::Value,
            ) -> Result<Self, serde_path_to_error::Error<serde_json::Error>> {
                match kind {
                    $(Kind::$kind => Ok(Self::$kind(Box::new(serde_path_to_error::deserialize(value)?))),)+
                }
            }
        }

        impl Serialize for Object {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(it) => it.serialize(to),)+
                }
            }
        }
    };
}

object!(
    GatewayClass(GatewayClass),
    Gateway(Gateway),
    ListenerSet(ListenerSet),
    HttpRoute(HttpRoute),
    GrpcRoute(GrpcRoute),
    ReferenceGrant(ReferenceGrant),
    BackendTlsPolicy(BackendTlsPolicy),
    TlsRoute(TlsRoute),
    TcpRoute(TcpRoute),
    UdpRoute(UdpRoute),
    Service(Service),
    EndpointSlice(EndpointSlice),
    Secret(Secret),
    ConfigMap(ConfigMap),
    Namespace(Namespace),
    Node(Node),
    Pod(Pod),
    ServiceEntry(ServiceEntry),
    WorkloadEntry(WorkloadEntry),
    DestinationRule(DestinationRule),
    Sidecar(Sidecar),
    AuthorizationPolicy(AuthorizationPolicy),
    PeerAuthentication(PeerAuthentication),
    RequestAuthentication(RequestAuthentication),
    Telemetry(Telemetry),
    GatewayParameters(GatewayParameters),
    CertificateIssuer(CertificateIssuer),
    TrafficPolicy(TrafficPolicy),
    HealthCheckPolicy(HealthCheckPolicy),
);

impl fmt::Debug for Object {
    /// Only the name: an object may be a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.reference())
    }
}

impl Object {
    /// The reference that names this object.
    pub fn reference(&self) -> ObjectRef {
        let metadata = self.metadata();
        ObjectRef::new(
            self.kind(),
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use crate::Object;
    use serde_json::json;

    #[test]
    fn a_secret_prints_only_its_name() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": "edge"},
                            "stringData": {"tls.key": "very private"}});
        let shown = format!("{:?}", Object::parse(secret, "default").unwrap());
        assert!(shown.contains("Object(Secret edge/web)") && !shown.contains("private"), "{shown}");
    }
}
