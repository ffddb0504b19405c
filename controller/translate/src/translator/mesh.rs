//! The part of the translator that runs destinations of the mesh and what governs workloads.

use super::Translator;
use crate::mesh::{self, MeshOutput};
use crate::reads::{Key, Node};
use crate::route::key_of;
use crate::status::Status;
use crate::telemetry;
use crate::view::View;
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{
    BackendKey, GatewayKey, ListenerKey, Resource, ResourceKey, RouteKey, StreamRouteKey, Workloads,
    WorkloadsKey,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What of a destination is in the snapshot.
#[derive(Debug, Default)]
pub(super) struct MeshKeys {
    gateways: BTreeSet<GatewayKey>,
    listeners: BTreeSet<ListenerKey>,
    requests: BTreeSet<RouteKey>,
    streams: BTreeSet<StreamRouteKey>,
}

impl MeshKeys {
    fn of(output: &MeshOutput) -> Self {
        Self {
            gateways: output.gateways.iter().map(|it| it.key.clone()).collect(),
            listeners: output.listeners.iter().map(|it| it.key.clone()).collect(),
            requests: output.requests.iter().map(|it| it.key.clone()).collect(),
            streams: output.streams.iter().map(|it| it.key.clone()).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }
}

/// The backends that the policies of workloads ask.
fn asked(workloads: &Workloads) -> impl Iterator<Item = &BackendKey> {
    workloads.authorization.iter().flat_map(|it| it.targets()).filter_map(key_of)
}

impl Translator {
    /// Looks whether there is a mesh; all that belongs to one runs when that changes.
    pub(super) fn look_for_mesh(&mut self) {
        let store = &self.state.store;
        let is_mesh = match self.state.options.mesh {
            Some(is_mesh) => is_mesh,
            None => !self.state.options.standalone && !store.meshed.is_empty(),
        };
        if std::mem::replace(&mut self.state.is_mesh, is_mesh) == is_mesh {
            return;
        }
        let destinations = store.services.keys().chain(store.entries.keys());
        self.dirty.extend(destinations.cloned().map(Node::Mesh));
        let namespaces = store.namespaces.keys().map(|it| &it.name).chain(store.meshed.keys());
        self.dirty.extend(namespaces.cloned().map(Node::Workloads));
        self.dirty.extend(store.mesh_routes().map(|it| match it.kind {
            Kind::HttpRoute | Kind::GrpcRoute => Node::Route(it.clone()),
            _ => Node::Stream(it.clone()),
        }));
        self.dirty.extend(store.destinations.keys().cloned().map(Node::Destination));
        self.dirty.extend(store.sidecars.keys().cloned().map(Node::Egress));
        self.dirty.extend(self.state.backends.keys().cloned().map(Node::Backend));
        self.dirty.extend(self.backends_by_endpoints.keys().cloned().map(Node::Endpoints));
    }

    pub(super) fn run_mesh(&mut self, node: &Node, reference: &ObjectRef) {
        if !self.state.is_mesh
            && !self.mesh.contains_key(reference)
            && !self.state.mesh.contains_key(reference)
        {
            return;
        }
        let ids = match self.state.is_mesh {
            true => mesh::backend_ids(&View::new(&self.state), reference),
            false => Vec::new(),
        };
        let ids = self.prepare_backends(ids);
        let view = View::new(&self.state);
        let output = if view.is_mesh() { mesh::compute(&view, reference) } else { MeshOutput::default() };
        let reads = if output.parent.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.install_mesh(reference, output);
    }

    fn install_mesh(&mut self, reference: &ObjectRef, output: MeshOutput) {
        let now = MeshKeys::of(&output);
        let old = self.mesh.remove(reference).unwrap_or_default();
        for route in output.requests {
            self.replace_route(route.key.clone(), Some(route));
        }
        for route in output.streams {
            self.replace_stream(route.key.clone(), Some(route));
        }
        for key in old.requests.difference(&now.requests) {
            self.replace_route(key.clone(), None);
        }
        for key in old.streams.difference(&now.streams) {
            self.replace_stream(key.clone(), None);
        }
        for key in old.listeners.difference(&now.listeners) {
            self.output.remove(ResourceKey::Listener(key.clone()));
        }
        for key in old.gateways.difference(&now.gateways) {
            self.output.remove(ResourceKey::Gateway(key.clone()));
        }
        output.gateways.into_iter().for_each(|it| self.output.put(Resource::Gateway(it)));
        output.listeners.into_iter().for_each(|it| self.output.put(Resource::Listener(it)));
        if !now.is_empty() {
            self.mesh.insert(reference.clone(), now);
        }
        let before = self.state.mesh.get(reference);
        if before.map(|it| &**it) == output.parent.as_ref() {
            return;
        }
        match output.parent {
            Some(parent) => drop(self.state.mesh.insert(reference.clone(), Arc::new(parent))),
            None => drop(self.state.mesh.remove(reference)),
        }
        self.mark_readers(&Key::Mesh(reference.clone()));
    }

    pub(super) fn run_workloads(&mut self, node: &Node, namespace: &Name) {
        let key = WorkloadsKey::new(namespace.to_string());
        let (store, options) = (&self.state.store, &self.state.options);
        let is_asked = options.mesh == Some(true)
            && store.namespaces.contains_key(&ObjectRef::new(Kind::Namespace, "", namespace.clone()));
        if !self.state.is_mesh || !(is_asked || store.meshed.contains_key(namespace)) {
            self.note_reads(node, Vec::new());
            self.replace_workloads(key, None);
            return;
        }
        let view = View::new(&self.state);
        let workloads = mesh::workloads(&view, namespace);
        let reads = view.into_reads();
        self.note_reads(node, reads);
        self.replace_workloads(key, Some(workloads));
    }

    /// Counts what policies ask, and puts the resource in.
    fn replace_workloads(&mut self, key: WorkloadsKey, workloads: Option<Workloads>) {
        let old = self.output.snapshot.workloads.get(&key).cloned();
        if old.as_deref() == workloads.as_ref() {
            return;
        }
        self.count_users(old.iter().flat_map(|it| asked(it)), workloads.iter().flat_map(asked));
        match workloads {
            Some(workloads) => self.output.put(Resource::Workloads(Arc::new(workloads))),
            None => self.output.remove(ResourceKey::Workloads(key)),
        }
    }

    pub(super) fn run_telemetry(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let computed = view.telemetry(reference).map(|it| telemetry::status(&view, it));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) =
            computed.map(|(status, problems)| (Some(status), problems)).unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Destination(Box::new(it))));
        self.output.set_problems(node, problems);
    }

    pub(super) fn run_peers(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let computed = view.peer_authentication(reference).map(|it| mesh::peer_authentication(&view, it));
        let (status, problems) = computed.unwrap_or_default();
        self.output.set_status(reference, status.map(|it| Status::Destination(Box::new(it))));
        self.output.set_problems(node, problems);
    }
}
