//! What a delta touches, and what names what it touches.

use ahash::AHashSet;
use sluice_ir::{self as ir, Resource, ResourceKey};
use std::collections::{BTreeSet, HashSet};

/// What a delta touches, by kind.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) gateways: bool,
    pub(super) listeners: BTreeSet<ir::ListenerKey>,
    pub(super) certificates: HashSet<ir::CertificateKey, ahash::RandomState>,
    pub(super) challenges: bool,
    pub(super) endpoints: bool,
    pub(super) workloads: bool,
    pub(super) backends: AHashSet<ir::BackendKey>,
    pub(super) routes: BTreeSet<ir::RouteKey>,
    pub(super) streams: BTreeSet<ir::StreamRouteKey>,
}

impl Touched {
    /// What a delta touches.
    pub(super) fn by(delta: &ir::Delta) -> Self {
        let mut touched = Self::default();
        for key in delta.upserts.iter().map(Resource::key).chain(delta.removals.iter().cloned()) {
            match key {
                ResourceKey::Gateway(_) => touched.gateways = true,
                ResourceKey::Listener(key) => drop(touched.listeners.insert(key)),
                ResourceKey::Certificate(key) => drop(touched.certificates.insert(key)),
                ResourceKey::Challenge(_) => touched.challenges = true,
                ResourceKey::Route(key) => drop(touched.routes.insert(key)),
                ResourceKey::StreamRoute(key) => drop(touched.streams.insert(key)),
                ResourceKey::Backend(key) => drop(touched.backends.insert(key)),
                ResourceKey::EndpointSet(_) => touched.endpoints = true,
                ResourceKey::Workloads(_) => touched.workloads = true,
            }
        }
        touched
    }

    /// Whether ports may come, go or change hands.
    pub(super) fn ports(&self) -> bool {
        self.gateways || !self.listeners.is_empty()
    }
}

/// Routes that a delta changes or removes.
pub(super) fn removed_and_changed_routes(delta: &ir::Delta) -> impl Iterator<Item = &ir::RouteKey> {
    let changed = delta.upserts.iter().filter_map(|resource| match resource {
        Resource::Route(route) => Some(&route.key),
        _ => None,
    });
    let removed = delta.removals.iter().filter_map(|key| match key {
        ResourceKey::Route(key) => Some(key),
        _ => None,
    });
    changed.chain(removed)
}

/// Whether a target is one of these backends.
pub(super) fn names(target: &ir::BackendTarget, backends: &AHashSet<ir::BackendKey>) -> bool {
    match target {
        ir::BackendTarget::Backend(key) => backends.contains(key),
        ir::BackendTarget::Fail(_) => false,
    }
}

/// Whether a route leads requests or copies to one of these backends, or asks it.
pub(super) fn names_any(route: &ir::Route, backends: &AHashSet<ir::BackendKey>) -> bool {
    let named = |target: &ir::BackendTarget| names(target, backends);
    let called = |filters: &[ir::Filter]| filters.iter().filter_map(ir::Filter::target).any(named);
    let of_rules = route.rules.iter().any(|rule| {
        called(&rule.filters)
            || rule.backends.iter().any(|backend| named(&backend.target) || called(&backend.filters))
    });
    of_rules || route.traffic.iter().flat_map(|it| it.targets()).any(named)
}
