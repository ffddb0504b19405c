//! A destination put together: its Gateway and listeners, the routes that are attached to it, and the default ones.
//!
//! Clients see one of several faces: the common one, or one of their namespace's own where consumer routes (GEP-1294) or
//! DestinationRules make a difference. Which these are depends on objects alone, never on who is there to ask.

use super::places::{self, Place, Way};
use super::speech::Speech;
use crate::backend::{BackendId, Caller};
use crate::destination;
use crate::egress::everything;
use crate::model::EntryModel;
use crate::route::{destinations, is_refused};
use crate::status::ParentRef;
use crate::view::View;
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{
    Attachment, BackendKey, BackendTarget, Gateway, GatewayKey, HostPattern, Listener, ListenerKey,
    ListenerProtocol, Origin, Route, RouteKey, RouteKind, Settings, StreamKind, StreamRoute, StreamRouteKey,
    WeightedBackend,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Kinds of routes in the order in which they win a port (GEP-1294).
const ORDER: [Kind; 4] = [Kind::GrpcRoute, Kind::HttpRoute, Kind::TlsRoute, Kind::TcpRoute];

/// What a destination comes to.
#[derive(Debug, Default)]
pub(crate) struct MeshOutput {
    pub(crate) gateways: Vec<Arc<Gateway>>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) requests: Vec<Route>,
    pub(crate) streams: Vec<StreamRoute>,
    /// `None`: it is not there.
    pub(crate) parent: Option<MeshParent>,
}

/// What a destination offers to routes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MeshParent {
    pub(super) offers: Vec<Offer>,
    /// Ports of the object, for people: number, name and what they speak.
    pub(super) ports: Vec<(u16, String, Speech)>,
}

/// One listener, and the routes that have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) listener: ListenerKey,
    pub(super) number: u16,
    pub(super) name: String,
    pub(super) hostname: HostPattern,
    pub(super) speech: Speech,
    /// The kind of the routes that have it.
    pub(super) kind: Option<Kind>,
    pub(super) routes: BTreeSet<ObjectRef>,
}

/// A Service or a ServiceEntry.
struct Destination<'a> {
    reference: &'a ObjectRef,
    places: Vec<Place<'a>>,
    /// `None`: a Service.
    entry: Option<&'a Arc<EntryModel>>,
}

/// A route whose parent is the destination.
struct Candidate<'a> {
    reference: &'a ObjectRef,
    parents: Vec<&'a ParentRef>,
    hostnames: &'a [HostPattern],
}

/// One port as some clients see it.
#[derive(PartialEq, Eq)]
struct Slot {
    kind: Option<Kind>,
    routes: BTreeSet<ObjectRef>,
    requests: Option<BackendKey>,
    whole: Option<BackendKey>,
}

/// A destination as some clients see it: by place; `None`: they do not.
type Face = Vec<Option<Slot>>;

/// The backends that the default routes of a destination may lead to.
pub(crate) fn backend_ids(view: &View<'_>, reference: &ObjectRef) -> Vec<BackendId> {
    let Some(destination) = find(view, reference) else { return Vec::new() };
    let clients = clients(view, &destination, &candidates(view, reference));
    let mut ids = Vec::new();
    for place in &destination.places {
        let (requests, whole) = place.speech.callers();
        for caller in requests.into_iter().chain(whole) {
            ids.push(place.id(None, caller));
            ids.extend(clients.iter().map(|client| place.id(Some(client), caller)));
        }
    }
    ids.sort();
    ids.dedup();
    ids
}

/// Computes a destination.
pub(crate) fn compute(view: &View<'_>, reference: &ObjectRef) -> MeshOutput {
    let Some(destination) = find(view, reference) else { return MeshOutput::default() };
    let candidates = candidates(view, reference);
    let common = face(view, &destination, None, &candidates);
    let ports = destination.places.iter().map(|it| (it.number, it.name.to_owned(), it.speech));
    let mut output = MeshOutput {
        parent: Some(MeshParent { offers: Vec::new(), ports: ports.collect() }),
        ..MeshOutput::default()
    };
    for client in clients(view, &destination, &candidates) {
        let own = face(view, &destination, Some(&client), &candidates);
        if own != common {
            output.add(&destination, Some(&client), own);
        }
    }
    output.add(&destination, None, common);
    output
}

fn find<'a>(view: &View<'a>, reference: &'a ObjectRef) -> Option<Destination<'a>> {
    match reference.kind {
        Kind::Service => {
            let service = view.service(reference)?;
            Some(Destination { reference, places: places::of_service(view, service), entry: None })
        }
        _ => {
            let entry = view.entry(reference)?;
            Some(Destination { reference, places: places::of_entry(view, entry), entry: Some(entry) })
        }
    }
}

