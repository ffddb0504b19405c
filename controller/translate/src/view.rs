//! What a computation sees: the objects and the results of earlier computations. Every look is noted.

use crate::authentication::AuthenticationModel;
use crate::authorization::{AuthorizationModel, ResolvedAuthorization};
use crate::backend::{BackendId, BackendOutcome};
use crate::destination::{DestinationModel, ServiceDomain};
use crate::egress::{Proxies, Shapes};
use crate::gateway::{CertificateOutcome, Lost, Parent};
use crate::health::HealthModel;
use crate::issuer::{IssuerOutcome, OnDemandListener};
use crate::mesh::MeshParent;
use crate::model::{
    ConfigMapModel, EntryModel, GatewayModel, IssuerModel, ParametersModel, PeerAuthenticationModel,
    PodModel, PolicyModel, RouteModel, SecretModel, ServiceModel, SetModel, SidecarModel, SliceModel,
    StreamModel, TrafficModel, WorkloadModel,
};
use crate::reads::Key;
use crate::status::Condition;
use crate::store::{Store, of_namespace, oldest_first};
use crate::telemetry::TelemetryModel;
use crate::translator::Options;
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{Authorization, Locality, MutualTls, OnDemandKey};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Objects and results.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Options,
    /// Release of the Gateway API's CRDs, if they say it.
    pub(crate) release: Option<String>,
    pub(crate) controller_name: Arc<str>,
    /// Shared by all routes that are well.
    pub(crate) good_route: Arc<[Condition]>,
    pub(crate) store: Store,
    pub(crate) lost: BTreeMap<ObjectRef, Arc<Lost>>,
    pub(crate) certificates: BTreeMap<ObjectRef, Arc<CertificateOutcome>>,
    pub(crate) issuers: BTreeMap<ObjectRef, Arc<IssuerOutcome>>,
    pub(crate) parents: BTreeMap<ObjectRef, Arc<Parent>>,
    pub(crate) authorizations: BTreeMap<ObjectRef, Arc<ResolvedAuthorization>>,
    /// Listeners that obtain certificates at handshakes.
    pub(crate) on_demand: BTreeMap<OnDemandKey, Vec<OnDemandListener>>,
    /// Listeners that are forward proxies.
    pub(crate) forward_proxies: Proxies,
    /// What routes with a ServiceEntry as parent do to the ways of that entry.
    pub(crate) shapes: BTreeMap<ObjectRef, Shapes>,
    pub(crate) backends: BTreeMap<Arc<BackendId>, Arc<BackendOutcome>>,
    /// Whether there is a mesh: without one nothing of it is translated.
    pub(crate) is_mesh: bool,
    /// What destinations of the mesh offer to routes.
    pub(crate) mesh: BTreeMap<ObjectRef, Arc<MeshParent>>,
}

/// One computation's look at the state.
#[derive(Debug)]
pub(crate) struct View<'a> {
    state: &'a State,
    reads: RefCell<Vec<Key>>,
}

