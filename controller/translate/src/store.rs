//! The objects as they were last seen, in our own terms, with the indexes that computations look through.

mod entries;
mod mesh;
mod policies;
mod removal;

use crate::authentication::AuthenticationModel;
use crate::authorization::AuthorizationModel;
use crate::destination::{DestinationModel, ServiceDomain};
use crate::entry::Addresses;
use crate::health::HealthModel;
use crate::model::{BackendModel, Fault, FaultReason};
use crate::model::{
    ClassModel, ConfigMapModel, EntryModel, GatewayModel, GrantModel, IssuerModel, Meta, ParametersModel,
    PeerAuthenticationModel, PodModel, PolicyModel, RouteModel, SecretModel, ServiceModel, SetModel,
    SidecarModel, SliceModel, StreamModel, TrafficModel, WorkloadModel,
};
use crate::reads::{Key, Node};
use crate::shared::{Shared, compact_map};
use crate::status::ParentRef;
use crate::telemetry::TelemetryModel;
use crate::translator::Unreadable;
use sluice_crds::{Kind, Name, Object, ObjectRef};
use sluice_ir::Locality;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

type Map<T> = BTreeMap<ObjectRef, Arc<T>>;

/// Every object that Sluice reads.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// How hosts name Services.
    pub(crate) domain: ServiceDomain,
    /// Istio's root namespace.
    pub(crate) root: Name,
    pub(crate) classes: Map<ClassModel>,
    pub(crate) gateways: Map<GatewayModel>,
    pub(crate) sets: Map<SetModel>,
    pub(crate) routes: Map<RouteModel>,
    pub(crate) grants: Map<GrantModel>,
    pub(crate) services: Map<ServiceModel>,
    pub(crate) slices: Map<SliceModel>,
    pub(crate) secrets: Map<SecretModel>,
    pub(crate) config_maps: Map<ConfigMapModel>,
    pub(crate) policies: Map<PolicyModel>,
    pub(crate) streams: Map<StreamModel>,
    pub(crate) namespaces: Map<BTreeMap<String, String>>,
    /// Where nodes are, of those that say so.
    pub(crate) places: Map<Locality>,
    pub(crate) entries: Map<EntryModel>,
    pub(crate) workloads: Map<WorkloadModel>,
    pub(crate) destinations: Map<DestinationModel>,
    pub(crate) sidecars: Map<SidecarModel>,
    pub(crate) authorizations: Map<AuthorizationModel>,
    pub(crate) authentications: Map<AuthenticationModel>,
    pub(crate) parameters: Map<ParametersModel>,
    pub(crate) issuers: Map<IssuerModel>,
    pub(crate) traffic: Map<TrafficModel>,
    pub(crate) health: Map<HealthModel>,
    /// Those with a sidecar.
    pub(crate) pods: Map<PodModel>,
    pub(crate) peers: Map<PeerAuthenticationModel>,
    pub(crate) telemetries: Map<TelemetryModel>,
    pods_by_address: BTreeMap<IpAddr, BTreeSet<ObjectRef>>,
    /// Namespaces of the mesh: for how many reasons each is one.
    pub(crate) meshed: BTreeMap<Name, u32>,
    /// Routes by the Services and ServiceEntries that are their parents.
    routes_by_destination: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    sets_by_gateway: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    slices_by_service: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    policies_by_target: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    entries_by_host: BTreeMap<String, BTreeSet<ObjectRef>>,
    /// ServiceEntries that choose workloads, by namespace.
    choosing: BTreeMap<Name, BTreeSet<ObjectRef>>,
    /// Addresses that hosts of ServiceEntries have been given.
    pub(crate) addresses: Addresses,
    /// TrafficPolicies by the Gateways, ListenerSets and routes that they target.
    traffic_by_target: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    /// HealthCheckPolicies by the Services and ServiceEntries that they target.
    health_by_target: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    /// AuthorizationPolicies by the Gateways and GatewayClasses that they name.
    authorizations_by_target: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    /// RequestAuthentications by the Gateways and GatewayClasses that they name.
    authentications_by_target: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    destinations_by_host: BTreeMap<String, BTreeSet<ObjectRef>>,
    parent_refs: Shared<ParentRef>,
    parent_lists: Shared<[Arc<ParentRef>]>,
    namespace_names: Shared<str>,
    backend_lists: Shared<[BackendModel]>,
}

