//! The part of the translator that runs routes, and counts what they attach to and call.

use super::Translator;
use crate::backend::BackendId;
use crate::reads::{Key, Node};
use crate::route::{self, RouteOutput};
use crate::status::Status;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{Resource, ResourceKey, Route, RouteKey};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Translator {
    pub(super) fn run_route(&mut self, node: &Node, reference: &ObjectRef) {
        let used = self.route_use(node, reference);
        let model = self.state.store.routes.get(reference);
        let ids = model.into_iter().flat_map(|it| route::backend_ids(it));
        let ids: Vec<_> = ids.map(|id| self.known_backend(id)).collect();
        for id in &ids {
            if !self.state.backends.contains_key(id) {
                self.run_backend(&Node::Backend(id.clone()), id);
            }
        }
        let view = View::new(&self.state);
        let model = view.route(reference);
        let output = model.map(|model| route::compute(&view, model)).unwrap_or_default();
        let reads = if model.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        for id in &ids {
            if !self.graph.is_read(&Key::Backend(id.clone())) {
                self.drop_backend(id);
            }
        }
        self.install_route(node, reference, output);
        let uses = self.route_use(node, reference);
        self.mark_policies(used.as_ref(), uses.as_ref());
    }

    /// The handle that is in use for a backend's name, so that there is only one.
    fn known_backend(&self, id: BackendId) -> Arc<BackendId> {
        let known = self.state.backends.get_key_value(&id).map(|(same, _)| same.clone());
        known.unwrap_or_else(|| Arc::new(id))
    }

    pub(super) fn install_route(&mut self, node: &Node, reference: &ObjectRef, mut output: RouteOutput) {
        for rule in output.route.iter_mut().flat_map(|it| &mut it.rules) {
            rule.backends = self.shared_backends.get(rule.backends.clone());
        }
        self.output.set_problems(node, output.problems);
        let status = output.status.map(|it| Status::Route(self.shared_statuses.get(Arc::new(it))));
        self.output.set_status(reference, status);
        let key = RouteKey::new(format!("{}/{}/{}", reference.kind, reference.namespace, reference.name));
        let old = self.output.snapshot.routes.get(&key).cloned();
        if old.as_deref() != output.route.as_ref() {
            self.count_users(old.as_deref(), output.route.as_ref());
            match output.route {
                Some(route) => self.output.put(Resource::Route(Arc::new(route))),
                None => self.output.remove(ResourceKey::Route(key)),
            }
        }
        let old = self.accepted.get(reference).cloned().unwrap_or_default();
        if *old != *output.accepted {
            for (listener, gateway) in old.iter() {
                self.dirty.insert(Node::Render(gateway.clone()));
                leave_count(&mut self.attached, listener);
            }
            for (listener, gateway) in &output.accepted {
                self.dirty.insert(Node::Render(gateway.clone()));
                *self.attached.entry(listener.clone()).or_default() += 1;
            }
            if output.accepted.is_empty() {
                self.accepted.remove(reference);
            } else {
                let places = self.shared_places.get(output.accepted.into());
                self.accepted.insert(reference.clone(), places);
            }
        }
    }

    pub(super) fn run_stream(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let computed = view.stream(reference).map(|model| route::compute_stream(&view, model));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Route(Arc::new(it))));
        self.output.set_problems(node, problems);
    }

    /// Counts how many backendRefs of attached routes name each backend.
    pub(super) fn count_users(&mut self, old: Option<&Route>, new: Option<&Route>) {
        for key in new.into_iter().flat_map(route::backend_keys) {
            let users = self.backend_users.entry(key.clone()).or_default();
            *users += 1;
            if *users == 1 {
                self.dirty.insert(Node::Publish(key.clone()));
            }
        }
        for key in old.into_iter().flat_map(route::backend_keys) {
            if leave_count(&mut self.backend_users, key) {
                self.dirty.insert(Node::Publish(key.clone()));
            }
        }
    }
}

/// Counts down; whether that was the last.
fn leave_count<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count = count.saturating_sub(1);
    let is_last = *count == 0;
    if is_last {
        counts.remove(key);
    }
    is_last
}