impl<'a> View<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Self { state, reads: RefCell::new(Vec::new()) }
    }

    /// What was read, sorted, each once.
    pub(crate) fn into_reads(self) -> Vec<Key> {
        let mut reads = self.reads.into_inner();
        reads.sort_unstable();
        reads.dedup();
        reads
    }

    fn note(&self, key: Key) {
        self.reads.borrow_mut().push(key);
    }

    fn note_object(&self, reference: &ObjectRef) {
        self.note(Key::Object(reference.clone()));
    }

    pub(crate) fn controller_name(&self) -> Arc<str> {
        self.state.controller_name.clone()
    }

    /// The same list, shared when it is the usual one.
    pub(crate) fn share_conditions(&self, conditions: Vec<Condition>) -> Arc<[Condition]> {
        if *conditions == *self.state.good_route { self.state.good_route.clone() } else { conditions.into() }
    }

    pub(crate) fn options(&self) -> &'a Options {
        &self.state.options
    }

    /// How hosts name Services; it never changes.
    pub(crate) fn domain(&self) -> &'a ServiceDomain {
        &self.state.store.domain
    }

    /// Not noted: classes are run anew when it changes.
    pub(crate) fn release(&self) -> Option<&'a str> {
        self.state.release.as_deref()
    }

    pub(crate) fn class(&self, name: &str) -> Option<&'a Arc<crate::model::ClassModel>> {
        let reference = ObjectRef::new(Kind::GatewayClass, "", name);
        self.note_object(&reference);
        self.state.store.classes.get(&reference)
    }

    pub(crate) fn gateway(&self, reference: &ObjectRef) -> Option<&'a Arc<GatewayModel>> {
        self.note_object(reference);
        self.state.store.gateways.get(reference)
    }

    pub(crate) fn listener_set(&self, reference: &ObjectRef) -> Option<&'a Arc<SetModel>> {
        self.note_object(reference);
        self.state.store.sets.get(reference)
    }

    /// Only for the route's own computation and for those of policies that target it, which run when the route changes
    /// and need not note that.
    pub(crate) fn route(&self, reference: &ObjectRef) -> Option<&'a Arc<RouteModel>> {
        self.state.store.routes.get(reference)
    }

    pub(crate) fn parameters(&self, namespace: &str, name: &str) -> Option<&'a Arc<ParametersModel>> {
        let reference = ObjectRef::new(Kind::GatewayParameters, namespace, name);
        self.note_object(&reference);
        self.state.store.parameters.get(&reference)
    }

    pub(crate) fn service(&self, reference: &ObjectRef) -> Option<&'a Arc<ServiceModel>> {
        self.note_object(reference);
        self.state.store.services.get(reference)
    }

    /// The first Service of a namespace that has exactly this selector.
    pub(crate) fn service_with(
        &self,
        namespace: &str,
        selector: &BTreeMap<String, String>,
    ) -> Option<ObjectRef> {
        self.note(Key::Selectors(namespace.into()));
        let first = ObjectRef::new(Kind::Service, namespace, "");
        let mut all = self.state.store.services.range(first..);
        let found = all.by_ref().take_while(|it| it.0.namespace == *namespace);
        let mut found = found.filter(|it| it.1.selector == *selector);
        found.next().map(|it| it.0.clone())
    }

    pub(crate) fn secret(&self, reference: &ObjectRef) -> Option<&'a Arc<SecretModel>> {
        self.note_object(reference);
        self.state.store.secrets.get(reference)
    }

    pub(crate) fn config_map(&self, reference: &ObjectRef) -> Option<&'a Arc<ConfigMapModel>> {
        self.note_object(reference);
        self.state.store.config_maps.get(reference)
    }

    /// The policies that target a Service or ServiceEntry, in the order in which they win. They are read with their
    /// target: a policy that comes or goes touches it.
    pub(crate) fn policies_of(&self, object: &ObjectRef) -> Vec<&'a Arc<PolicyModel>> {
        self.note_object(object);
        self.state.store.policies_of(object)
    }

    /// Only for the route's own computation, which runs when the route changes and need not note that.
    pub(crate) fn stream(&self, reference: &ObjectRef) -> Option<&'a Arc<StreamModel>> {
        self.state.store.streams.get(reference)
    }

    /// Only for the policy's own computation, which runs when the policy changes and need not note that.
    pub(crate) fn policy(&self, reference: &ObjectRef) -> Option<&'a Arc<PolicyModel>> {
        self.state.store.policies.get(reference)
    }

    /// The TrafficPolicies that target an object, in the order in which they win. Not noted: one that comes or goes
    /// touches its targets and the other policies of the same target.
    pub(crate) fn traffic_of(&self, target: &ObjectRef) -> Vec<&'a Arc<TrafficModel>> {
        self.state.store.traffic_of(target)
    }

    /// Only for the policy's own computation, which runs when the policy changes and need not note that.
    pub(crate) fn health(&self, reference: &ObjectRef) -> Option<&'a Arc<HealthModel>> {
        self.state.store.health.get(reference)
    }

    /// The HealthCheckPolicies that target a Service or ServiceEntry, in the order in which they win. They are read with
    /// the target: a policy that comes or goes touches it.
    pub(crate) fn health_of(&self, target: &ObjectRef) -> Vec<&'a Arc<HealthModel>> {
        self.note_object(target);
        self.state.store.health_of(target)
    }

    /// Only for the policy's own computation, which runs when the policy changes and need not note that.
    pub(crate) fn authorization(&self, reference: &ObjectRef) -> Option<&'a Arc<AuthorizationModel>> {
        self.state.store.authorizations.get(reference)
    }

    /// The AuthorizationPolicies that name a Gateway or GatewayClass, oldest first, then by name.
    pub(crate) fn authorization_of(&self, object: &ObjectRef) -> Vec<Arc<Authorization>> {
        self.note(Key::AuthorizationOf(object.clone()));
        let references = self.state.store.authorizations_of(object);
        in_order(references.filter_map(|it| self.state.authorizations.get(it)))
    }

    /// The AuthorizationPolicies of a namespace that govern workloads, oldest first, then by name.
    pub(crate) fn authorization_in(&self, namespace: &str) -> Vec<Arc<Authorization>> {
        self.note(Key::AuthorizationIn(namespace.into()));
        let first = ObjectRef::new(Kind::AuthorizationPolicy, namespace, "");
        let all = self.state.authorizations.range(first..).take_while(|it| it.0.namespace == *namespace);
        in_order(all.map(|it| it.1).filter(|it| it.is_for_workloads))
    }

    /// Only for the policy's own computation, which runs when the policy changes and need not note that.
    pub(crate) fn authentication(&self, reference: &ObjectRef) -> Option<&'a Arc<AuthenticationModel>> {
        self.state.store.authentications.get(reference)
    }

    /// The RequestAuthentications that name a Gateway or GatewayClass, oldest first, then by name.
    pub(crate) fn authentications_of(&self, object: &ObjectRef) -> Vec<&'a Arc<AuthenticationModel>> {
        self.note(Key::AuthenticationOf(object.clone()));
        self.state.store.authentications_of(object)
    }

    /// The RequestAuthentications of a namespace that govern workloads, oldest first, then by name.
    pub(crate) fn authentications_in(&self, namespace: &str) -> Vec<&'a Arc<AuthenticationModel>> {
        self.note(Key::AuthenticationIn(namespace.into()));
        self.state.store.authentications_in(namespace)
    }

    pub(crate) fn entry(&self, reference: &ObjectRef) -> Option<&'a Arc<EntryModel>> {
        self.note_object(reference);
        self.state.store.entries.get(reference)
    }

    /// The same for the name of a Service. Not noted: an entry that comes or goes touches the Service.
    pub(crate) fn decorating(&self, host: &str) -> Vec<&'a Arc<EntryModel>> {
        self.state.store.entries_of(host)
    }

    /// Addresses that the hosts of an entry have been given. Not noted: an entry whose addresses change is told so.
    pub(crate) fn addresses_of(&self, entry: &ObjectRef) -> Vec<(Name, IpAddr)> {
        self.state.store.addresses.of(entry)
    }

    /// The WorkloadEntries that an entry chooses, by name.
    pub(crate) fn workloads_of(&self, entry: &EntryModel) -> Vec<&'a Arc<WorkloadModel>> {
        self.note(Key::Workloads(entry.meta.reference.clone()));
        self.state.store.workloads_of(entry)
    }

    /// The slices of a Service, ordered by name.
    pub(crate) fn slices(&self, service: &ObjectRef) -> Vec<&'a Arc<SliceModel>> {
        self.note(Key::Slices(service.clone()));
        self.state.store.slices_of(service)
    }

    /// The ServiceEntries that name a host, oldest first.
    pub(crate) fn entries_of(&self, host: &str) -> Vec<&'a Arc<EntryModel>> {
        self.note(Key::Host(host.into()));
        self.state.store.entries_of(host)
    }

    /// Whether there is any DestinationRule.
    pub(crate) fn has_destinations(&self) -> bool {
        !self.state.store.destinations.is_empty()
    }

    /// Only for the rule's own computation, which runs when the rule changes and need not note that.
    pub(crate) fn destination(&self, reference: &ObjectRef) -> Option<&'a Arc<DestinationModel>> {
        self.state.store.destinations.get(reference)
    }

    /// The DestinationRules of exactly this host, oldest first. Not noted: a rule that comes, goes or changes touches
    /// the Service or host that it names and the other rules of its host, a wildcard the backends that it covers.
    pub(crate) fn destinations_of(&self, host: &str) -> Vec<&'a Arc<DestinationModel>> {
        self.state.store.destinations_of(host)
    }

    /// The ListenerSets that name this Gateway as parent, in merge order: oldest, then namespace/name.
    pub(crate) fn sets_of(&self, gateway: &ObjectRef) -> Vec<&'a Arc<SetModel>> {
        self.note(Key::SetsOf(gateway.clone()));
        self.state.store.sets_of(gateway)
    }

    /// Every Gateway, oldest first, then namespace/name. Notes only the topology: a reader must not depend on more.
    pub(crate) fn all_gateways(&self) -> Vec<&'a Arc<GatewayModel>> {
        self.note(Key::Topology);
        let mut all: Vec<_> = self.state.store.gateways.values().collect();
        all.sort_by_key(|it| (it.meta.created_s, it.meta.reference.clone()));
        all
    }

    /// Whether a grant in `to.namespace` lets objects of `from` (group, kind, namespace) name `to`.
    pub(crate) fn is_granted(&self, from: (&str, &str, &str), to: (&str, &str, &str, &str)) -> bool {
        let (to_group, to_kind, to_namespace, to_name) = to;
        self.note(Key::Grants(to_namespace.into()));
        self.state.store.grants_in(to_namespace).any(|grant| {
            grant.from.iter().any(|it| (it.0.as_str(), it.1.as_str(), it.2.as_str()) == from)
                && grant.to.iter().any(|it| {
                    it.0 == to_group && it.1 == to_kind && it.2.as_ref().is_none_or(|name| name == to_name)
                })
        })
    }

    /// Labels of a namespace. `kubernetes.io/metadata.name` is always there, also when no object is.
    pub(crate) fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        let reference = ObjectRef::new(Kind::Namespace, "", name);
        self.note_object(&reference);
        let mut labels =
            self.state.store.namespaces.get(&reference).map(|it| (**it).clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        labels
    }

    /// Where a node is, if its labels say so.
    pub(crate) fn place_of(&self, node: &Name) -> Option<&'a Locality> {
        let reference = ObjectRef::new(Kind::Node, "", node.clone());
        self.note_object(&reference);
        self.state.store.places.get(&reference).map(|it| &**it)
    }

    pub(crate) fn lost(&self, gateway: &ObjectRef) -> Option<&'a Arc<Lost>> {
        self.note(Key::Lost(gateway.clone()));
        self.state.lost.get(gateway)
    }

    pub(crate) fn certificate(&self, secret: &ObjectRef) -> Option<&'a Arc<CertificateOutcome>> {
        self.note(Key::Certificate(secret.clone()));
        self.state.certificates.get(secret)
    }

    /// Only for the issuer's own computation, which runs when the issuer changes and need not note that.
    pub(crate) fn issuer_model(&self, reference: &ObjectRef) -> Option<&'a Arc<IssuerModel>> {
        self.state.store.issuers.get(reference)
    }

    pub(crate) fn issuer(&self, reference: &ObjectRef) -> Option<&'a IssuerOutcome> {
        self.note(Key::Issuer(reference.clone()));
        self.state.issuers.get(reference).map(|it| &**it)
    }

    /// The listeners of a key that obtain certificates at handshakes.
    pub(crate) fn on_demand(&self, key: &OnDemandKey) -> &'a [OnDemandListener] {
        self.note(Key::OnDemand(key.clone()));
        self.state.on_demand.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Listeners that are forward proxies.
    pub(crate) fn forward_proxies(&self) -> &'a Proxies {
        self.note(Key::ForwardProxies);
        &self.state.forward_proxies
    }

    /// Only for the Sidecar's own computation, which runs when the Sidecar changes and need not note that.
    pub(crate) fn sidecar(&self, reference: &ObjectRef) -> Option<&'a Arc<SidecarModel>> {
        self.state.store.sidecars.get(reference)
    }

    /// The Sidecars of a namespace, the oldest first.
    pub(crate) fn sidecars_in(&self, namespace: &str) -> Vec<&'a Arc<SidecarModel>> {
        self.note(Key::Outbound(namespace.into()));
        self.state.store.sidecars_in(namespace)
    }

    /// The Sidecar that says what may leave a namespace: of those that hold for all of it the oldest that says so.
    pub(crate) fn outbound_of(&self, namespace: &str) -> Option<&'a Arc<SidecarModel>> {
        self.sidecars_in(namespace).into_iter().find(|it| it.selector.is_none() && it.mode.is_some())
    }

    /// What routes with this ServiceEntry as parent do to its ways.
    pub(crate) fn shapes(&self, entry: &ObjectRef) -> Shapes {
        self.note(Key::Shapes(entry.clone()));
        self.state.shapes.get(entry).cloned().unwrap_or_default()
    }

    /// Whether there is a mesh. Not noted: what reads it runs anew when it changes.
    pub(crate) fn is_mesh(&self) -> bool {
        self.state.is_mesh
    }

    /// What a destination of the mesh offers to routes.
    pub(crate) fn mesh_parent(&self, reference: &ObjectRef) -> Option<&'a Arc<MeshParent>> {
        self.note(Key::Mesh(reference.clone()));
        self.state.mesh.get(reference)
    }

    /// The pod with a sidecar at an address.
    pub(crate) fn pod_at(&self, address: IpAddr) -> Option<&'a Arc<PodModel>> {
        self.note(Key::Pod(address));
        self.state.store.pod_at(address)
    }

    /// Only for the Telemetry's own computation, which runs when it changes and need not note that.
    pub(crate) fn telemetry(&self, reference: &ObjectRef) -> Option<&'a Arc<TelemetryModel>> {
        self.state.store.telemetries.get(reference)
    }

    /// The Telemetries of a namespace, the oldest first.
    pub(crate) fn telemetry_in(&self, namespace: &str) -> Vec<&'a Arc<TelemetryModel>> {
        self.note(Key::TelemetryIn(namespace.into()));
        let all = of_namespace(&self.state.store.telemetries, Kind::Telemetry, namespace);
        oldest_first(all, |it| &it.meta)
    }

    /// The Telemetries that name a Gateway, or a class from the root namespace, the oldest first.
    pub(crate) fn telemetry_of(&self, object: &ObjectRef) -> Vec<&'a Arc<TelemetryModel>> {
        let root = self.options().root_namespace.as_str();
        let home = if object.kind == Kind::GatewayClass { root } else { &*object.namespace };
        let all = self.telemetry_in(home).into_iter();
        all.filter(|it| it.objects().any(|named| named == object)).collect()
    }

    /// What PeerAuthentications say of the workloads of a namespace, the oldest first.
    pub(crate) fn mutual_tls(&self, namespace: &str) -> Vec<MutualTls> {
        let root = self.state.options.root_namespace.as_str();
        self.note(Key::MutualTls(namespace.into()));
        self.note(Key::MutualTls(root.into()));
        self.state.store.mutual_tls(namespace, root)
    }

    /// Only for the PeerAuthentication's own computation, which runs when it changes and need not note that.
    pub(crate) fn peer_authentication(
        &self,
        reference: &ObjectRef,
    ) -> Option<&'a Arc<PeerAuthenticationModel>> {
        self.state.store.peers.get(reference)
    }

    /// The routes that have a destination as parent. Not noted: a route that comes, goes or changes touches it.
    pub(crate) fn routes_to(&self, destination: &ObjectRef) -> impl Iterator<Item = &'a ObjectRef> {
        self.state.store.routes_to(destination)
    }

    /// Every host that a ServiceEntry names.
    pub(crate) fn entry_hosts(&self) -> impl Iterator<Item = &'a str> {
        self.note(Key::Names);
        self.state.store.entry_hosts()
    }

    /// As [`View::entries_of`], for one who reads all of them. Not noted: see [`View::entry_hosts`].
    pub(crate) fn entries_named(&self, host: &str) -> Vec<&'a Arc<EntryModel>> {
        self.state.store.entries_of(host)
    }

    pub(crate) fn parent(&self, reference: &ObjectRef) -> Option<&'a Arc<Parent>> {
        let known = self.state.parents.get_key_value(reference);
        self.note(Key::Parent(known.map_or_else(|| reference.clone(), |(same, _)| same.clone())));
        known.map(|(_, parent)| parent)
    }

    pub(crate) fn backend(&self, id: &BackendId) -> Option<&'a Arc<BackendOutcome>> {
        let known = self.state.backends.get_key_value(id);
        self.note(Key::Backend(known.map_or_else(|| Arc::new(id.clone()), |(same, _)| same.clone())));
        known.map(|(_, backend)| backend)
    }
}

fn in_order<'a>(all: impl Iterator<Item = &'a Arc<ResolvedAuthorization>>) -> Vec<Arc<Authorization>> {
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| (a.created_s, &a.policy.origin).cmp(&(b.created_s, &b.policy.origin)));
    all.into_iter().map(|it| it.policy.clone()).collect()
}
