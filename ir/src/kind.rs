//! The kinds of resources, as the wire and the disk name them.

use crate::{
    BackendKey, CertificateKey, ChallengeKey, EndpointSetKey, GatewayKey, ListenerKey, Resource, ResourceKey,
    RouteKey, StreamRouteKey, WorkloadsKey,
};
use std::fmt;

/// Which kind of resource.
///
/// The order is that of making: what a kind points at comes before it. Taking away goes the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// [`Certificate`](crate::Certificate).
    Certificate,
    /// [`EndpointSet`](crate::EndpointSet).
    EndpointSet,
    /// [`Backend`](crate::Backend).
    Backend,
    /// [`Gateway`](crate::Gateway).
    Gateway,
    /// [`Challenge`](crate::Challenge).
    Challenge,
    /// [`Listener`](crate::Listener).
    Listener,
    /// [`Route`](crate::Route).
    Route,
    /// [`StreamRoute`](crate::StreamRoute).
    StreamRoute,
    /// [`Workloads`](crate::Workloads).
    Workloads,
}

impl ResourceKind {
    /// Every kind, in the order of making.
    pub const ALL: [Self; 9] = [
        Self::Certificate,
        Self::EndpointSet,
        Self::Backend,
        Self::Gateway,
        Self::Challenge,
        Self::Listener,
        Self::Route,
        Self::StreamRoute,
        Self::Workloads,
    ];

    /// `EndpointSet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "Certificate",
            Self::EndpointSet => "EndpointSet",
            Self::Backend => "Backend",
            Self::Gateway => "Gateway",
            Self::Challenge => "Challenge",
            Self::Listener => "Listener",
            Self::Route => "Route",
            Self::StreamRoute => "StreamRoute",
            Self::Workloads => "Workloads",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The key of a resource of this kind.
    pub fn key(self, name: &str) -> ResourceKey {
        match self {
            Self::Certificate => ResourceKey::Certificate(CertificateKey::new(name)),
            Self::EndpointSet => ResourceKey::EndpointSet(EndpointSetKey::new(name)),
            Self::Backend => ResourceKey::Backend(BackendKey::new(name)),
            Self::Gateway => ResourceKey::Gateway(GatewayKey::new(name)),
            Self::Challenge => ResourceKey::Challenge(ChallengeKey::new(name)),
            Self::Listener => ResourceKey::Listener(ListenerKey::new(name)),
            Self::Route => ResourceKey::Route(RouteKey::new(name)),
            Self::StreamRoute => ResourceKey::StreamRoute(StreamRouteKey::new(name)),
            Self::Workloads => ResourceKey::Workloads(WorkloadsKey::new(name)),
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ResourceKey {
    /// Its kind.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Certificate(_) => ResourceKind::Certificate,
            Self::EndpointSet(_) => ResourceKind::EndpointSet,
            Self::Backend(_) => ResourceKind::Backend,
            Self::Gateway(_) => ResourceKind::Gateway,
            Self::Challenge(_) => ResourceKind::Challenge,
            Self::Listener(_) => ResourceKind::Listener,
            Self::Route(_) => ResourceKind::Route,
            Self::StreamRoute(_) => ResourceKind::StreamRoute,
            Self::Workloads(_) => ResourceKind::Workloads,
        }
    }

    /// Its text, without the kind.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Certificate(key) => key.as_str(),
            Self::EndpointSet(key) => key.as_str(),
            Self::Backend(key) => key.as_str(),
            Self::Gateway(key) => key.as_str(),
            Self::Challenge(key) => key.as_str(),
            Self::Listener(key) => key.as_str(),
            Self::Route(key) => key.as_str(),
            Self::StreamRoute(key) => key.as_str(),
            Self::Workloads(key) => key.as_str(),
        }
    }
}

impl fmt::Display for ResourceKey {
    /// `Route HTTPRoute/shop/cart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.as_str())
    }
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Certificate(_) => ResourceKind::Certificate,
            Self::EndpointSet(_) => ResourceKind::EndpointSet,
            Self::Backend(_) => ResourceKind::Backend,
            Self::Gateway(_) => ResourceKind::Gateway,
            Self::Challenge(_) => ResourceKind::Challenge,
            Self::Listener(_) => ResourceKind::Listener,
            Self::Route(_) => ResourceKind::Route,
            Self::StreamRoute(_) => ResourceKind::StreamRoute,
            Self::Workloads(_) => ResourceKind::Workloads,
        }
    }

    /// The object that caused it.
    pub fn origin(&self) -> &crate::Origin {
        match self {
            Self::Certificate(it) => &it.origin,
            Self::EndpointSet(it) => &it.origin,
            Self::Backend(it) => &it.origin,
            Self::Gateway(it) => &it.origin,
            Self::Challenge(it) => &it.origin,
            Self::Listener(it) => &it.origin,
            Self::Route(it) => &it.origin,
            Self::StreamRoute(it) => &it.origin,
            Self::Workloads(it) => &it.origin,
        }
    }
}