/// What a change touched.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// What may read differently now.
    pub(crate) keys: Vec<Key>,
    /// Computations that exist because the object does.
    pub(crate) nodes: Vec<Node>,
    /// Wildcard hosts: the backends that they cover may read differently.
    pub(crate) wildcards: Vec<String>,
}

impl Store {
    /// Without any object, for a cluster whose Services are named so, and its mesh's root namespace.
    pub(crate) fn of(domain: ServiceDomain, root: Name) -> Self {
        Self { domain, root, ..Self::default() }
    }

    /// Puts an object in; nothing is touched when it says the same as before.
    pub(crate) fn upsert(&mut self, object: Object) -> Touched {
        let reference = self.shared(&object.reference());
        self.upsert_as(reference, object)
    }

    /// As [`Store::upsert`], for one who has the object's reference already: both share it.
    pub(crate) fn upsert_as(&mut self, reference: ObjectRef, object: Object) -> Touched {
        let mut touched = Touched::default();
        match object {
            Object::GatewayClass(it) => {
                if put(&mut self.classes, &reference, ClassModel::read(&it)).is_some() {
                    touched.nodes.push(Node::Class(reference.clone()));
                    touched.keys.extend([Key::Object(reference), Key::Topology]);
                }
            }
            Object::Gateway(it) => {
                if put(&mut self.gateways, &reference, GatewayModel::read(&it)).is_some() {
                    touch_gateway(reference, &mut touched);
                }
            }
            Object::ListenerSet(it) => {
                let model = SetModel::read(&it);
                let parent = model.parent.clone();
                if let Some(old) = put(&mut self.sets, &reference, model) {
                    self.move_set(&reference, old.map(|it| it.parent.clone()), Some(parent), &mut touched);
                }
            }
            Object::HttpRoute(it) => self.put_route(reference, crate::route::read_http(&it), &mut touched),
            Object::GrpcRoute(it) => self.put_route(reference, crate::route::read_grpc(&it), &mut touched),
            Object::ReferenceGrant(it) => {
                if put(&mut self.grants, &reference, GrantModel::read(&it)).is_some() {
                    touched.keys.push(Key::Grants(reference.namespace.clone()));
                }
            }
            Object::Service(it) => {
                if put(&mut self.services, &reference, ServiceModel::read(&it)).is_some() {
                    touched.keys.push(Key::Selectors(reference.namespace.clone()));
                    touched.nodes.push(Node::Mesh(reference.clone()));
                    touched.keys.push(Key::Object(reference));
                }
            }
            Object::EndpointSlice(it) => {
                let model = SliceModel::read(&it);
                let service = model.service.clone();
                if let Some(old) = put(&mut self.slices, &reference, model) {
                    self.move_slice(&reference, old.and_then(|it| it.service.clone()), service, &mut touched);
                }
            }
            Object::Secret(it) => {
                let model = SecretModel::read(&it);
                let is_on_demand = model.on_demand.is_some();
                if let Some(old) = put(&mut self.secrets, &reference, model) {
                    if is_on_demand || old.is_some_and(|it| it.on_demand.is_some()) {
                        touched.nodes.push(Node::OnDemand(reference.clone()));
                    }
                    touched.keys.push(Key::Object(reference));
                }
            }
            Object::ConfigMap(it) => {
                if put(&mut self.config_maps, &reference, ConfigMapModel::read(&it)).is_some() {
                    touched.keys.push(Key::Object(reference));
                }
            }
            Object::BackendTlsPolicy(it) => {
                if let Some(old) = put(&mut self.policies, &reference, PolicyModel::read(&it)) {
                    self.move_policy(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::TlsRoute(it) => self.put_stream(reference, crate::route::read_tls(&it), &mut touched),
            Object::TcpRoute(it) => self.put_stream(reference, crate::route::read_tcp(&it), &mut touched),
            Object::UdpRoute(it) => self.put_stream(reference, crate::route::read_udp(&it), &mut touched),
            Object::Namespace(it) => {
                let labels = it.metadata.labels.unwrap_or_default();
                if let Some(old) = put(&mut self.namespaces, &reference, labels) {
                    self.move_namespace(&reference, old.as_deref(), &mut touched);
                    touched.keys.extend([Key::Object(reference), Key::Topology]);
                }
            }
            Object::Pod(it) => {
                let old = self.pods.get(&reference).cloned();
                match PodModel::read(&it) {
                    Some(pod) => drop(put(&mut self.pods, &reference, pod)),
                    None => drop(self.pods.remove(&reference)),
                }
                self.move_pod(&reference, old.as_deref(), &mut touched);
            }
            Object::Telemetry(it) => {
                if put(&mut self.telemetries, &reference, crate::telemetry::read(&it, &self.root)).is_some() {
                    touch_telemetry(reference, &mut touched);
                }
            }
            Object::PeerAuthentication(it) => {
                if put(&mut self.peers, &reference, PeerAuthenticationModel::read(&it)).is_some() {
                    touch_peers(reference, &mut touched);
                }
            }
            Object::Node(it) => match crate::model::place_of_node(&it) {
                Some(place) => {
                    if put(&mut self.places, &reference, place).is_some() {
                        touched.keys.push(Key::Object(reference));
                    }
                }
                None => touch_removed(self.places.remove(&reference), reference, &mut touched),
            },
            Object::ServiceEntry(it) => {
                let model = EntryModel::read(&it);
                self.want_addresses(&reference, crate::entry::wishes(&model, &it), &mut touched);
                if let Some(old) = put(&mut self.entries, &reference, model) {
                    self.move_entry(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::WorkloadEntry(it) => {
                let model = WorkloadModel::read(&it);
                if let Some(old) = put(&mut self.workloads, &reference, model) {
                    self.move_workload(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::DestinationRule(it) => {
                let old = put(&mut self.destinations, &reference, DestinationModel::read(&it, &self.domain));
                if let Some(old) = old {
                    self.move_destination(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::Sidecar(it) => {
                if put(&mut self.sidecars, &reference, SidecarModel::read(&it)).is_some() {
                    touch_sidecar(reference, &mut touched);
                }
            }
            Object::AuthorizationPolicy(it) => {
                let model = crate::authorization::read(&it, &self.root);
                if let Some(old) = put(&mut self.authorizations, &reference, model) {
                    self.move_authorization(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::RequestAuthentication(it) => {
                let model = crate::authentication::read(&it, &self.root);
                if let Some(old) = put(&mut self.authentications, &reference, model) {
                    self.move_authentication(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::CertificateIssuer(it) => {
                if put(&mut self.issuers, &reference, IssuerModel::read(&it)).is_some() {
                    touched.nodes.push(Node::Issuer(reference));
                }
            }
            Object::TrafficPolicy(it) => {
                if let Some(old) = put(&mut self.traffic, &reference, crate::traffic::read(&it)) {
                    self.move_traffic(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::HealthCheckPolicy(it) => {
                if let Some(old) = put(&mut self.health, &reference, crate::health::read(&it)) {
                    self.move_health(&reference, old.as_deref(), &mut touched);
                }
            }
            Object::GatewayParameters(it) => {
                if put(&mut self.parameters, &reference, ParametersModel::read(&it)).is_some() {
                    touched.keys.push(Key::Object(reference));
                }
            }
        }
        touched
    }

    /// Notes that the newest version of an object could not be read: a route is refused, everything else stays.
    pub(crate) fn unreadable(&mut self, it: Unreadable) -> Touched {
        let mut model = match &it.object {
            Object::HttpRoute(route) => crate::route::read_http(route),
            Object::GrpcRoute(route) => crate::route::read_grpc(route),
            _ => return Touched::default(),
        };
        model.rules = Box::default();
        model.rule_count = 0;
        model.faults = Box::new([Fault {
            rule: None,
            field: it.field,
            reason: FaultReason::UnsupportedValue,
            message: it.message,
            next_step: "use a value that this version of Sluice knows, or a newer Sluice".to_owned(),
        }]);
        let mut touched = Touched::default();
        let reference = self.shared(&model.meta.reference);
        self.put_route(reference, model, &mut touched);
        touched
    }

    /// Nobody but the route's own computation reads it, so no key is touched.
    fn put_route(&mut self, reference: ObjectRef, mut model: RouteModel, touched: &mut Touched) {
        let known = self.routes.get_key_value(&reference).map(|(known, _)| known.clone());
        model.meta.reference = known.unwrap_or(reference);
        let parents = model.parents.iter().map(|it| self.parent_refs.get(it.clone())).collect();
        model.parents = self.parent_lists.get(parents);
        for rule in &mut model.rules {
            rule.backends = self.backend_lists.get(rule.backends.clone());
        }
        // The model's own reference, so that its names are there only once.
        let reference = model.meta.reference.clone();
        let parents = model.parents.clone();
        if let Some(old) = put(&mut self.routes, &reference, model) {
            let before = old.as_ref().map(|it| &it.parents[..]).unwrap_or_default();
            self.move_parents(&reference, before, &parents, touched);
            touched.nodes.push(Node::Route(reference));
        }
    }

    /// Nobody but the route's own computation reads it.
    fn put_stream(&mut self, reference: ObjectRef, mut model: StreamModel, touched: &mut Touched) {
        let parents = model.parents.iter().map(|it| self.parent_refs.get(it.clone())).collect();
        model.parents = self.parent_lists.get(parents);
        model.backends = self.backend_lists.get(model.backends);
        let parents = model.parents.clone();
        if let Some(old) = put(&mut self.streams, &reference, model) {
            let before = old.as_ref().map(|it| &it.parents[..]).unwrap_or_default();
            self.move_parents(&reference, before, &parents, touched);
            touched.nodes.push(Node::Stream(reference));
        }
    }

    /// Fills half-empty nodes of the maps that can be large.
    pub(crate) fn compact(&mut self) {
        compact_map(&mut self.routes);
        compact_map(&mut self.services);
        compact_map(&mut self.slices);
        compact_map(&mut self.slices_by_service);
    }

    /// A reference whose namespace's name is shared with others.
    fn shared(&mut self, reference: &ObjectRef) -> ObjectRef {
        let namespace = self.namespace_names.get(reference.namespace.clone().into());
        ObjectRef::new(reference.kind, namespace, reference.name.clone())
    }

    fn move_set(
        &mut self,
        reference: &ObjectRef,
        old: Option<ObjectRef>,
        new: Option<ObjectRef>,
        touched: &mut Touched,
    ) {
        touched.nodes.push(Node::Orphan(reference.clone()));
        touched.keys.extend([Key::Object(reference.clone()), Key::Topology]);
        reindex(&mut self.sets_by_gateway, reference, old.as_ref(), new.as_ref());
        touched.keys.extend(old.into_iter().chain(new).map(Key::SetsOf));
    }

    fn move_slice(
        &mut self,
        reference: &ObjectRef,
        old: Option<ObjectRef>,
        new: Option<ObjectRef>,
        touched: &mut Touched,
    ) {
        reindex(&mut self.slices_by_service, reference, old.as_ref(), new.as_ref());
        touched.keys.extend(old.into_iter().chain(new).map(Key::Slices));
    }

    /// A rule is part of what is known of the Service or host that it names: whoever reads those reads it.
    fn move_destination(
        &mut self,
        reference: &ObjectRef,
        old: Option<&DestinationModel>,
        touched: &mut Touched,
    ) {
        let old = old.map(|it| it.host.clone());
        let new = self.destinations.get(reference).map(|it| it.host.clone());
        reindex(&mut self.destinations_by_host, reference, old.as_ref(), None);
        reindex(&mut self.destinations_by_host, reference, None, new.as_ref());
        touched.nodes.push(Node::Destination(reference.clone()));
        for host in old.into_iter().chain(new) {
            // Rules of one host are merged, or stand in each other's way.
            let rivals = self.destinations_by_host.get(&host).into_iter().flatten();
            touched.nodes.extend(rivals.cloned().map(Node::Destination));
            if host.starts_with('*') {
                touched.wildcards.push(host);
            } else {
                touched.keys.extend(self.domain.service(&host).map(Key::Object));
                touched.keys.push(Key::Host(host.into()));
            }
        }
    }

    /// The rules of exactly this host, oldest first, then by name.
    pub(crate) fn destinations_of(&self, host: &str) -> Vec<&Arc<DestinationModel>> {
        let references = self.destinations_by_host.get(host).into_iter().flatten();
        oldest_first(references.filter_map(|it| self.destinations.get(it)), |it| &it.meta)
    }

    pub(crate) fn sets_of(&self, gateway: &ObjectRef) -> Vec<&Arc<SetModel>> {
        let references = self.sets_by_gateway.get(gateway).into_iter().flatten();
        oldest_first(references.filter_map(|it| self.sets.get(it)), |it| &it.meta)
    }

    pub(crate) fn slices_of(&self, service: &ObjectRef) -> Vec<&Arc<SliceModel>> {
        let references = self.slices_by_service.get(service).into_iter().flatten();
        references.filter_map(|it| self.slices.get(it)).collect()
    }

    /// The Sidecars of a namespace, the oldest first.
    pub(crate) fn sidecars_in(&self, namespace: &str) -> Vec<&Arc<SidecarModel>> {
        oldest_first(of_namespace(&self.sidecars, Kind::Sidecar, namespace), |it| &it.meta)
    }

    pub(crate) fn grants_in<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a GrantModel> + use<'a> {
        of_namespace(&self.grants, Kind::ReferenceGrant, namespace).map(|it| &**it)
    }
}

/// Puts a model in; `Some(before)` when it differs from what was there.
#[allow(clippy::option_option)]
fn put<T: PartialEq>(map: &mut Map<T>, reference: &ObjectRef, model: T) -> Option<Option<Arc<T>>> {
    if map.get(reference).is_some_and(|old| **old == model) {
        return None;
    }
    Some(map.insert(reference.clone(), Arc::new(model)))
}

fn touch_gateway(reference: ObjectRef, touched: &mut Touched) {
    touched.nodes.push(Node::Gateway(reference.clone()));
    touched.keys.extend([Key::Object(reference), Key::Topology]);
}

fn touch_sidecar(reference: ObjectRef, touched: &mut Touched) {
    touched.keys.push(Key::Outbound(reference.namespace.clone()));
    touched.nodes.push(Node::Egress(reference));
}

fn touch_telemetry(reference: ObjectRef, touched: &mut Touched) {
    touched.keys.push(Key::TelemetryIn(reference.namespace.clone()));
    touched.nodes.push(Node::Telemetry(reference));
}

fn touch_peers(reference: ObjectRef, touched: &mut Touched) {
    touched.keys.push(Key::MutualTls(reference.namespace.clone()));
    touched.nodes.push(Node::Peers(reference));
}

fn touch_removed<T>(old: Option<T>, reference: ObjectRef, touched: &mut Touched) {
    if old.is_some() {
        touched.keys.push(Key::Object(reference));
    }
}

/// The objects of a kind in a namespace, by name.
pub(crate) fn of_namespace<'a, T>(
    map: &'a Map<T>,
    kind: Kind,
    namespace: &str,
) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
    let first = ObjectRef::new(kind, namespace, "");
    let home = first.namespace.clone();
    map.range(first..).take_while(move |it| it.0.namespace == home).map(|it| it.1)
}

/// By age, then by name: the order in which they win.
pub(crate) fn oldest_first<'a, T>(
    all: impl Iterator<Item = &'a Arc<T>>,
    meta: impl Fn(&T) -> &Meta,
) -> Vec<&'a Arc<T>> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|it| (meta(it).created_s, meta(it).reference.clone()));
    all
}

fn reindex<K: Ord + Clone>(
    index: &mut BTreeMap<K, BTreeSet<ObjectRef>>,
    member: &ObjectRef,
    old: Option<&K>,
    new: Option<&K>,
) {
    if let Some(members) = old.and_then(|key| index.get_mut(key)) {
        members.remove(member);
    }
    if let Some(key) = old.filter(|key| index.get(key).is_some_and(BTreeSet::is_empty)) {
        index.remove(key);
    }
    if let Some(key) = new {
        index.entry(key.clone()).or_default().insert(member.clone());
    }
}
