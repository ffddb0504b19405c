//! Which computation read what, so that a change reruns only those that read what it touched.
//!
//! A [`Key`] names a piece of input or of another computation's result; also one that was absent when it was read. A
//! [`Node`] names a computation. Nodes are ordered so that a node never reads the result of a later one.

use crate::backend::BackendId;
use crate::shared::{Shared, compact_map, compact_set};
use sluice_crds::{Name, ObjectRef};
use sluice_ir::{BackendKey, EndpointSetKey, OnDemandKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Something that can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// An object, or its absence.
    Object(ObjectRef),
    /// Which ListenerSets name this Gateway as parent, and what they say.
    SetsOf(ObjectRef),
    /// The ReferenceGrants of a namespace.
    Grants(Name),
    /// The selectors of all Services of a namespace.
    Selectors(Name),
    /// The EndpointSlices of a Service.
    Slices(ObjectRef),
    /// The ServiceEntries that name a host.
    Host(Name),
    /// The AuthorizationPolicies that govern a Gateway or GatewayClass (results of [`Node::Authorization`]).
    AuthorizationOf(ObjectRef),
    /// The AuthorizationPolicies of a namespace that govern workloads (results of [`Node::Authorization`]).
    AuthorizationIn(Name),
    /// The RequestAuthentications that name a Gateway or GatewayClass.
    AuthenticationOf(ObjectRef),
    /// The RequestAuthentications of a namespace that govern workloads.
    AuthenticationIn(Name),
    /// The WorkloadEntries that a ServiceEntry chooses.
    Workloads(ObjectRef),
    /// The pods with a sidecar at an address.
    Pod(IpAddr),
    /// The Telemetries of a namespace.
    TelemetryIn(Name),
    /// The PeerAuthentications of a namespace.
    MutualTls(Name),
    /// The hosts of all ServiceEntries, and their addresses.
    Names,
    /// What a destination of the mesh offers to routes (result of [`Node::Mesh`]).
    Mesh(ObjectRef),
    /// All Gateways, ListenerSets, classes and namespaces: what decides who gets a port.
    Topology,
    /// Ports that a Gateway lost to an older one (result of [`Node::Claims`]).
    Lost(ObjectRef),
    /// An issuer (result of [`Node::Issuer`]).
    Issuer(ObjectRef),
    /// A certificate (result of [`Node::Certificate`]).
    Certificate(ObjectRef),
    /// The listeners that a Gateway or ListenerSet offers to routes (result of [`Node::Gateway`]).
    Parent(ObjectRef),
    /// Listeners that obtain certificates at handshakes (results of [`Node::Gateway`]).
    OnDemand(OnDemandKey),
    /// Listeners that are forward proxies (results of [`Node::Gateway`]).
    ForwardProxies,
    /// The Sidecars of a namespace.
    Outbound(Name),
    /// What routes with this ServiceEntry as parent do to its ways (results of [`Node::Route`] and [`Node::Stream`]).
    Shapes(ObjectRef),
    /// A backend (result of [`Node::Backend`]).
    Backend(Arc<BackendId>),
}

/// A computation. The order of the variants is the order of the work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    /// Status of a GatewayClass.
    Class(ObjectRef),
    /// Who gets which port.
    Claims,
    /// A Secret as certificate.
    Certificate(ObjectRef),
    /// A CertificateIssuer, with its status.
    Issuer(ObjectRef),
    /// A backend.
    Backend(Arc<BackendId>),
    /// An AuthorizationPolicy.
    Authorization(ObjectRef),
    /// A Service or ServiceEntry as destination of the mesh.
    Mesh(ObjectRef),
    /// A Gateway with its ListenerSets.
    Gateway(ObjectRef),
    /// A Secret with a certificate that a handshake asked for.
    OnDemand(ObjectRef),
    /// A ListenerSet whose parent is missing or not ours.
    Orphan(ObjectRef),
    /// A route.
    Route(ObjectRef),
    /// A TLSRoute, TCPRoute or UDPRoute.
    Stream(ObjectRef),
    /// What a ServiceEntry or Sidecar lets forward proxies reach.
    Egress(ObjectRef),
    /// Status of a BackendTLSPolicy.
    Policy(ObjectRef),
    /// Status of an AuthorizationPolicy.
    AuthorizationStatus(ObjectRef),
    /// Status of a RequestAuthentication.
    Authentication(ObjectRef),
    /// Status of a TrafficPolicy.
    Traffic(ObjectRef),
    /// Whether a backend is in the snapshot: only those of attached routes are.
    Publish(BackendKey),
    /// Status of a DestinationRule.
    Destination(ObjectRef),
    /// Status of a HealthCheckPolicy.
    Health(ObjectRef),
    /// Status of a ServiceEntry.
    Entry(ObjectRef),
    /// Status of a Telemetry.
    Telemetry(ObjectRef),
    /// Status of a PeerAuthentication.
    Peers(ObjectRef),
    /// What governs the workloads of a namespace.
    Workloads(Name),
    /// The endpoints of one port.
    Endpoints(EndpointSetKey),
    /// Statuses of a Gateway and its ListenerSets.
    Render(ObjectRef),
}

