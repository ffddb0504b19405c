//! The whole configuration, and the difference between two of them.

use crate::{
    Backend, BackendKey, Certificate, CertificateKey, Challenge, ChallengeKey, EndpointSet, EndpointSetKey,
    Gateway, GatewayKey, Listener, ListenerKey, Route, RouteKey, StreamRoute, StreamRouteKey, Workloads,
    WorkloadsKey,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything a data plane serves. Resources are shared: a clone copies pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// By `NAMESPACE/NAME`.
    pub gateways: BTreeMap<GatewayKey, Arc<Gateway>>,
    /// By listener.
    pub listeners: BTreeMap<ListenerKey, Arc<Listener>>,
    /// By route.
    pub routes: BTreeMap<RouteKey, Arc<Route>>,
    /// By route.
    pub stream_routes: BTreeMap<StreamRouteKey, Arc<StreamRoute>>,
    /// By backend.
    pub backends: BTreeMap<BackendKey, Arc<Backend>>,
    /// By port of a service.
    pub endpoint_sets: BTreeMap<EndpointSetKey, Arc<EndpointSet>>,
    /// By Secret.
    pub certificates: BTreeMap<CertificateKey, Arc<Certificate>>,
    /// By Gateway, kind and host.
    pub challenges: BTreeMap<ChallengeKey, Arc<Challenge>>,
    /// By namespace.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub workloads: BTreeMap<WorkloadsKey, Arc<Workloads>>,
}

/// One resource of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// A Gateway.
    Gateway(Arc<Gateway>),
    /// A listener.
    Listener(Arc<Listener>),
    /// A route.
    Route(Arc<Route>),
    /// A stream route.
    StreamRoute(Arc<StreamRoute>),
    /// A backend.
    Backend(Arc<Backend>),
    /// Endpoints.
    EndpointSet(Arc<EndpointSet>),
    /// A certificate.
    Certificate(Arc<Certificate>),
    /// A challenge.
    Challenge(Arc<Challenge>),
    /// What governs the workloads of a namespace.
    Workloads(Arc<Workloads>),
}

/// The key of a resource of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceKey {
    /// A Gateway.
    Gateway(GatewayKey),
    /// A listener.
    Listener(ListenerKey),
    /// A route.
    Route(RouteKey),
    /// A stream route.
    StreamRoute(StreamRouteKey),
    /// A backend.
    Backend(BackendKey),
    /// Endpoints.
    EndpointSet(EndpointSetKey),
    /// A certificate.
    Certificate(CertificateKey),
    /// A challenge.
    Challenge(ChallengeKey),
    /// What governs the workloads of a namespace.
    Workloads(WorkloadsKey),
}

impl Resource {
    /// The resource's key.
    pub fn key(&self) -> ResourceKey {
        match self {
            Self::Gateway(it) => ResourceKey::Gateway(it.key.clone()),
            Self::Listener(it) => ResourceKey::Listener(it.key.clone()),
            Self::Route(it) => ResourceKey::Route(it.key.clone()),
            Self::StreamRoute(it) => ResourceKey::StreamRoute(it.key.clone()),
            Self::Backend(it) => ResourceKey::Backend(it.key.clone()),
            Self::EndpointSet(it) => ResourceKey::EndpointSet(it.key.clone()),
            Self::Certificate(it) => ResourceKey::Certificate(it.key.clone()),
            Self::Challenge(it) => ResourceKey::Challenge(it.key.clone()),
            Self::Workloads(it) => ResourceKey::Workloads(it.key.clone()),
        }
    }
}

/// What changed: each key at most once over both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Resources that are gone.
    pub removals: Vec<ResourceKey>,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

/// A delta of so many resources, and a quarter of all, is followed by a look at how the maps are filled.
const MANY: usize = 256;

impl Snapshot {
    /// Applies a delta. Removing what is not there is no error, so that a delta may be applied twice.
    pub fn apply(&mut self, delta: &Delta) {
        self.apply_each(delta);
        if delta.upserts.len() >= MANY && delta.upserts.len() * 4 >= self.len() {
            self.compact();
        }
    }