/// Namespaces whose clients may see something else than all others do.
fn clients(view: &View<'_>, of: &Destination<'_>, candidates: &[Candidate<'_>]) -> BTreeSet<Name> {
    let mut clients: BTreeSet<Name> = match of.entry {
        None => destination::clients(view, &view.domain().host(of.reference)),
        Some(entry) => entry.hosts.iter().flat_map(|it| destination::clients(view, it)).collect(),
    };
    if let Some(entry) = of.entry {
        clients.extend(of.places.iter().flat_map(|it| places::audience(view, entry, it).0));
    }
    let consumers = candidates.iter().map(|it| &it.reference.namespace);
    clients.extend(consumers.filter(|it| **it != of.reference.namespace).cloned());
    clients
}

/// The routes that have the destination as parent, and that their objects do not refuse.
fn candidates<'a>(view: &View<'a>, reference: &ObjectRef) -> Vec<Candidate<'a>> {
    let routes = view.routes_to(reference).filter_map(|it| {
        let (parents, hostnames) = match it.kind {
            Kind::HttpRoute | Kind::GrpcRoute => {
                let route = view.route(it)?;
                let is_refused = is_refused(&route.meta, &route.faults, route.rule_count);
                (!is_refused).then_some((&route.parents, &route.hostnames))?
            }
            _ => {
                let route = view.stream(it)?;
                let is_refused = is_refused(&route.meta, &route.faults, 1);
                (!is_refused).then_some((&route.parents, &route.hostnames))?
            }
        };
        let names = |parent: &&Arc<ParentRef>| {
            destinations(std::slice::from_ref(*parent), &it.namespace).any(|it| it == *reference)
        };
        let parents = parents.iter().filter(names).map(|it| &**it).collect();
        Some(Candidate { reference: it, parents, hostnames })
    });
    routes.collect()
}

impl Candidate<'_> {
    /// Whether the route is for a port. Hosts of a Service are its own, whatever a route of requests says.
    fn means(&self, place: &Place<'_>) -> bool {
        let is_named = self.parents.iter().any(|it| {
            it.section_name.as_ref().is_none_or(|name| *name == place.name)
                && it.port.is_none_or(|port| port == i32::from(place.number))
        });
        let is_host = place.host.is_none_or(|host| {
            let own = HostPattern::parse(host);
            self.hostnames.is_empty() || self.hostnames.iter().any(|it| own.intersection(it).is_some())
        });
        is_named && is_host && place.speech.takes(self.reference.kind)
    }
}

/// The destination as clients of a namespace see it; `None`: those of namespaces that have nothing of their own.
fn face(view: &View<'_>, of: &Destination<'_>, client: Option<&Name>, candidates: &[Candidate<'_>]) -> Face {
    let slot = |place: &Place<'_>| {
        if let Some(entry) = of.entry {
            let (clients, others) = places::audience(view, entry, place);
            let is_for =
                client.map_or(others, |it| clients.contains(it) || others && !rivalled(view, place, it));
            is_for.then_some(())?;
        }
        let (kind, routes) = attached(of, place, client, candidates);
        let key = |caller: Caller| {
            let outcome = view.backend(&place.id(client, caller))?;
            Some(outcome.as_ref().as_ref().ok()?.backend.key.clone())
        };
        let (requests, whole) = match kind {
            Some(_) => (None, None),
            None => place.speech.callers(),
        };
        let slot = Slot { kind, routes, requests: requests.and_then(key), whole: whole.and_then(key) };
        (slot.kind.is_some() || slot.requests.is_some() || slot.whole.is_some()).then_some(slot)
    };
    of.places.iter().map(slot).collect()
}

/// Whether a namespace follows another entry for the host of a place than those do that have none of their own.
fn rivalled(view: &View<'_>, place: &Place<'_>, client: &Name) -> bool {
    let Some(host) = place.host else { return false };
    let all = view.entries_of(host);
    let chosen = |client: &str| crate::backend::choose(&all, client, place.number);
    match (chosen(client), chosen("")) {
        (Some(own), Some(common)) => !Arc::ptr_eq(own, common),
        (own, common) => own.is_some() != common.is_some(),
    }
}

