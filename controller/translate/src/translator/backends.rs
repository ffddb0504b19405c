//! The part of the translator that runs backends and endpoints, and decides which of them the snapshot has.

use super::Translator;
use crate::backend::{self, BackendId, BackendOutcome, RefFailure, Resolved, Source};
use crate::reads::{Key, Node};
use crate::view::View;
use sluice_ir::{BackendKey, EndpointSetKey, Resource, ResourceKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Translator {
    pub(super) fn run_backend(&mut self, node: &Node, id: &Arc<BackendId>) {
        let view = View::new(&self.state);
        let outcome = backend::compute(&view, id);
        let reads = view.into_reads();
        self.note_reads(node, reads);
        let old = self.state.backends.get(id).cloned();
        if old.as_ref().is_some_and(|old| **old == outcome) {
            return;
        }
        let is_same_to_routes =
            old.as_deref().is_some_and(|old| seen_by_routes(old) == seen_by_routes(&outcome));
        self.unlink_backend(id, old.as_deref());
        if let Ok(resolved) = &outcome {
            let backend = &resolved.backend;
            self.backends_by_key.entry(backend.key.clone()).or_default().insert(id.clone());
            self.backends_by_endpoints.entry(backend.endpoints.clone()).or_default().insert(id.clone());
            self.dirty.insert(Node::Publish(backend.key.clone()));
            self.dirty.insert(Node::Endpoints(backend.endpoints.clone()));
        }
        self.mark_policies_of_source(old.as_deref());
        self.mark_policies_of_source(Some(&outcome));
        self.state.backends.insert(id.clone(), Arc::new(outcome));
        if !is_same_to_routes {
            self.mark_readers(&Key::Backend(id.clone()));
        }
    }

    /// A policy is told which Gateways call the ServiceEntry that it targets.
    fn mark_policies_of_source(&mut self, outcome: Option<&BackendOutcome>) {
        if let Some(Ok(Resolved { source: Source::Entry { entry, .. }, .. })) = outcome {
            self.mark_policies_of(entry);
        }
    }

    pub(super) fn drop_backend(&mut self, id: &Arc<BackendId>) {
        let old = self.state.backends.remove(id);
        self.unlink_backend(id, old.as_deref());
        let node = Node::Backend(id.clone());
        self.dirty.remove(&node);
        self.graph.set(&node, Vec::new());
    }

    pub(super) fn unlink_backend(&mut self, id: &BackendId, old: Option<&BackendOutcome>) {
        let Some(Ok(old)) = old else { return };
        let backend = &old.backend;
        leave(&mut self.backends_by_key, &backend.key, id);
        leave(&mut self.backends_by_endpoints, &backend.endpoints, id);
        self.dirty.insert(Node::Publish(backend.key.clone()));
        self.dirty.insert(Node::Endpoints(backend.endpoints.clone()));
    }

    /// A backend is in the snapshot while an attached route calls it.
    pub(super) fn run_publish(&mut self, key: &BackendKey) {
        let resolved = self.resolved(self.backends_by_key.get(key));
        let backend = resolved.map(|it| it.backend.clone());
        let is_used = self.backend_users.contains_key(key);
        let rules = resolved.filter(|_| is_used).map(|it| it.rules.clone()).unwrap_or_default();
        self.follow(key, rules);
        if let Some(backend) = &backend {
            self.dirty.insert(Node::Endpoints(backend.endpoints.clone()));
        }
        match backend.filter(|_| is_used) {
            Some(backend) => self.output.put(Resource::Backend(backend)),
            None => self.output.remove(ResourceKey::Backend(key.clone())),
        }
    }

    pub(super) fn run_endpoints(&mut self, node: &Node, key: &EndpointSetKey) {
        let ids = self.backends_by_endpoints.get(key);
        let is_used = |id: &&Arc<BackendId>| {
            let backend = self.state.backends.get(*id).and_then(|it| it.as_ref().as_ref().ok());
            backend.is_some_and(|it| self.backend_users.contains_key(&it.backend.key))
        };
        let used: BTreeSet<Arc<BackendId>> = ids.into_iter().flatten().filter(is_used).cloned().collect();
        let Some(source) = self.resolved(Some(&used)).map(|it| it.source.clone()) else {
            self.output.remove(ResourceKey::EndpointSet(key.clone()));
            self.output.set_problems(node, Vec::new());
            self.note_reads(node, Vec::new());
            return;
        };
        let view = View::new(&self.state);
        let (endpoints, problems) = backend::endpoints(&view, key, &source);
        let reads = view.into_reads();
        self.note_reads(node, reads);
        self.output.put(Resource::EndpointSet(Arc::new(endpoints)));
        self.output.set_problems(node, problems);
    }

    /// What the first of some references came to.
    pub(super) fn resolved(&self, ids: Option<&BTreeSet<Arc<BackendId>>>) -> Option<&Resolved> {
        ids.into_iter().flatten().find_map(|id| self.state.backends.get(id)?.as_ref().as_ref().ok())
    }
}

/// What a route takes from a backend that it names: where to send requests, or why not.
fn seen_by_routes(outcome: &BackendOutcome) -> Result<&BackendKey, &RefFailure> {
    outcome.as_ref().map(|it| &it.backend.key)
}

/// Takes `id` out of an index.
fn leave<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Arc<BackendId>>>, key: &K, id: &BackendId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
