//! The translator: takes changes, reruns the computations that read what changed, and says what came of it.

mod authentications;
mod authorizations;
mod backends;
mod destinations;
mod egress;
mod entries;
mod gateways;
mod health;
mod issuers;
mod mesh;
mod on_demand;
mod policies;
mod rivals;
mod routes;
mod traffic;

use crate::backend::BackendId;
use crate::destination::ServiceDomain;
use crate::egress::Ways;
use crate::gateway::{GatewayOutput, GatewayPlan, Infrastructure, StapleStanding};
use crate::issuer::{Issuance, WantedCertificate};
use crate::output::Output;
use crate::problem::Problem;
use crate::reads::{Graph, Key, Node};
use crate::shared::{Shared, compact_map};
use crate::status::{RouteStatus, Status};
use crate::store::Store;
use crate::view::State;
use sluice_crds::{Kind, Object, ObjectRef};
use sluice_ir::{BackendKey, CertificateKey, Delta, EndpointSetKey, ListenerKey, Snapshot, WeightedBackend};
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
    /// Istio's root namespace: its exported DestinationRules hold where no others do. Default `istio-system`.
    pub root_namespace: String,
    /// Where names of Services end, after `.svc.`. Default `cluster.local`.
    pub cluster_domain: String,
    /// The trust domain of the mesh, then its aliases; never empty. Default `cluster.local`.
    pub trust_domains: Vec<String>,
    /// Whether there is a mesh, and then workloads in every namespace. `None` (default): where a pod has a sidecar or a
    /// namespace asks for any; never in a folder.
    pub mesh: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_name: "sluice.dev/gateway-controller".to_owned(),
            standalone: false,
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            trust_domains: vec!["cluster.local".to_owned()],
            mesh: None,
        }
    }
}

/// A change of one object.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is new or has changed.
    Upsert(Object),
    /// The same, from one who keeps the object's reference: the translator keeps the same one.
    UpsertAs(ObjectRef, Object),
    /// The object is gone.
    Remove(ObjectRef),
    /// The newest version of the object could not be read.
    Unreadable(Box<Unreadable>),
}

/// An object whose newest version has a value that Sluice does not know, perhaps because its CRD is newer.
///
/// A route is refused (`Accepted=False`, reason `UnsupportedValue`), since the Gateway API asks for that. An object of
/// another kind stays as it was last read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What could be read: at least metadata and, of a route, its parents.
    pub object: Object,
    /// The field: `spec.rules[0].matches[1].path.type`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What came of some changes.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// For the data plane.
    pub delta: Delta,
    /// Objects whose status changed or is gone: look it up in [`Translator::statuses`].
    pub statuses: Vec<ObjectRef>,
    /// Gateways whose plan changed or is gone: look it up with [`Translator::plan`]. Empty in a folder.
    pub plans: Vec<ObjectRef>,
    /// Whether [`Translator::orders`] may read differently.
    pub orders: bool,
}

/// So many changes at once, and a quarter of all there is, are followed by a look at how the maps are filled.
const MANY: usize = 256;

