//! The translator: takes changes, reruns the computations that read what changed, and says what came of it.

use crate::backend::{self, BackendId, BackendOutcome, Resolved};
use crate::gateway::{self, Facts, GatewayOutput};
use crate::output::Output;
use crate::problem::Problem;
use crate::reads::{Graph, Key, Node};
use crate::route::{self, RouteOutput};
use crate::status::Status;
use crate::store::Store;
use crate::view::{State, View};
use sluice_crds::{Object, ObjectRef};
use sluice_ir::{
    BackendKey, CertificateKey, Delta, EndpointSetKey, GatewayKey, ListenerKey, Resource, ResourceKey, Route,
    RouteKey, Snapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How to translate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of this controller: which GatewayClasses are ours. Default `sluice.dev/gateway-controller`.
    pub controller_name: String,
    /// Whether the objects come from a folder: GatewayClass `sluice` needs no object, and all Gateways share one
    /// host's ports.
    pub standalone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_name: "sluice.dev/gateway-controller".to_owned(), standalone: false }
    }
}

/// A change of one object.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is new or has changed.
    Upsert(Object),
    /// The object is gone.
    Remove(ObjectRef),
}

/// What came of some changes.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// For the data plane.
    pub delta: Delta,
    /// Objects whose status changed or is gone: look it up in [`Translator::statuses`].
    pub statuses: Vec<ObjectRef>,
}

/// Objects in, IR and statuses out.
#[derive(Debug)]
pub struct Translator {
    state: State,
    graph: Graph,
    gateways: BTreeMap<ObjectRef, GatewayOutput>,
    /// Which Gateways serve a certificate.
    certificate_users: BTreeMap<CertificateKey, BTreeSet<ObjectRef>>,
    /// Where each route is attached, and how many routes each listener has.
    accepted: BTreeMap<ObjectRef, Vec<(ListenerKey, Arc<ObjectRef>)>>,
    attached: BTreeMap<ListenerKey, u32>,
    /// Which backends have an endpoint set or a key: different references can come to the same.
    backends_by_key: BTreeMap<BackendKey, BTreeSet<BackendId>>,
    backends_by_endpoints: BTreeMap<EndpointSetKey, BTreeSet<BackendId>>,
    /// How many backendRefs of attached routes name each backend.
    backend_users: BTreeMap<BackendKey, u32>,
    bind_failures: BTreeMap<ListenerKey, String>,
    /// Statuses that each Gateway wrote: its own and its sets'.
    rendered: BTreeMap<ObjectRef, Vec<ObjectRef>>,
    dirty: BTreeSet<Node>,
    output: Output,
}

/// Translates from scratch.
pub fn translate(options: Options, objects: impl IntoIterator<Item = Object>) -> Translator {
    let mut translator = Translator::new(options);
    translator.apply(objects.into_iter().map(Change::Upsert));
    translator
}

impl Translator {
    /// Without any object.
    pub fn new(options: Options) -> Self {
        Self {
            state: State {
                good_route: crate::status::good_route(),
                controller_name: options.controller_name.as_str().into(),
                options,
                store: Store::default(),
                lost: BTreeMap::new(),
                certificates: BTreeMap::new(),
                parents: BTreeMap::new(),
                backends: BTreeMap::new(),
            },
            graph: Graph::default(),
            gateways: BTreeMap::new(),
            certificate_users: BTreeMap::new(),
            accepted: BTreeMap::new(),
            attached: BTreeMap::new(),
            backends_by_key: BTreeMap::new(),
            backends_by_endpoints: BTreeMap::new(),
            backend_users: BTreeMap::new(),
            bind_failures: BTreeMap::new(),
            rendered: BTreeMap::new(),
            dirty: BTreeSet::from([Node::Claims]),
            output: Output::default(),
        }
    }