/// The routes that have a port, for clients of a namespace: its own ones (consumer) take the place of those of the
/// destination's namespace (producer), and of several kinds one wins (GEP-1294).
fn attached(
    of: &Destination<'_>,
    place: &Place<'_>,
    client: Option<&Name>,
    candidates: &[Candidate<'_>],
) -> (Option<Kind>, BTreeSet<ObjectRef>) {
    let home = &of.reference.namespace;
    let from = |namespace: &Name| {
        let all = candidates.iter().filter(|it| it.reference.namespace == *namespace && it.means(place));
        all.map(|it| it.reference.clone()).collect::<Vec<_>>()
    };
    let own = client.filter(|it| *it != home).map(from).unwrap_or_default();
    let routes = if own.is_empty() { from(home) } else { own };
    let Some(kind) = ORDER.into_iter().find(|kind| routes.iter().any(|it| it.kind == *kind)) else {
        return (None, BTreeSet::new());
    };
    (Some(kind), routes.into_iter().filter(|it| it.kind == kind).collect())
}

impl MeshOutput {
    /// Makes the resources of one face.
    fn add(&mut self, of: &Destination<'_>, client: Option<&Name>, face: Face) {
        if face.iter().all(Option::is_none) {
            return;
        }
        let reference = of.reference;
        let suffix = client.map(|it| format!("@{it}")).unwrap_or_default();
        let name = format!("Mesh/{}/{}/{}{suffix}", reference.kind, reference.namespace, reference.name);
        let key = GatewayKey::new(name);
        let before = self.listeners.len();
        for (place, slot) in of.places.iter().zip(face) {
            if let Some(slot) = slot {
                self.add_port(of, &key, place, slot);
            }
        }
        if self.listeners.len() == before {
            return;
        }
        self.gateways.push(Arc::new(Gateway::plain(key, origin(reference), settings())));
    }

    fn add_port(&mut self, of: &Destination<'_>, gateway: &GatewayKey, place: &Place<'_>, slot: Slot) {
        let key = format!("{gateway}/{}", place.key);
        let section = if place.name.is_empty() { place.number.to_string() } else { place.name.to_owned() };
        let origin = origin(of.reference).section(section);
        let mut requests = Vec::new();
        let (mut whole, mut by_name) = (Vec::new(), Vec::new());
        for way in &place.ways {
            let protocol = protocol(place.speech, slot.kind, way);
            let (suffix, hostname) = match way {
                Way::Addresses(..) => (String::new(), HostPattern::Any),
                Way::Name(name) => (format!("+{name}"), name.clone()),
            };
            let listener = ListenerKey::new(format!("{key}{suffix}"));
            let (addresses, networks) = match way {
                Way::Addresses(addresses, networks) => (addresses.clone(), networks.clone()),
                Way::Name(_) => (Vec::new(), Vec::new()),
            };
            let attachment = Attachment { listener: listener.clone(), hostnames: [hostname.clone()].into() };
            match protocol {
                ListenerProtocol::TlsPassthrough => by_name.push(attachment),
                ListenerProtocol::Tcp => whole.push(attachment),
                ListenerProtocol::Detect => {
                    requests.push(attachment.clone());
                    whole.push(attachment);
                }
                _ => requests.push(attachment),
            }
            if let Some(parent) = &mut self.parent {
                parent.offers.push(Offer {
                    listener: listener.clone(),
                    number: place.number,
                    name: place.name.to_owned(),
                    hostname: hostname.clone(),
                    speech: place.speech,
                    kind: slot.kind,
                    routes: slot.routes.clone(),
                });
            }
            self.listeners.push(Arc::new(Listener {
                key: listener,
                origin: origin.clone(),
                gateway: gateway.clone(),
                addresses,
                networks,
                port: place.seen_at,
                protocol,
                hostname,
                destination: Some(place.destination.clone()),
                traffic: None,
            }));
        }
        if let Some(backend) = slot.requests.filter(|_| !requests.is_empty()) {
            self.requests.push(Route {
                key: RouteKey::new(key.clone()),
                origin: origin.clone(),
                kind: RouteKind::Http,
                created_s: 0,
                attachments: requests.into(),
                rules: everything(to(backend)).into(),
                traffic: None,
            });
        }
        let Some(backend) = slot.whole else { return };
        let backends = to(backend);
        let kinds = [(StreamKind::Tcp, whole, String::new()), (StreamKind::Tls, by_name, "+tls".to_owned())];
        for (kind, attachments, suffix) in kinds.into_iter().filter(|it| !it.1.is_empty()) {
            self.streams.push(StreamRoute {
                key: StreamRouteKey::new(format!("{key}{suffix}")),
                origin: origin.clone(),
                kind,
                created_s: 0,
                attachments: attachments.into(),
                backends: backends.clone(),
            });
        }
    }
}

/// What is spoken: what the routes are for, else what the port says. TLS that is found by its address is carried whole.
fn protocol(speech: Speech, kind: Option<Kind>, way: &Way) -> ListenerProtocol {
    match (kind, speech, way) {
        (Some(Kind::HttpRoute | Kind::GrpcRoute), ..) => ListenerProtocol::Http,
        (Some(Kind::TlsRoute), ..) => ListenerProtocol::TlsPassthrough,
        (Some(_), ..) => ListenerProtocol::Tcp,
        (None, Speech::Http1 | Speech::Http2, _) => ListenerProtocol::Http,
        (None, Speech::Tls, Way::Name(_)) => ListenerProtocol::TlsPassthrough,
        (None, Speech::Tls | Speech::Tcp, _) => ListenerProtocol::Tcp,
        (None, Speech::Unknown, _) => ListenerProtocol::Detect,
    }
}

fn to(backend: BackendKey) -> Arc<[WeightedBackend]> {
    let target = BackendTarget::Backend(backend);
    [WeightedBackend { target, weight: 1, filters: Box::default() }].into()
}

fn origin(reference: &ObjectRef) -> Origin {
    Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone())
}

/// Those that Istio's sidecars have: nothing is left out unless a DestinationRule asks for it, 10 s to connect, an hour of
/// silence; and all connections are one application's.
fn settings() -> Settings {
    let mut settings = Settings { eject_after_failures: 0, ..Settings::standard() };
    let limits = &mut settings.limits;
    limits.connect_timeout = Duration::from_secs(10);
    limits.stream_idle_timeout = Duration::from_secs(3600);
    limits.connections_per_client = limits.connections;
    settings
}
