//! Routes: which requests of which listeners go where.

use crate::duration;
use crate::{BackendKey, Fail, Filter, HostPattern, ListenerKey, Match, Origin, RouteKey, RouteTraffic};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// One HTTPRoute or GRPCRoute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `KIND/NAMESPACE/NAME`.
    pub key: RouteKey,
    /// The route object.
    pub origin: Origin,
    /// Which answers a miss and a failure get.
    pub kind: RouteKind,
    /// Creation time in seconds since 1970: the older of two equal matches wins, then `NAMESPACE/NAME` decides.
    pub created_s: i64,
    /// Listeners that accepted the route; empty when none did.
    pub attachments: Box<[Attachment]>,
    /// In the order of the manifest; earlier wins between equal matches.
    pub rules: Box<[Rule]>,
    /// What TrafficPolicies set for its rules: above the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Box<RouteTraffic>>,
}

/// Which kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute: errors are answered as gRPC statuses.
    Grpc,
}

/// A listener and the hosts for which the route answers there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The listener.
    pub listener: ListenerKey,
    /// Intersection of the listener's and the route's hosts; never empty. Shared with the tables.
    pub hostnames: Arc<[HostPattern]>,
}

/// One entry of `rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Position in the manifest, from 0.
    pub index: u32,
    /// `rules[].name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// Never empty. Shared with what was read from the manifest.
    pub matches: Arc<[Match]>,
    /// In order.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub filters: Box<[Filter]>,
    /// Empty without a redirect: 500. Shared by the rules of all routes that write the same.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub backends: Arc<[WeightedBackend]>,
    /// Time bounds; `None`: none.
    #[serde(default, with = "timeouts")]
    pub timeouts: Option<Box<Timeouts>>,
    /// When and how often to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// Keeps a client at its endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Box<SessionPersistence>>,
}

/// Few rules bound times, and each has the field: `{}`.
mod timeouts {
    use super::Timeouts;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Box<Timeouts>>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(timeouts) => timeouts.serialize(to),
            None => Timeouts::default().serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Timeouts>>, D::Error> {
        Ok(Timeouts::deserialize(from)?.boxed())
    }
}

/// A backend and its share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightedBackend {
    /// Where to.
    pub target: BackendTarget,
    /// Share of the sum of all weights; 0: none.
    pub weight: u32,
    /// Filters of the backendRef, after the rule's.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub filters: Box<[Filter]>,
}

/// A backend, or what to answer in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendTarget {
    /// A backend of the snapshot.
    Backend(BackendKey),
    /// The reference does not resolve; it keeps its share of the weight.
    Fail(Box<Fail>),
}

/// GEP-1742. `None` is no bound (also written as `0s`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Timeouts {
    /// From the first byte of the request to the last of the response, over all tries. 504.
    #[serde(default, with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One try. 504.
    #[serde(default, with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

impl Timeouts {
    /// These bounds, and those of `below` where there is none.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self {
            request: self.request.or(below.request),
            backend_request: self.backend_request.or(below.backend_request),
        }
    }

    /// Nothing when no time is bounded.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// GEP-1731.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Status codes that are tried again.
    pub codes: Vec<u16>,
    /// Tries after the first.
    pub attempts: u32,
    /// Least time between two tries.
    #[serde(with = "duration::ms")]
    pub backoff: Duration,
}

/// GEP-1619. The session's endpoint wins over weights, also over weight 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPersistence {
    /// Name of the cookie or header.
    pub name: String,
    /// What carries the session.
    pub token: SessionToken,
    /// How long a session lasts at most.
    #[serde(default, with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
}

/// What carries the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionToken {
    /// A cookie that ends with the browser's session.
    SessionCookie,
    /// A cookie with `Max-Age`, from the absolute timeout.
    PermanentCookie,
    /// A header that the client repeats.
    Header,
}
