//! The part of the store that knows the mesh: its namespaces, its pods by address, and the routes whose parents are
//! destinations of it.

use super::{Store, Touched, of_namespace, reindex};
use crate::model::PodModel;
use crate::reads::{Key, Node};
use crate::route::destinations;
use crate::status::ParentRef;
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::MutualTls;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Labels of namespaces whose pods get a sidecar (Istio's and our own).
const INJECTED: [(&str, &str); 2] = [("istio-injection", "enabled"), ("sluice.dev/inject", "enabled")];
/// The same with any value.
const REVISION: &str = "istio.io/rev";

impl Store {
    /// A pod touches its addresses, and with the first or last of a namespace what governs that.
    pub(super) fn move_pod(&mut self, reference: &ObjectRef, old: Option<&PodModel>, touched: &mut Touched) {
        let new = self.pods.get(reference).cloned();
        if old == new.as_deref() {
            return;
        }
        let of = |it: Option<&PodModel>| -> BTreeSet<IpAddr> {
            it.into_iter().flat_map(|it| it.addresses.iter().copied()).collect()
        };
        let (before, after) = (of(old), of(new.as_deref()));
        for address in before.difference(&after) {
            reindex(&mut self.pods_by_address, reference, Some(address), None);
        }
        for address in after.difference(&before) {
            reindex(&mut self.pods_by_address, reference, None, Some(address));
        }
        touched.keys.extend(before.union(&after).copied().map(Key::Pod));
        let (was, is) = (old.is_some(), new.is_some());
        self.count_meshed(&reference.namespace, was, is, touched);
    }

    pub(super) fn move_namespace(
        &mut self,
        reference: &ObjectRef,
        old: Option<&BTreeMap<String, String>>,
        touched: &mut Touched,
    ) {
        let was = old.is_some_and(is_injected);
        let is = self.namespaces.get(reference).is_some_and(|it| is_injected(it));
        self.count_meshed(&reference.name, was, is, touched);
        // In a mesh that is asked for in any case every namespace has workloads.
        touched.nodes.push(Node::Workloads(reference.name.clone()));
    }

    /// One more or one less reason for a namespace to be of the mesh.
    fn count_meshed(&mut self, namespace: &Name, was: bool, is: bool, touched: &mut Touched) {
        let before = self.meshed.contains_key(namespace);
        match (was, is) {
            (false, true) => *self.meshed.entry(namespace.clone()).or_default() += 1,
            (true, false) => {
                let count = self.meshed.entry(namespace.clone()).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.meshed.remove(namespace);
                }
            }
            (true, true) | (false, false) => {}
        }
        if before != self.meshed.contains_key(namespace) {
            touched.nodes.push(Node::Workloads(namespace.clone()));
        }
    }

    /// The pod with a sidecar at an address: of several the one that does not end, then the newest, then by name.
    pub(crate) fn pod_at(&self, address: IpAddr) -> Option<&Arc<PodModel>> {
        let references = self.pods_by_address.get(&address).into_iter().flatten();
        let pods = references.filter_map(|it| self.pods.get(it));
        pods.min_by_key(|it| (it.is_ending, -it.created_s, it.reference.clone()))
    }

    /// What PeerAuthentications say of the workloads of a namespace, the oldest first: those of the root namespace that
    /// hold for all, and its own.
    pub(crate) fn mutual_tls(&self, namespace: &str, root: &str) -> Vec<MutualTls> {
        let of = |namespace| of_namespace(&self.peers, Kind::PeerAuthentication, namespace);
        let mesh = of(root).filter(|it| it.rule.selector.is_all()).map(|it| (true, it));
        let own = (namespace != root).then(|| of(namespace)).into_iter().flatten();
        let mut all: Vec<_> = mesh.chain(own.map(|it| (false, it))).collect();
        all.sort_by_key(|(_, it)| (it.meta.created_s, it.meta.reference.clone()));
        all.into_iter().map(|(is_mesh, it)| MutualTls { is_mesh, ..it.rule.clone() }).collect()
    }

    /// Notes which destinations a route has as parents now: what those offer may be another by it.
    pub(super) fn move_parents(
        &mut self,
        route: &ObjectRef,
        before: &[Arc<ParentRef>],
        now: &[Arc<ParentRef>],
        touched: &mut Touched,
    ) {
        let before: BTreeSet<ObjectRef> = destinations(before, &route.namespace).collect();
        let now: BTreeSet<ObjectRef> = destinations(now, &route.namespace).collect();
        for gone in before.difference(&now) {
            reindex(&mut self.routes_by_destination, route, Some(gone), None);
        }
        for new in now.difference(&before) {
            reindex(&mut self.routes_by_destination, route, None, Some(new));
        }
        touched.nodes.extend(before.union(&now).cloned().map(Node::Mesh));
    }

    /// The routes that have a destination as parent.
    pub(crate) fn routes_to(&self, destination: &ObjectRef) -> impl Iterator<Item = &ObjectRef> {
        self.routes_by_destination.get(destination).into_iter().flatten()
    }

    /// Every route that has a destination as parent.
    pub(crate) fn mesh_routes(&self) -> impl Iterator<Item = &ObjectRef> {
        self.routes_by_destination.values().flatten()
    }
}

fn is_injected(labels: &BTreeMap<String, String>) -> bool {
    INJECTED.iter().any(|(name, value)| labels.get(*name).is_some_and(|it| it == value))
        || labels.get(REVISION).is_some_and(|it| !it.is_empty())
}
