//! What ServiceEntries let forward proxies reach: for each host and port that clients may name, the way there.
//!
//! In: a ServiceEntry and the listeners of protocol `sluice.dev/ForwardProxy`. Out: routes of requests (a target in
//! absolute form, for ports of HTTP) and of whole connections (CONNECT, for every port), attached to the listeners of
//! namespaces that see the entry. A host that no entry names has no route, and so is refused.
//!
//! Routes whose parent is the ServiceEntry (`shape`) take the place of these ways where they attach. A Sidecar may open a
//! way to every host that nobody names (`outbound`).

mod outbound;
mod shape;
mod sidecar;

pub(crate) use outbound::{backend_ids as outbound_ids, compute as outbound};
pub(crate) use shape::{Shapes, attach};
pub(crate) use sidecar::compute as sidecar;

use crate::backend::{BackendId, Caller, Target, choose};
use crate::model::{EntryModel, EntryPort, port};
use crate::problem::{Problem, Problems, Severity};
use crate::view::View;
use sluice_crds::{Name, ObjectRef};
use sluice_ir::{
    Attachment, BackendKey, BackendTarget, HostPattern, ListenerKey, Match, Origin, Route, RouteKey,
    RouteKind, Rule, StreamKind, StreamRoute, StreamRouteKey, WeightedBackend, network_name,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A listener that is a forward proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) gateway: ObjectRef,
    /// That of its Gateway or ListenerSet.
    pub(crate) namespace: Name,
}

/// The listeners that are forward proxies.
pub(crate) type Proxies = BTreeMap<ListenerKey, Proxy>;

/// The ways that an entry opens.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ways {
    pub(crate) requests: Vec<Route>,
    pub(crate) tunnels: Vec<StreamRoute>,
}

impl Ways {
    /// The backends that they lead to, as often as they name them.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &BackendKey> {
        let of_requests = self.requests.iter().flat_map(|it| &it.rules).flat_map(|it| it.backends.iter());
        let of_tunnels = self.tunnels.iter().flat_map(|it| it.backends.iter());
        of_requests.chain(of_tunnels).filter_map(|it| match &it.target {
            BackendTarget::Backend(key) => Some(key),
            BackendTarget::Fail(_) => None,
        })
    }

    /// The listeners from which they lead to a backend.
    pub(crate) fn listeners_of<'a>(&'a self, key: &'a BackendKey) -> impl Iterator<Item = &'a ListenerKey> {
        let leads = move |it: &WeightedBackend| matches!(&it.target, BackendTarget::Backend(to) if to == key);
        let of_requests = self
            .requests
            .iter()
            .filter(move |it| it.rules.iter().any(|rule| rule.backends.iter().any(leads)))
            .flat_map(|it| &it.attachments);
        let of_tunnels = self
            .tunnels
            .iter()
            .filter(move |it| it.backends.iter().any(leads))
            .flat_map(|it| &it.attachments);
        of_requests.chain(of_tunnels).map(|it| &it.listener)
    }
}

/// One host and port of an entry.
struct Destination<'a> {
    entry: &'a EntryModel,
    host: &'a str,
    found: &'a EntryPort,
    number: u16,
    /// Whether the entry's addresses stand for it: they do for the first host.
    is_first: bool,
}

impl Destination<'_> {
    /// `HOST:PORT`.
    fn name(&self) -> String {
        format!("{}:{}", self.host, self.number)
    }

    /// What clients call it: host and port, and the addresses of the entry with the port.
    fn names(&self) -> Arc<[HostPattern]> {
        let networks = self.entry.usable_networks().filter(|_| self.is_first);
        let addresses = networks.map(|it| match it.prefix_len() == it.max_prefix_len() {
            true => SocketAddr::new(it.addr(), self.number).to_string(),
            false => network_name(it, self.number),
        });
        std::iter::once(self.name()).chain(addresses).map(|it| HostPattern::parse(&it)).collect()
    }

    fn id(&self, namespace: &Name, caller: Caller) -> BackendId {
        let target =
            Target::Hostname { namespace: namespace.clone(), host: self.host.into(), port: self.number };
        BackendId { target, caller, client: None, subset: None }
    }

    /// What requests to it are; `None`: it takes no requests, or only within TLS.
    fn requests(&self) -> Option<Caller> {
        match self.found.protocol.as_str() {
            "HTTP" | "HTTP2" => Some(Caller::Http),
            "GRPC" => Some(Caller::Grpc),
            _ => None,
        }
    }

    fn key(&self) -> String {
        let reference = &self.entry.meta.reference;
        format!("ServiceEntry/{}/{}/{}", reference.namespace, reference.name, self.name())
    }

    fn origin(&self) -> Origin {
        let reference = &self.entry.meta.reference;
        Origin::new("ServiceEntry", reference.namespace.clone(), reference.name.clone())
    }
}

/// The backends that the ways of an entry may lead to.
pub(crate) fn backend_ids(entry: &EntryModel, proxies: &Proxies) -> Vec<BackendId> {
    let mut ids = Vec::new();
    for destination in destinations(entry) {
        for Proxy { namespace, .. } in proxies.values().filter(|it| entry.is_visible_in(&it.namespace)) {
            ids.extend(destination.requests().map(|caller| destination.id(namespace, caller)));
            ids.push(destination.id(namespace, Caller::Tcp));
        }
    }
    ids.sort();
    ids.dedup();
    ids
}