    /// Takes changes in; several of them at once cost less than one after the other. What comes out does not depend
    /// on their order, as long as the last word on each object is the same.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Update {
        for change in changes {
            let touched = match change {
                Change::Upsert(object) => self.state.store.upsert(object),
                Change::Remove(reference) => self.state.store.remove(reference),
            };
            self.dirty.extend(touched.nodes);
            for key in &touched.keys {
                self.dirty.extend(self.graph.readers(key).cloned());
            }
        }
        self.run()
    }

    /// Tells which listeners the data plane can't bind at the moment, and why: the whole list each time, empty when
    /// all is well. Only statuses and problems change by it.
    pub fn bind_failures(&mut self, failures: Vec<(ListenerKey, String)>) -> Update {
        self.bind_failures = failures.into_iter().collect();
        self.dirty.extend(self.gateways.keys().cloned().map(Node::Render));
        self.run()
    }

    /// Everything that the data plane serves.
    pub fn snapshot(&self) -> &Snapshot {
        &self.output.snapshot
    }

    /// The status of each object that has one.
    pub fn statuses(&self) -> &BTreeMap<ObjectRef, Status> {
        &self.output.statuses
    }

    /// Everything that someone should know, by object, then field.
    pub fn problems(&self) -> Vec<Problem> {
        self.output.problems()
    }

    /// When each certificate that is served ends, in seconds since 1970, by Secret. This crate has no clock: the
    /// caller compares.
    pub fn certificate_ends(&self) -> Vec<(ObjectRef, i64)> {
        let all = self.state.certificates.iter();
        all.filter_map(|(secret, outcome)| {
            let loaded = outcome.as_ref().as_ref().ok()?;
            self.certificate_users
                .contains_key(&loaded.certificate.key)
                .then(|| (secret.clone(), loaded.not_after_s))
        })
        .collect()
    }

    /// Runs what is dirty, in the order of the nodes: none reads the result of a later one.
    fn run(&mut self) -> Update {
        let mut stale = Vec::new();
        while let Some(node) = self.dirty.pop_first() {
            match &node {
                Node::Class(reference) => self.run_class(&node, reference),
                Node::Claims => self.run_claims(&node),
                Node::Certificate(reference) => self.run_certificate(&node, reference),
                Node::Gateway(reference) => self.run_gateway(&node, reference),
                Node::Orphan(reference) => self.run_orphan(&node, reference),
                Node::Backend(id) => self.run_backend(&node, id),
                Node::Route(reference) => self.run_route(&node, reference),
                Node::Publish(key) => self.run_publish(key),
                Node::Endpoints(key) => self.run_endpoints(&node, key),
                Node::Render(gateway) => stale.push(gateway.clone()),
            }
        }
        self.render(&stale);
        let (delta, statuses) = self.output.take_changes();
        Update { delta, statuses }
    }

    /// Notes what a run read, and lets go of results that nobody reads any more.
    fn note_reads(&mut self, node: &Node, reads: Vec<Key>) {
        for key in self.graph.set(node, reads) {
            match key {
                Key::Certificate(secret) => self.drop_certificate(&secret),
                Key::Backend(id) => self.drop_backend(&id),
                Key::Object(_)
                | Key::SetsOf(_)
                | Key::Grants(_)
                | Key::Slices(_)
                | Key::Host(_)
                | Key::Topology
                | Key::Lost(_)
                | Key::Parent(_) => {}
            }
        }
    }

    fn mark_readers(&mut self, key: &Key) {
        self.dirty.extend(self.graph.readers(key).cloned());
    }

    fn run_class(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let class = view.class(&reference.name);
        let (status, problems) = class.map(|it| gateway::class_status(&view, it)).unwrap_or_default();
        let reads = if class.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::GatewayClass(Box::new(it))));
        self.output.set_problems(node, problems);
    }

    fn run_claims(&mut self, node: &Node) {
        let view = View::new(&self.state);
        let lost = gateway::claims(&view);
        let reads = view.into_reads();
        self.note_reads(node, reads);
        let old = std::mem::replace(&mut self.state.lost, lost);
        let gateways: BTreeSet<ObjectRef> = old.keys().chain(self.state.lost.keys()).cloned().collect();
        for gateway in gateways {
            if old.get(&gateway) != self.state.lost.get(&gateway) {
                self.mark_readers(&Key::Lost(gateway));
            }
        }
    }

    fn run_certificate(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let outcome = gateway::certificate(reference, view.secret(reference).map(|it| &**it));
        let reads = view.into_reads();
        self.note_reads(node, reads);
        if self.state.certificates.get(reference).is_some_and(|old| **old == outcome) {
            return;
        }
        self.state.certificates.insert(reference.clone(), Arc::new(outcome));
        self.mark_readers(&Key::Certificate(reference.clone()));
    }

    fn run_gateway(&mut self, node: &Node, reference: &ObjectRef) {
        let store = &self.state.store;
        let model = store.gateways.get(reference);
        let secrets = model.map(|it| gateway::secrets(it, &store.sets_of(reference))).unwrap_or_default();
        for secret in &secrets {
            if !self.state.certificates.contains_key(secret) {
                self.run_certificate(&Node::Certificate(secret.clone()), secret);
            }
        }
        let view = View::new(&self.state);
        let model = view.gateway(reference);
        let computed = model.map(|model| gateway::compute(&view, model));
        let reads = if model.is_some() { view.into_reads() } else { Vec::new() };
        let (output, problems) = match computed {
            None => (None, Vec::new()),
            Some(Ok(mut output)) => {
                let problems = std::mem::take(&mut output.problems);
                (Some(output), problems)
            }
            Some(Err(problems)) => (None, problems),
        };
        self.output.set_problems(node, problems);
        self.install_gateway(reference, output);
        self.note_reads(node, reads);
        for secret in secrets {
            if !self.graph.is_read(&Key::Certificate(secret.clone())) {
                self.drop_certificate(&secret);
            }
        }
    }

    fn drop_certificate(&mut self, secret: &ObjectRef) {
        let node = Node::Certificate(secret.clone());
        self.state.certificates.remove(secret);
        self.dirty.remove(&node);
        self.graph.set(&node, Vec::new());
    }

    fn install_gateway(&mut self, reference: &ObjectRef, output: Option<GatewayOutput>) {
        let key = GatewayKey::new(format!("{}/{}", reference.namespace, reference.name));
        let old = self.gateways.remove(reference);
        for listener in old.iter().flat_map(|it| &it.listeners) {
            let is_kept = output.iter().flat_map(|it| &it.listeners).any(|it| it.key == listener.key);
            // A set that moved to another Gateway took its listeners with it.
            let is_own =
                self.output.snapshot.listeners.get(&listener.key).is_some_and(|it| it.gateway == key);
            if !is_kept && is_own {
                self.output.remove(ResourceKey::Listener(listener.key.clone()));
            }
        }
        for certificate in old.iter().flat_map(|it| &it.certificates) {
            if let Some(users) = self.certificate_users.get_mut(&certificate.key) {
                users.remove(reference);
            }
        }
        let new = output.iter();
        for certificate in new.flat_map(|it| &it.certificates) {
            self.certificate_users.entry(certificate.key.clone()).or_default().insert(reference.clone());
            self.output.put(Resource::Certificate(certificate.clone()));
        }
        for certificate in old.iter().flat_map(|it| &it.certificates) {
            if self.certificate_users.get(&certificate.key).is_some_and(BTreeSet::is_empty) {
                self.certificate_users.remove(&certificate.key);
                self.output.remove(ResourceKey::Certificate(certificate.key.clone()));
            }
        }
        for listener in output.iter().flat_map(|it| &it.listeners) {
            self.output.put(Resource::Listener(listener.clone()));
        }
        match &output {
            Some(output) => self.output.put(Resource::Gateway(output.gateway.clone())),
            None => self.output.remove(ResourceKey::Gateway(key)),
        }
        self.install_parents(reference, old.as_ref(), output.as_ref());
        self.dirty.insert(Node::Render(reference.clone()));
        if let Some(output) = output {
            self.gateways.insert(reference.clone(), output);
        }
    }

    fn install_parents(
        &mut self,
        gateway: &ObjectRef,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) {
        let mut changed = Vec::new();
        for (parent, offered) in new.iter().flat_map(|it| &it.parents) {
            if self.state.parents.get(parent) != Some(offered) {
                self.state.parents.insert(parent.clone(), offered.clone());
                changed.push(parent.clone());
            }
        }
        for (parent, _) in old.iter().flat_map(|it| &it.parents) {
            let is_kept = new.iter().flat_map(|it| &it.parents).any(|it| it.0 == *parent);
            let is_own = self.state.parents.get(parent).is_some_and(|it| *it.gateway == *gateway);
            if !is_kept && is_own {
                self.state.parents.remove(parent);
                changed.push(parent.clone());
            }
        }
        for parent in changed {
            self.mark_readers(&Key::Parent(parent));
        }
    }

    fn run_orphan(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let is_there = view.listener_set(reference).is_some();
        let problems = gateway::orphan_problems(&view, reference);
        let reads = if is_there { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.output.set_problems(node, problems);
    }

    fn run_backend(&mut self, node: &Node, id: &BackendId) {
        let view = View::new(&self.state);
        let outcome = backend::compute(&view, id);
        let reads = view.into_reads();
        self.note_reads(node, reads);
        let old = self.state.backends.get(id).cloned();
        if old.as_ref().is_some_and(|old| **old == outcome) {
            return;
        }
        self.unlink_backend(id, old.as_deref());
        if let Ok(resolved) = &outcome {
            let backend = &resolved.backend;
            self.backends_by_key.entry(backend.key.clone()).or_default().insert(id.clone());
            self.backends_by_endpoints.entry(backend.endpoints.clone()).or_default().insert(id.clone());
            self.dirty.insert(Node::Publish(backend.key.clone()));
            self.dirty.insert(Node::Endpoints(backend.endpoints.clone()));
        }
        self.state.backends.insert(id.clone(), Arc::new(outcome));
        self.mark_readers(&Key::Backend(id.clone()));
    }

    fn drop_backend(&mut self, id: &BackendId) {
        let old = self.state.backends.remove(id);
        self.unlink_backend(id, old.as_deref());
        let node = Node::Backend(id.clone());
        self.dirty.remove(&node);
        self.graph.set(&node, Vec::new());
    }

    fn unlink_backend(&mut self, id: &BackendId, old: Option<&BackendOutcome>) {
        let Some(Ok(old)) = old else { return };
        let backend = &old.backend;
        leave(&mut self.backends_by_key, &backend.key, id);
        leave(&mut self.backends_by_endpoints, &backend.endpoints, id);
        self.dirty.insert(Node::Publish(backend.key.clone()));
        self.dirty.insert(Node::Endpoints(backend.endpoints.clone()));
    }

    /// A backend is in the snapshot while an attached route calls it.
    fn run_publish(&mut self, key: &BackendKey) {
        let backend = self.resolved(self.backends_by_key.get(key)).map(|it| it.backend.clone());
        let is_used = self.backend_users.contains_key(key);
        if let Some(backend) = &backend {
            self.dirty.insert(Node::Endpoints(backend.endpoints.clone()));
        }
        match backend.filter(|_| is_used) {
            Some(backend) => self.output.put(Resource::Backend(backend)),
            None => self.output.remove(ResourceKey::Backend(key.clone())),
        }
    }

    /// What the first of some references came to.
    fn resolved(&self, ids: Option<&BTreeSet<BackendId>>) -> Option<&Resolved> {
        ids.into_iter().flatten().find_map(|id| self.state.backends.get(id)?.as_ref().as_ref().ok())
    }

    fn run_route(&mut self, node: &Node, reference: &ObjectRef) {
        let model = self.state.store.routes.get(reference);
        let ids: Vec<BackendId> = model.map(|it| route::backend_ids(it).collect()).unwrap_or_default();
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
    }

    fn install_route(&mut self, node: &Node, reference: &ObjectRef, output: RouteOutput) {
        self.output.set_problems(node, output.problems);
        self.output.set_status(reference, output.status.map(Status::Route));
        let key = RouteKey::new(format!("{}/{}/{}", reference.kind, reference.namespace, reference.name));
        let old = self.output.snapshot.routes.get(&key).cloned();
        if old.as_deref() != output.route.as_ref() {
            self.count_users(old.as_deref(), output.route.as_ref());
            match output.route {
                Some(route) => self.output.put(Resource::Route(Arc::new(route))),
                None => self.output.remove(ResourceKey::Route(key)),
            }
        }
        let old = self.accepted.remove(reference).unwrap_or_default();
        if old != output.accepted {
            for (listener, gateway) in &old {
                self.dirty.insert(Node::Render((**gateway).clone()));
                leave_count(&mut self.attached, listener);
            }
            for (listener, gateway) in &output.accepted {
                self.dirty.insert(Node::Render((**gateway).clone()));
                *self.attached.entry(listener.clone()).or_default() += 1;
            }
        }
        if !output.accepted.is_empty() {
            self.accepted.insert(reference.clone(), output.accepted);
        }
    }

    /// Counts how many backendRefs of attached routes name each backend.
    fn count_users(&mut self, old: Option<&Route>, new: Option<&Route>) {
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

    fn run_endpoints(&mut self, node: &Node, key: &EndpointSetKey) {
        let ids = self.backends_by_endpoints.get(key);
        let is_used = |id: &&BackendId| {
            let backend = self.state.backends.get(*id).and_then(|it| it.as_ref().as_ref().ok());
            backend.is_some_and(|it| self.backend_users.contains_key(&it.backend.key))
        };
        let used: BTreeSet<BackendId> = ids.into_iter().flatten().filter(is_used).cloned().collect();
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

    /// Makes the statuses of Gateways and ListenerSets that changed.
    fn render(&mut self, stale: &[ObjectRef]) {
        let mut statuses = Vec::new();
        for gateway in stale {
            // First all that goes, then all that comes: a set may have moved from one Gateway to another.
            for object in self.rendered.remove(gateway).unwrap_or_default() {
                statuses.push((object, None));
            }
        }
        for gateway in stale {
            let facts = Facts { attached: &self.attached, bind_failures: &self.bind_failures };
            let rendered = self.gateways.get(gateway).map(|it| gateway::render(&it.base, &facts));
            let (list, problems) = rendered.unwrap_or_default();
            self.output.set_problems(&Node::Render(gateway.clone()), problems);
            if !list.is_empty() {
                self.rendered.insert(gateway.clone(), list.iter().map(|it| it.0.clone()).collect());
            }
            statuses.extend(list.into_iter().map(|(object, status)| (object, Some(status))));
        }
        let last: BTreeMap<ObjectRef, Option<Status>> = statuses.into_iter().collect();
        for (object, status) in last {
            self.output.set_status(&object, status);
        }
    }
}

/// Takes `id` out of an index.
fn leave<K: Ord>(index: &mut BTreeMap<K, BTreeSet<BackendId>>, key: &K, id: &BackendId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
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
