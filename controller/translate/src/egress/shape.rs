//! Routes whose parent is a ServiceEntry (GAMMA, as Istio has it for ServiceEntries): they shape what forward proxies do
//! with its hosts.
//!
//! In: a route and the ServiceEntry that it names as parent. Out: the listeners that heed it, for `HOST:PORT` of the
//! entry's hosts and of those ports whose protocol the route is for. Only routes of the entry's own namespace count: in
//! a mesh others hold for clients of their namespace, and clients of a gateway have none.

use super::Proxies;
use crate::backend::choose;
use crate::model::{EntryModel, EntryPort, port};
use crate::route::{Applicant, Places, Refused, Taken};
use crate::status::ParentRef;
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{HostPattern, ListenerKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where routes shape what goes to the hosts of a ServiceEntry: by route, listeners and `HOST:PORT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shapes(pub(crate) Places);

impl Shapes {
    /// Whether a route takes the place of the way to a destination. Routes of requests take tunnels too: what they do
    /// to requests must have no way around it.
    pub(super) fn take(&self, listener: &ListenerKey, name: &str, is_tunnel: bool) -> bool {
        let place = (listener.clone(), name.to_owned());
        let meant = self.0.iter().filter(|(route, _)| is_tunnel || !is_of_streams(route));
        meant.map(|(_, places)| places).any(|it| it.contains(&place))
    }

    /// Destinations, by listener, to which only requests may go.
    pub(super) fn closed(&self) -> BTreeMap<ListenerKey, BTreeSet<&str>> {
        let places = |is_tunnel| {
            let of_kind = self.0.iter().filter(move |(route, _)| is_of_streams(route) == is_tunnel);
            of_kind.flat_map(|(_, places)| places).collect::<BTreeSet<_>>()
        };
        let open = places(true);
        let mut closed: BTreeMap<ListenerKey, BTreeSet<&str>> = BTreeMap::new();
        for place in places(false).difference(&open) {
            closed.entry(place.0.clone()).or_default().insert(&place.1);
        }
        closed
    }
}

fn is_of_streams(route: &ObjectRef) -> bool {
    matches!(route.kind, Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute)
}

/// The listeners that heed a route because of its parent `reference`; `None`: no forward proxy here leads to the entry,
/// or it is not there.
pub(crate) fn attach(
    view: &View<'_>,
    route: Applicant<'_>,
    written: &ParentRef,
    reference: &ObjectRef,
) -> Option<Result<Vec<Taken>, Refused>> {
    let entry = view.entry(reference)?;
    let proxies = view.forward_proxies();
    if !proxies.values().any(|it| entry.is_visible_in(&it.namespace)) {
        return None;
    }
    Some(taken(view, route, (written, entry), proxies))
}

fn taken(
    view: &View<'_>,
    route: Applicant<'_>,
    (written, entry): (&ParentRef, &EntryModel),
    proxies: &Proxies,
) -> Result<Vec<Taken>, Refused> {
    let (own, reference) = (&route.meta.reference, &entry.meta.reference);
    if own.namespace != reference.namespace {
        return Err(Refused {
            reason: "NotAllowedByListeners",
            message: format!(
                "only routes of its own namespace shape what a gateway sends to {reference}, not those of namespace {}",
                own.namespace
            ),
            part: "namespace",
        });
    }
    let ports: Vec<u16> = ports(entry, written, own.kind)?;
    let mut names: Vec<(&str, HostPattern)> = Vec::new();
    for host in &entry.hosts {
        let pattern = HostPattern::parse(host);
        let meant: Vec<HostPattern> = match route.hostnames.as_ref() {
            [] => vec![pattern],
            hostnames => hostnames.iter().filter_map(|it| pattern.intersection(it)).collect(),
        };
        names.extend(meant.into_iter().map(|it| (host.as_str(), it)));
    }
    if names.is_empty() {
        return Err(Refused {
            reason: "NoMatchingListenerHostname",
            message: format!(
                "no hostname of the route is a host of {reference} (hosts: {})",
                entry.hosts.join(", ")
            ),
            part: "",
        });
    }
    let mut all = Vec::new();
    for (listener, proxy) in proxies {
        // Of several entries with one host and port the proxy follows one.
        let followed = |host: &str, port: u16| {
            let chosen = choose(&view.entries_of(host), &proxy.namespace, port);
            chosen.is_some_and(|it| it.meta.reference == *reference)
        };
        let mut hostnames: BTreeSet<HostPattern> = BTreeSet::new();
        for (host, name) in &names {
            let here = ports.iter().filter(|port| followed(host, **port));
            hostnames.extend(here.map(|port| HostPattern::parse(&format!("{name}:{port}"))));
        }
        if !hostnames.is_empty() {
            let hostnames: Arc<[HostPattern]> = hostnames.into_iter().collect();
            let (listener, gateway) = (listener.clone(), Some(proxy.gateway.clone()));
            all.push(Taken { listener, gateway, hostnames, is_served: true });
        }
    }
    if all.is_empty() {
        return Err(Refused {
            reason: "NoMatchingParent",
            message: format!(
                "no forward proxy follows {reference}: other ServiceEntries with its hosts come first"
            ),
            part: "name",
        });
    }
    Ok(all)
}

/// The ports that a parentRef means, among those that routes of a kind are for.
fn ports(entry: &EntryModel, written: &ParentRef, kind: Kind) -> Result<Vec<u16>, Refused> {
    let is_meant = |it: &&EntryPort| {
        written.section_name.as_ref().is_none_or(|name| *name == it.name)
            && written.port.is_none_or(|port| i64::from(port) == it.number)
    };
    let fits = entry.ports.iter().filter(|it| is_for(kind, &it.protocol));
    let found: Vec<u16> = fits.filter(is_meant).filter_map(|it| port(it.number)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known: Vec<String> =
        entry.ports.iter().map(|it| format!("{} {} {}", it.number, it.name, it.protocol)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let part = match (&written.section_name, written.port) {
        (Some(_), _) => "sectionName",
        (None, Some(_)) => "port",
        (None, None) => "",
    };
    Err(Refused {
        reason: "NoMatchingParent",
        message: format!("{} has no such port that a {kind} is for (ports: {known})", entry.meta.reference),
        part,
    })
}

/// Whether routes of a kind are for a port. A TCPRoute is not for TLS: that a tunnel is for its host is told by the name
/// within.
fn is_for(kind: Kind, protocol: &str) -> bool {
    let is_tls = matches!(protocol, "TLS" | "HTTPS");
    match kind {
        Kind::HttpRoute | Kind::GrpcRoute => matches!(protocol, "HTTP" | "HTTP2" | "GRPC"),
        Kind::TlsRoute => is_tls,
        Kind::TcpRoute => !is_tls && protocol != "UDP",
        _ => false,
    }
}