    /// The resource of a key.
    pub fn get(&self, key: &ResourceKey) -> Option<Resource> {
        Some(match key {
            ResourceKey::Gateway(key) => Resource::Gateway(self.gateways.get(key)?.clone()),
            ResourceKey::Listener(key) => Resource::Listener(self.listeners.get(key)?.clone()),
            ResourceKey::Route(key) => Resource::Route(self.routes.get(key)?.clone()),
            ResourceKey::StreamRoute(key) => Resource::StreamRoute(self.stream_routes.get(key)?.clone()),
            ResourceKey::Backend(key) => Resource::Backend(self.backends.get(key)?.clone()),
            ResourceKey::EndpointSet(key) => Resource::EndpointSet(self.endpoint_sets.get(key)?.clone()),
            ResourceKey::Certificate(key) => Resource::Certificate(self.certificates.get(key)?.clone()),
            ResourceKey::Challenge(key) => Resource::Challenge(self.challenges.get(key)?.clone()),
            ResourceKey::Workloads(key) => Resource::Workloads(self.workloads.get(key)?.clone()),
        })
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.gateways.len()
            + self.listeners.len()
            + self.routes.len()
            + self.stream_routes.len()
            + self.backends.len()
            + self.endpoint_sets.len()
            + self.certificates.len()
            + self.challenges.len()
            + self.workloads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Builds the maps anew: one that was filled key by key in order has nodes that are half empty.
    pub fn compact(&mut self) {
        compact(&mut self.gateways);
        compact(&mut self.listeners);
        compact(&mut self.routes);
        compact(&mut self.stream_routes);
        compact(&mut self.backends);
        compact(&mut self.endpoint_sets);
        compact(&mut self.certificates);
        compact(&mut self.challenges);
        compact(&mut self.workloads);
    }

    fn apply_each(&mut self, delta: &Delta) {
        for resource in &delta.upserts {
            match resource {
                Resource::Gateway(it) => drop(self.gateways.insert(it.key.clone(), it.clone())),
                Resource::Listener(it) => drop(self.listeners.insert(it.key.clone(), it.clone())),
                Resource::Route(it) => drop(self.routes.insert(it.key.clone(), it.clone())),
                Resource::StreamRoute(it) => drop(self.stream_routes.insert(it.key.clone(), it.clone())),
                Resource::Backend(it) => drop(self.backends.insert(it.key.clone(), it.clone())),
                Resource::EndpointSet(it) => drop(self.endpoint_sets.insert(it.key.clone(), it.clone())),
                Resource::Certificate(it) => drop(self.certificates.insert(it.key.clone(), it.clone())),
                Resource::Challenge(it) => drop(self.challenges.insert(it.key.clone(), it.clone())),
                Resource::Workloads(it) => drop(self.workloads.insert(it.key.clone(), it.clone())),
            }
        }
        for key in &delta.removals {
            match key {
                ResourceKey::Gateway(key) => drop(self.gateways.remove(key)),
                ResourceKey::Listener(key) => drop(self.listeners.remove(key)),
                ResourceKey::Route(key) => drop(self.routes.remove(key)),
                ResourceKey::StreamRoute(key) => drop(self.stream_routes.remove(key)),
                ResourceKey::Backend(key) => drop(self.backends.remove(key)),
                ResourceKey::EndpointSet(key) => drop(self.endpoint_sets.remove(key)),
                ResourceKey::Certificate(key) => drop(self.certificates.remove(key)),
                ResourceKey::Challenge(key) => drop(self.challenges.remove(key)),
                ResourceKey::Workloads(key) => drop(self.workloads.remove(key)),
            }
        }
    }

    /// The delta that turns `self` into `newer`. Shared resources are recognised by pointer first, so that the cost
    /// is a walk over the keys and a comparison of what was rebuilt.
    pub fn delta_to(&self, newer: &Self) -> Delta {
        let mut delta = Delta::default();
        diff(&self.gateways, &newer.gateways, &mut delta, Resource::Gateway, ResourceKey::Gateway);
        diff(&self.listeners, &newer.listeners, &mut delta, Resource::Listener, ResourceKey::Listener);
        diff(&self.routes, &newer.routes, &mut delta, Resource::Route, ResourceKey::Route);
        diff(
            &self.stream_routes,
            &newer.stream_routes,
            &mut delta,
            Resource::StreamRoute,
            ResourceKey::StreamRoute,
        );
        diff(&self.backends, &newer.backends, &mut delta, Resource::Backend, ResourceKey::Backend);
        diff(
            &self.endpoint_sets,
            &newer.endpoint_sets,
            &mut delta,
            Resource::EndpointSet,
            ResourceKey::EndpointSet,
        );
        diff(
            &self.certificates,
            &newer.certificates,
            &mut delta,
            Resource::Certificate,
            ResourceKey::Certificate,
        );
        diff(&self.challenges, &newer.challenges, &mut delta, Resource::Challenge, ResourceKey::Challenge);
        diff(&self.workloads, &newer.workloads, &mut delta, Resource::Workloads, ResourceKey::Workloads);
        delta
    }
}

fn compact<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

fn diff<K: Ord + Clone, V: PartialEq>(
    old: &BTreeMap<K, Arc<V>>,
    new: &BTreeMap<K, Arc<V>>,
    delta: &mut Delta,
    upsert: impl Fn(Arc<V>) -> Resource,
    removal: impl Fn(K) -> ResourceKey,
) {
    for (key, value) in new {
        let same = old.get(key).is_some_and(|before| Arc::ptr_eq(before, value) || before == value);
        if !same {
            delta.upserts.push(upsert(value.clone()));
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(key)) {
        delta.removals.push(removal(key.clone()));
    }
}
