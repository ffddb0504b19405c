//! Pools and their endpoints as `/debug` shows them.

use super::{ChecksSnapshot, EndpointPool, Place};
use crate::upstream::endpoint::millis;
use crate::upstream::health::HealthSnapshot;
use crate::upstream::tier::Tier;
use serde::Serialize;
use sluice_ir::{EndpointSetKey, EndpointState};
use std::net::SocketAddr;
use std::time::Instant;

impl EndpointPool {
    /// The pool as it is now, for `/debug`.
    pub fn snapshot(&self) -> PoolSnapshot {
        let (list, now) = (self.list.load(), Instant::now());
        let show = |tier: &Tier, state| {
            let places = tier.all.places.iter();
            let levels = tier.levels();
            let shown = |place: &Place| EndpointSnapshot {
                level: levels.get(&place.endpoint.address).copied(),
                ..EndpointSnapshot::new(place, state, now)
            };
            places.map(shown).collect::<Vec<_>>()
        };
        let mut endpoints = show(&list.ready, EndpointState::Ready);
        endpoints.extend(show(&list.draining, EndpointState::Draining));
        let names = self.asked.load().as_ref().map(|asked| asked.len());
        let (key, ejections, checks) = (self.key.clone(), self.ejections(), self.checks());
        PoolSnapshot { key, ejections, checks, endpoints, names }
    }
}

/// A pool as `/debug` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct PoolSnapshot {
    /// Which endpoints these are.
    pub key: EndpointSetKey,
    /// How often an endpoint was sent to rest since the start.
    pub ejections: u64,
    /// Health checks since the start; nothing where nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksSnapshot>,
    /// Ready ones first.
    pub endpoints: Vec<EndpointSnapshot>,
    /// How many names are kept that only clients say; absent where endpoints are all known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<usize>,
}

/// An endpoint as `/debug` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointSnapshot {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it takes new requests.
    pub state: EndpointState,
    /// Relative share.
    pub weight: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Consecutive failures.
    pub failures: u32,
    /// How much longer it rests; 0: it does not.
    pub rests_ms: u64,
    /// Its place, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Its level where places come in an order, 0 the nearest; where they have shares, which of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<usize>,
    /// What health checks say; nothing where nobody asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSnapshot>,
}

impl EndpointSnapshot {
    /// Whether health checks take it out.
    pub fn is_unhealthy(&self) -> bool {
        self.health.as_ref().is_some_and(|it| it.state.is_out())
    }

    fn new(place: &Place, state: EndpointState, now: Instant) -> Self {
        Self {
            address: place.endpoint.address,
            state,
            weight: place.weight,
            in_flight: place.endpoint.in_flight(),
            failures: place.endpoint.failures(),
            rests_ms: place.endpoint.rest_ends_ms().saturating_sub(millis(now)),
            locality: place.topology.as_ref().map(|it| it.locality.to_string()).filter(|it| !it.is_empty()),
            level: None,
            health: place.endpoint.health(now),
        }
    }
}