/// Objects in, IR and statuses out.
#[derive(Debug)]
pub struct Translator {
    state: State,
    graph: Graph,
    gateways: BTreeMap<ObjectRef, GatewayOutput>,
    /// Which Gateways serve a certificate.
    certificate_users: BTreeMap<CertificateKey, BTreeSet<ObjectRef>>,
    /// Certificates that handshakes asked for, by Secret.
    on_demand: BTreeMap<ObjectRef, WantedCertificate>,
    /// What each ServiceEntry or Sidecar lets forward proxies reach.
    egress: BTreeMap<ObjectRef, Ways>,
    /// What each destination of the mesh has in the snapshot.
    mesh: BTreeMap<ObjectRef, mesh::MeshKeys>,
    /// Where each route is attached, and how many routes each listener has.
    accepted: BTreeMap<ObjectRef, Arc<[(ListenerKey, ObjectRef)]>>,
    attached: BTreeMap<ListenerKey, u32>,
    /// Which backends have an endpoint set or a key: different references can come to the same.
    backends_by_key: BTreeMap<BackendKey, BTreeSet<Arc<BackendId>>>,
    backends_by_endpoints: BTreeMap<EndpointSetKey, BTreeSet<Arc<BackendId>>>,
    /// How many backendRefs of attached routes name each backend.
    backend_users: BTreeMap<BackendKey, u32>,
    /// The DestinationRules and HealthCheckPolicies that each backend in the snapshot follows, if any, and the other way round.
    rules_of: BTreeMap<BackendKey, Arc<[ObjectRef]>>,
    rule_users: BTreeMap<ObjectRef, BTreeSet<BackendKey>>,
    /// Where most routes are attached, how they are, and where they lead: the same for many.
    shared_places: Shared<[(ListenerKey, ObjectRef)]>,
    shared_statuses: Shared<RouteStatus>,
    shared_backends: Shared<[WeightedBackend]>,
    bind_failures: BTreeMap<ListenerKey, String>,
    /// In a cluster: what is known of each Gateway's infrastructure.
    infrastructure: BTreeMap<ObjectRef, Infrastructure>,
    /// What is known of orders.
    issuance: Issuance,
    /// How the OCSP responses of certificates that ask for one stand.
    staples: BTreeMap<CertificateKey, StapleStanding>,
    /// Who has which Secret ordered.
    rivals: rivals::Rivals,
    /// Whether what issuers are to order may have changed since the last look.
    orders_changed: bool,
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
                store: Store::of(
                    ServiceDomain::of(&options.cluster_domain),
                    options.root_namespace.as_str().into(),
                ),
                options,
                release: None,
                lost: BTreeMap::new(),
                certificates: BTreeMap::new(),
                issuers: BTreeMap::new(),
                parents: BTreeMap::new(),
                authorizations: BTreeMap::new(),
                on_demand: BTreeMap::new(),
                forward_proxies: BTreeMap::new(),
                shapes: BTreeMap::new(),
                backends: BTreeMap::new(),
                is_mesh: false,
                mesh: BTreeMap::new(),
            },
            graph: Graph::default(),
            gateways: BTreeMap::new(),
            certificate_users: BTreeMap::new(),
            on_demand: BTreeMap::new(),
            egress: BTreeMap::new(),
            mesh: BTreeMap::new(),
            accepted: BTreeMap::new(),
            attached: BTreeMap::new(),
            backends_by_key: BTreeMap::new(),
            backends_by_endpoints: BTreeMap::new(),
            backend_users: BTreeMap::new(),
            rules_of: BTreeMap::new(),
            rule_users: BTreeMap::new(),
            shared_places: Shared::default(),
            shared_statuses: Shared::default(),
            shared_backends: Shared::default(),
            bind_failures: BTreeMap::new(),
            infrastructure: BTreeMap::new(),
            issuance: Issuance::default(),
            staples: BTreeMap::new(),
            rivals: rivals::Rivals::default(),
            orders_changed: false,
            rendered: BTreeMap::new(),
            dirty: BTreeSet::from([Node::Claims]),
            output: Output::default(),
        }
    }

    /// Takes changes in; several of them at once cost less than one after the other. What comes out does not depend
    /// on their order, as long as the last word on each object is the same.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Update {
        let mut count = 0_usize;
        for change in changes {
            count += 1;
            let touched = match change {
                Change::Upsert(object) => self.state.store.upsert(object),
                Change::UpsertAs(reference, object) => self.state.store.upsert_as(reference, object),
                Change::Remove(reference) => {
                    if reference.kind == Kind::Gateway {
                        self.infrastructure.remove(&reference);
                    }
                    self.state.store.remove(reference)
                }
                Change::Unreadable(it) => self.state.store.unreadable(*it),
            };
            self.dirty.extend(touched.nodes);
            self.mark_covered(&touched.wildcards);
            for key in &touched.keys {
                self.dirty.extend(self.graph.readers(key));
            }
        }
        self.look_for_mesh();
        let update = self.run();
        if count >= MANY && count * 4 >= self.output.snapshot.len() {
            self.compact();
        }
        update
    }

    /// Fills half-empty nodes of the maps: the first load leaves them so.
    fn compact(&mut self) {
        self.state.store.compact();
        self.graph.compact();
        self.output.compact();
        compact_map(&mut self.accepted);
    }

    /// Tells which listeners the data plane can't bind at the moment, and why: the whole list each time, empty when
    /// all is well. Only statuses and problems change by it.
    pub fn bind_failures(&mut self, failures: Vec<(ListenerKey, String)>) -> Update {
        self.bind_failures = failures.into_iter().collect();
        self.dirty.extend(self.gateways.keys().cloned().map(Node::Render));
        self.run()
    }

    /// Tells how the infrastructure of Gateways stands, in a cluster; Gateways that are not named stay as they were.
    /// What is told is forgotten when the Gateway goes, and one that is not there is left out. Only statuses change
    /// by it.
    pub fn infrastructure(&mut self, facts: impl IntoIterator<Item = (ObjectRef, Infrastructure)>) -> Update {
        for (gateway, known) in facts {
            let is_there = self.state.store.gateways.contains_key(&gateway);
            if is_there && self.infrastructure.get(&gateway) != Some(&known) {
                self.dirty.insert(Node::Render(gateway.clone()));
                self.infrastructure.insert(gateway, known);
            }
        }
        self.run()
    }

    /// Tells the release of the Gateway API whose CRDs are installed, as they say it (`v1.6.1`); `None`: they don't say.
    /// Only statuses of GatewayClasses change by it.
    pub fn release(&mut self, release: Option<String>) -> Update {
        if self.state.release != release {
            self.state.release = release;
            self.dirty.extend(self.state.store.classes.keys().cloned().map(Node::Class));
        }
        self.run()
    }

    /// What a Gateway of ours needs in a cluster. `None`: it is gone, not ours, or this is a folder.
    pub fn plan(&self, gateway: &ObjectRef) -> Option<&GatewayPlan> {
        self.output.plans.get(gateway)
    }

    /// All plans, by Gateway.
    pub fn plans(&self) -> &BTreeMap<ObjectRef, GatewayPlan> {
        &self.output.plans
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
                Node::Issuer(reference) => self.run_issuer(&node, reference),
                Node::Authorization(reference) => self.run_authorization(&node, reference),
                Node::AuthorizationStatus(reference) => self.run_authorization_status(&node, reference),
                Node::Gateway(reference) => self.run_gateway(&node, reference),
                Node::OnDemand(reference) => self.run_on_demand(&node, reference),
                Node::Orphan(reference) => self.run_orphan(&node, reference),
                Node::Backend(id) => self.run_backend(&node, id),
                Node::Mesh(reference) => self.run_mesh(&node, reference),
                Node::Workloads(namespace) => self.run_workloads(&node, namespace),
                Node::Telemetry(reference) => self.run_telemetry(&node, reference),
                Node::Peers(reference) => self.run_peers(&node, reference),
                Node::Route(reference) => self.run_route(&node, reference),
                Node::Stream(reference) => self.run_stream(&node, reference),
                Node::Egress(reference) => self.run_egress(&node, reference),
                Node::Policy(reference) => self.run_policy(&node, reference),
                Node::Authentication(reference) => self.run_authentication(&node, reference),
                Node::Traffic(reference) => self.run_traffic(&node, reference),
                Node::Publish(key) => self.run_publish(key),
                Node::Entry(reference) => self.run_entry(&node, reference),
                Node::Destination(reference) => self.run_destination(&node, reference),
                Node::Health(reference) => self.run_health(&node, reference),
                Node::Endpoints(key) => self.run_endpoints(&node, key),
                Node::Render(gateway) => stale.push(gateway.clone()),
            }
        }
        self.render(&stale);
        Update { orders: std::mem::take(&mut self.orders_changed), ..self.output.take_changes() }
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
                | Key::Selectors(_)
                | Key::Slices(_)
                | Key::Host(_)
                | Key::Workloads(_)
                | Key::Pod(_)
                | Key::MutualTls(_)
                | Key::TelemetryIn(_)
                | Key::Names
                | Key::Mesh(_)
                | Key::AuthorizationOf(_)
                | Key::AuthorizationIn(_)
                | Key::AuthenticationOf(_)
                | Key::AuthenticationIn(_)
                | Key::Topology
                | Key::Lost(_)
                | Key::Issuer(_)
                | Key::OnDemand(_)
                | Key::ForwardProxies
                | Key::Outbound(_)
                | Key::Shapes(_)
                | Key::Parent(_) => {}
            }
        }
    }

    fn mark_readers(&mut self, key: &Key) {
        self.dirty.extend(self.graph.readers(key));
    }
}
