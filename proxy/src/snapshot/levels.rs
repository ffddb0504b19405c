//! Policies of listeners and rules: the levels of a configuration laid over each other, once, when it is compiled.

use super::runtime::BackendRuntime;
use crate::policy::{Kept, PolicyRuntime};
use ahash::AHashMap;
use parking_lot::Mutex;
use sluice_ir::{self as ir, TrafficSettings};
use std::sync::Arc;

/// What rules get at each of their listeners.
pub(super) type ByListener = Box<[(ir::ListenerKey, Arc<PolicyRuntime>)]>;

/// A configuration, and what was compiled of its policies before.
pub(super) struct Levels<'a> {
    pub(super) snapshot: &'a ir::Snapshot,
    pub(super) kept: &'a Mutex<Kept>,
    pub(super) backends: &'a AHashMap<ir::BackendKey, Arc<BackendRuntime>>,
}

impl Levels<'_> {
    /// What holds for requests of a listener whose rules say nothing.
    pub(super) fn of_listener(&self, listener: &ir::Listener) -> Option<TrafficSettings> {
        TrafficSettings::of_levels(self.above(listener).map(Some))
    }

    /// What a listener and its Gateway set, where they set anything.
    pub(super) fn above<'a>(
        &'a self,
        listener: &'a ir::Listener,
    ) -> impl Iterator<Item = &'a TrafficSettings> {
        let gateway = self.snapshot.gateways.get(&listener.gateway);
        let of_gateway = gateway.and_then(|it| it.traffic.as_deref());
        listener.traffic.as_deref().into_iter().chain(of_gateway)
    }

    /// The same, compiled.
    pub(super) fn listener(&self, listener: &ir::Listener) -> Option<Arc<PolicyRuntime>> {
        self.of_listener(listener).map(|it| self.compile(it))
    }

    /// What holds for the rules of a route at each of its listeners, in the order of the rules; nothing for a rule that
    /// takes what its listener has.
    pub(super) fn rules(&self, route: &ir::Route) -> Vec<ByListener> {
        let Some(traffic) = &route.traffic else { return Vec::new() };
        let has_all = traffic.all != TrafficSettings::default();
        let listeners = route.attachments.iter().filter_map(|it| self.snapshot.listeners.get(&it.listener));
        let below: Vec<_> = listeners
            .map(|listener| {
                let below = self.of_listener(listener).unwrap_or_default();
                (listener.key.clone(), traffic.all.over(&below))
            })
            .collect();
        let of_all: ByListener = match has_all {
            true => below.iter().map(|(key, below)| (key.clone(), self.compile(below.clone()))).collect(),
            false => Box::default(),
        };
        let of_rule = |rule: &ir::Rule| match traffic.rules.get(&rule.index) {
            None => of_all.clone(),
            Some(own) => {
                below.iter().map(|(key, below)| (key.clone(), self.compile(own.over(below)))).collect()
            }
        };
        route.rules.iter().map(of_rule).collect()
    }

    fn compile(&self, settings: TrafficSettings) -> Arc<PolicyRuntime> {
        let backend = |key: &ir::BackendKey| self.backends.get(key).cloned();
        Arc::new(PolicyRuntime::compile(settings, &mut self.kept.lock(), backend))
    }
}