/// Who reads what. Routes are thousands and read nearly the same: they have small maps of their own, and equal lists of
/// what they read are one.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    reads: HashMap<Node, Arc<[Key]>>,
    route_reads: BTreeMap<ObjectRef, Arc<[Key]>>,
    lists: Shared<[Key]>,
    readers: HashMap<Key, Readers>,
}

/// The readers of one key.
#[derive(Debug, Default)]
struct Readers {
    nodes: BTreeSet<Node>,
    routes: BTreeSet<ObjectRef>,
}

impl Readers {
    fn insert(&mut self, node: &Node) {
        match node {
            Node::Route(route) => drop(self.routes.insert(route.clone())),
            other => drop(self.nodes.insert(other.clone())),
        }
    }

    /// Whether nobody is left.
    fn remove(&mut self, node: &Node) -> bool {
        match node {
            Node::Route(route) => self.routes.remove(route),
            other => self.nodes.remove(other),
        };
        self.nodes.is_empty() && self.routes.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = Node> {
        self.nodes.iter().cloned().chain(self.routes.iter().cloned().map(Node::Route))
    }
}

impl Graph {
    /// Notes what `node` read in its latest run (sorted, without duplicates). Returns the keys that nobody reads any
    /// more.
    pub(crate) fn set(&mut self, node: &Node, keys: Vec<Key>) -> Vec<Key> {
        let old = self.reads_of(node).cloned().unwrap_or_default();
        if *old == *keys {
            return Vec::new();
        }
        for key in &keys {
            match self.readers.get_mut(key) {
                Some(readers) => readers.insert(node),
                None => self.readers.entry(key.clone()).or_default().insert(node),
            }
        }
        let new: BTreeSet<&Key> = keys.iter().collect();
        let gone: Vec<Key> = old.iter().filter(|key| !new.contains(key)).cloned().collect();
        self.store(node, keys);
        gone.into_iter().filter(|key| self.forget(node, key)).collect()
    }

    fn reads_of(&self, node: &Node) -> Option<&Arc<[Key]>> {
        match node {
            Node::Route(route) => self.route_reads.get(route),
            other => self.reads.get(other),
        }
    }

    fn store(&mut self, node: &Node, keys: Vec<Key>) {
        let keys = (!keys.is_empty()).then(|| self.lists.get(keys.into()));
        match (node, keys) {
            (Node::Route(route), Some(keys)) => drop(self.route_reads.insert(route.clone(), keys)),
            (Node::Route(route), None) => drop(self.route_reads.remove(route)),
            (other, Some(keys)) => drop(self.reads.insert(other.clone(), keys)),
            (other, None) => drop(self.reads.remove(other)),
        }
    }

    /// Removes one edge; whether it was the key's last.
    fn forget(&mut self, node: &Node, key: &Key) -> bool {
        let Some(nodes) = self.readers.get_mut(key) else { return false };
        let last = nodes.remove(node);
        if last {
            self.readers.remove(key);
        }
        last
    }

    /// What `node` read in its latest run.
    pub(crate) fn reads(&self, node: &Node) -> &[Key] {
        self.reads_of(node).map(|it| &**it).unwrap_or_default()
    }

    /// The computations that read `key`.
    pub(crate) fn readers(&self, key: &Key) -> impl Iterator<Item = Node> {
        self.readers.get(key).into_iter().flat_map(Readers::iter)
    }

    /// Whether anybody reads `key`.
    pub(crate) fn is_read(&self, key: &Key) -> bool {
        self.readers.contains_key(key)
    }

    /// Fills half-empty nodes of the maps; see [`compact_map`].
    pub(crate) fn compact(&mut self) {
        compact_map(&mut self.route_reads);
        self.readers.values_mut().for_each(|it| compact_set(&mut it.routes));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Graph, Key, Node};

    #[test]
    fn a_key_without_readers_is_reported_once() {
        let mut graph = Graph::default();
        let key = Key::Host("a".into());
        assert!(graph.set(&Node::Claims, vec![key.clone(), Key::Topology]).is_empty());
        assert_eq!(graph.readers(&key).count(), 1);
        assert_eq!(graph.set(&Node::Claims, vec![Key::Topology]), std::slice::from_ref(&key));
        assert!(!graph.is_read(&key));
        assert_eq!(graph.set(&Node::Claims, Vec::new()), [Key::Topology]);
        assert!(graph.set(&Node::Claims, Vec::new()).is_empty());
    }
}