fn destinations(entry: &EntryModel) -> impl Iterator<Item = Destination<'_>> {
    let ports = entry.ports.iter().filter(|it| it.protocol != "UDP");
    let ports = ports.filter_map(|found| Some((found, port(found.number)?)));
    ports.flat_map(move |(found, number)| {
        let hosts = entry.hosts.iter().enumerate();
        hosts.map(move |(index, host)| Destination { entry, host, found, number, is_first: index == 0 })
    })
}

/// Computes the ways of an entry.
pub(crate) fn compute(view: &View<'_>, reference: &ObjectRef) -> (Ways, Vec<Problem>) {
    let (mut ways, mut problems) = (Ways::default(), Problems::of(reference));
    let Some(entry) = view.entry(reference) else { return (ways, Vec::new()) };
    let proxies = view.forward_proxies();
    if proxies.is_empty() {
        return (ways, Vec::new());
    }
    let shapes = view.shapes(reference);
    for destination in destinations(entry) {
        let mut asked = vec![(Caller::Tcp, true)];
        asked.extend(destination.requests().map(|caller| (caller, false)));
        for (caller, is_tunnel) in asked {
            let is_shaped = |listener: &ListenerKey| shapes.take(listener, &destination.name(), is_tunnel);
            let opened = open(view, (proxies, &is_shaped), &destination, caller, &mut problems);
            let Some((attachments, backend)) = opened else { continue };
            let backends: Arc<[WeightedBackend]> = [backend].into();
            if is_tunnel {
                ways.tunnels.push(tunnel(&destination, attachments, backends));
            } else {
                ways.requests.push(requests(&destination, attachments, backends));
            }
        }
    }
    ways.tunnels.extend(closed(entry, &shapes));
    (ways, problems.into_list())
}

/// Requests that routes shape must not go by in a tunnel: it is closed, unless it has a route of its own.
fn closed(entry: &EntryModel, shapes: &Shapes) -> Option<StreamRoute> {
    let attachments: Box<[Attachment]> = shapes
        .closed()
        .into_iter()
        .map(|(listener, names)| Attachment {
            listener,
            hostnames: names.iter().map(|it| HostPattern::parse(it)).collect(),
        })
        .collect();
    let reference = &entry.meta.reference;
    (!attachments.is_empty()).then(|| StreamRoute {
        key: StreamRouteKey::new(format!("ServiceEntry/{}/{}/closed", reference.namespace, reference.name)),
        origin: Origin::new("ServiceEntry", reference.namespace.clone(), reference.name.clone()),
        kind: StreamKind::Tcp,
        created_s: entry.meta.created_s,
        attachments,
        backends: Arc::new([]),
    })
}

/// The listeners that lead to the destination by this entry, and where it is.
fn open(
    view: &View<'_>,
    (proxies, is_shaped): (&Proxies, &dyn Fn(&ListenerKey) -> bool),
    destination: &Destination<'_>,
    caller: Caller,
    problems: &mut Problems,
) -> Option<(Box<[Attachment]>, WeightedBackend)> {
    let hostnames = destination.names();
    let reference = &destination.entry.meta.reference;
    let mut attachments = Vec::new();
    let mut backend = None;
    for (listener, Proxy { namespace, .. }) in proxies {
        if is_shaped(listener) {
            continue;
        }
        // Of several entries with one host the namespace's own counts, then the oldest that it sees.
        let chosen = choose(&view.entries_of(destination.host), namespace, destination.number);
        if chosen.is_none_or(|it| it.meta.reference != *reference) {
            continue;
        }
        match view.backend(&destination.id(namespace, caller)).map(|it| &**it) {
            Some(Ok(resolved)) => {
                backend.get_or_insert_with(|| resolved.backend.key.clone());
                let hostnames = hostnames.clone();
                attachments.push(Attachment { listener: listener.clone(), hostnames });
            }
            Some(Err(failure)) => {
                problems.add(
                    Severity::Warning,
                    "spec",
                    format!("no forward proxy leads to {}: {}", destination.name(), failure.message),
                    failure.next_step.clone(),
                );
            }
            None => {}
        }
    }
    let backend =
        WeightedBackend { target: BackendTarget::Backend(backend?), weight: 1, filters: Box::default() };
    Some((attachments.into(), backend))
}

/// The one rule of a route that takes every request as it is.
pub(crate) fn everything(backends: Arc<[WeightedBackend]>) -> [Rule; 1] {
    [Rule {
        index: 0,
        name: None,
        matches: [Match::default()].into(),
        filters: Box::default(),
        backends,
        timeouts: None,
        retry: None,
        session_persistence: None,
    }]
}

fn requests(
    destination: &Destination<'_>,
    attachments: Box<[Attachment]>,
    backends: Arc<[WeightedBackend]>,
) -> Route {
    Route {
        key: RouteKey::new(destination.key()),
        origin: destination.origin(),
        kind: if destination.requests() == Some(Caller::Grpc) { RouteKind::Grpc } else { RouteKind::Http },
        created_s: destination.entry.meta.created_s,
        attachments,
        rules: everything(backends).into(),
        traffic: None,
    }
}

fn tunnel(
    destination: &Destination<'_>,
    attachments: Box<[Attachment]>,
    backends: Arc<[WeightedBackend]>,
) -> StreamRoute {
    let kind = match destination.found.protocol.as_str() {
        "TLS" | "HTTPS" => StreamKind::Tls,
        _ => StreamKind::Tcp,
    };
    StreamRoute {
        key: StreamRouteKey::new(destination.key()),
        origin: destination.origin(),
        kind,
        created_s: destination.entry.meta.created_s,
        attachments,
        backends,
    }
}
