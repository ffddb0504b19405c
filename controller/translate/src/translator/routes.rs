//! The part of the translator that runs routes, and counts what they attach to and call.

use super::Translator;
use crate::backend::BackendId;
use crate::reads::{Key, Node};
use crate::route::{self, RouteOutput, StreamOutput};
use crate::status::Status;
use crate::traffic;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{
    BackendKey, ListenerKey, Resource, ResourceKey, Route, RouteKey, StreamRoute, StreamRouteKey,
};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Translator {
    pub(super) fn run_route(&mut self, node: &Node, reference: &ObjectRef) {
        let used = self.route_use(node, reference);
        let model = self.state.store.routes.get(reference);
        let domain = &self.state.store.domain;
        let named = model.into_iter().flat_map(|it| route::backend_ids(it, domain));
        let policies = self.state.store.traffic_of(reference).into_iter();
        let ids = named.chain(policies.filter_map(|it| traffic::backend_id(it, domain))).collect();
        let ids = self.prepare_backends(ids);
        let view = View::new(&self.state);
        let model = view.route(reference);
        let output = model.map(|model| route::compute(&view, model)).unwrap_or_default();
        let reads = if model.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.install_shapes(reference, &output.shapes);
        self.install_route(node, reference, output);
        let uses = self.route_use(node, reference);
        self.mark_policies(used.as_ref(), uses.as_ref());
        self.mark_traffic(reference);
    }

    /// Runs the backends that nobody has named before.
    pub(super) fn prepare_backends(&mut self, ids: Vec<BackendId>) -> Vec<Arc<BackendId>> {
        let ids: Vec<_> = ids.into_iter().map(|id| self.known_backend(id)).collect();
        for id in &ids {
            if !self.state.backends.contains_key(id) {
                self.run_backend(&Node::Backend(id.clone()), id);
            }
        }
        ids
    }

    pub(super) fn drop_unread(&mut self, ids: &[Arc<BackendId>]) {
        for id in ids {
            if !self.graph.is_read(&Key::Backend(id.clone())) {
                self.drop_backend(id);
            }
        }
    }

    /// The handle that is in use for a backend's name, so that there is only one.
    fn known_backend(&self, id: BackendId) -> Arc<BackendId> {
        let known = self.state.backends.get_key_value(&id).map(|(same, _)| same.clone());
        known.unwrap_or_else(|| Arc::new(id))
    }

    pub(super) fn install_route(&mut self, node: &Node, reference: &ObjectRef, mut output: RouteOutput) {
        for rule in output.route.iter_mut().chain(&mut output.mesh).flat_map(|it| &mut it.rules) {
            rule.backends = self.shared_backends.get(rule.backends.clone());
        }
        self.output.set_problems(node, output.problems);
        let status = output.status.map(|it| Status::Route(self.shared_statuses.get(Arc::new(it))));
        self.output.set_status(reference, status);
        let key = format!("{}/{}/{}", reference.kind, reference.namespace, reference.name);
        self.replace_route(RouteKey::new(format!("Mesh/{key}")), output.mesh);
        self.replace_route(RouteKey::new(key), output.route);
        self.install_accepted(reference, output.accepted);
    }

    /// Puts a route in the place of the one with its key, and counts what it calls.
    pub(super) fn replace_route(&mut self, key: RouteKey, route: Option<Route>) {
        let old = self.output.snapshot.routes.get(&key).cloned();
        if old.as_deref() == route.as_ref() {
            return;
        }
        let named = route.iter().flat_map(route::backend_keys);
        self.count_users(old.iter().flat_map(|it| route::backend_keys(it)), named);
        match route {
            Some(route) => self.output.put(Resource::Route(Arc::new(route))),
            None => self.output.remove(ResourceKey::Route(key)),
        }
    }

    /// The same for a route of whole connections.
    pub(super) fn replace_stream(&mut self, key: StreamRouteKey, route: Option<StreamRoute>) {
        let old = self.output.snapshot.stream_routes.get(&key).cloned();
        if old.as_deref() == route.as_ref() {
            return;
        }
        let named = route.iter().flat_map(route::stream_backend_keys);
        self.count_users(old.iter().flat_map(|it| route::stream_backend_keys(it)), named);
        match route {
            Some(route) => self.output.put(Resource::StreamRoute(Arc::new(route))),
            None => self.output.remove(ResourceKey::StreamRoute(key)),
        }
    }

    /// Notes which listeners accepted a route, and counts them there.
    fn install_accepted(&mut self, reference: &ObjectRef, accepted: Vec<(ListenerKey, ObjectRef)>) {
        let old = self.accepted.get(reference).cloned().unwrap_or_default();
        if *old == *accepted {
            return;
        }
        for (listener, gateway) in old.iter() {
            self.dirty.insert(Node::Render(gateway.clone()));
            leave_count(&mut self.attached, listener);
        }
        for (listener, gateway) in &accepted {
            self.dirty.insert(Node::Render(gateway.clone()));
            *self.attached.entry(listener.clone()).or_default() += 1;
        }
        if accepted.is_empty() {
            self.accepted.remove(reference);
        } else {
            let places = self.shared_places.get(accepted.into());
            self.accepted.insert(reference.clone(), places);
        }
    }

    pub(super) fn run_stream(&mut self, node: &Node, reference: &ObjectRef) {
        let used = self.route_use(node, reference);
        let model = self.state.store.streams.get(reference);
        let domain = &self.state.store.domain;
        let ids = model.into_iter().flat_map(|it| route::stream_backend_ids(it, domain)).collect();
        let ids = self.prepare_backends(ids);
        let view = View::new(&self.state);
        let model = view.stream(reference);
        let output = model.map(|model| route::compute_stream(&view, model)).unwrap_or_default();
        let reads = if model.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.install_shapes(reference, &output.shapes);
        self.install_stream(node, reference, output);
        let uses = self.route_use(node, reference);
        self.mark_policies(used.as_ref(), uses.as_ref());
    }

    fn install_stream(&mut self, node: &Node, reference: &ObjectRef, mut output: StreamOutput) {
        for route in output.route.iter_mut().chain(&mut output.mesh) {
            route.backends = self.shared_backends.get(route.backends.clone());
        }
        self.output.set_problems(node, output.problems);
        let status = output.status.map(|it| Status::Route(self.shared_statuses.get(Arc::new(it))));
        self.output.set_status(reference, status);
        let key = route::stream_key(reference);
        self.replace_stream(StreamRouteKey::new(format!("Mesh/{key}")), output.mesh);
        self.replace_stream(key, output.route);
        self.install_accepted(reference, output.accepted);
    }

    /// Counts how many backendRefs of attached routes name each backend.
    pub(super) fn count_users<'a>(
        &mut self,
        old: impl Iterator<Item = &'a BackendKey>,
        new: impl Iterator<Item = &'a BackendKey>,
    ) {
        for key in new {
            let users = self.backend_users.entry(key.clone()).or_default();
            *users += 1;
            if *users == 1 {
                self.dirty.insert(Node::Publish(key.clone()));
            }
        }
        for key in old {
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
