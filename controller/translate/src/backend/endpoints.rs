//! The endpoints of one port: from the EndpointSlices of a Service, or from a ServiceEntry (`entry_endpoints`).

use super::{Source, entry_endpoints, service};
use crate::mesh::Peers;
use crate::model::{Transport, host_name};
use crate::problem::{Problem, Problems, Severity};
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{
    AskedHosts, Endpoint, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState, HostPattern, Locality,
    Origin, Topology,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Computes the endpoints; what is wrong with them is a problem of the object they come from.
pub(crate) fn compute(view: &View<'_>, key: &EndpointSetKey, source: &Source) -> (EndpointSet, Vec<Problem>) {
    let (mut set, problems) = match source {
        Source::Anything { sidecar } => return (anything(key, sidecar), Vec::new()),
        Source::Service { service, port, transport, subset, is_original } => {
            let (mut set, problems) = of_service(view, key, service, (*port, *transport), subset.as_ref());
            let original = || AskedHosts { names: None, networks: Vec::new(), port: 0, original: true };
            set.asked = is_original.then(|| Box::new(original()));
            (set, problems)
        }
        Source::Entry { entry, host, port, labels } => {
            entry_endpoints::compute(view, key, (entry, host, *port), labels.as_ref())
        }
    };
    let endpoints = &mut set.endpoints;
    let mut peers = Peers::new(view);
    for it in endpoints.iter_mut().filter(|it| it.workload.is_none()) {
        it.workload = peers.at(&it.address);
    }
    endpoints.sort();
    endpoints.dedup_by(|next, kept| {
        let is_same = next.address == kept.address;
        if is_same {
            // The better of two words on one address counts; Ready sorts before Draining.
            kept.weight = kept.weight.max(next.weight);
        }
        is_same
    });
    (set, problems)
}

/// Whatever name a client says, with the port that it says, as long as it leads outside.
fn anything(key: &EndpointSetKey, sidecar: &ObjectRef) -> EndpointSet {
    let asked = AskedHosts { names: Some(HostPattern::Any), networks: Vec::new(), port: 0, original: false };
    EndpointSet {
        key: key.clone(),
        origin: Origin::new("Sidecar", sidecar.namespace.clone(), sidecar.name.clone()),
        endpoints: Vec::new(),
        is_external: true,
        takes_first: false,
        asked: Some(Box::new(asked)),
    }
}

fn of_service(
    view: &View<'_>,
    key: &EndpointSetKey,
    reference: &ObjectRef,
    (number, transport): (u16, Transport),
    subset: Option<&ObjectRef>,
) -> (EndpointSet, Vec<Problem>) {
    let chosen: Option<BTreeSet<&str>> = subset.map(|it| addresses(view, it));
    let mut problems = Problems::of(reference);
    let mut endpoints = Vec::new();
    let found = view.service(reference).and_then(|it| service::find(it, number, transport));
    let name = found.map(|it| it.name.as_str()).unwrap_or_default();
    let mut has_slices = false;
    let mut places = BTreeMap::new();
    for slice in view.slices(reference) {
        has_slices = true;
        let Some(target) = slice.port(name, transport) else { continue };
        for it in &slice.endpoints {
            let state = if it.is_ready { EndpointState::Ready } else { EndpointState::Draining };
            // Few places, many endpoints.
            let place = (it.zone.as_deref(), it.node.as_ref());
            let topology = places
                .entry(place)
                .or_insert_with(|| topology(place.0, place.1.and_then(|it| view.place_of(it))));
            let is_meant = |it: &&String| chosen.as_ref().is_none_or(|chosen| chosen.contains(it.as_str()));
            for address in it.addresses.iter().filter(is_meant) {
                let address = address_of(address, target, slice.is_fqdn);
                endpoints.extend(address.map(|address| Endpoint {
                    address,
                    state,
                    weight: 1,
                    topology: topology.clone(),
                    workload: None,
                }));
            }
        }
    }
    if !endpoints.iter().any(|it| it.state == EndpointState::Ready) {
        let next_step = if has_slices {
            "see which endpoints are ready, and whether the slice's port has the name of the Service's"
                .to_owned()
        } else {
            format!("add an EndpointSlice with label kubernetes.io/service-name: {}", reference.name)
        };
        let message = match transport {
            Transport::Tcp => format!("port {number} has no ready endpoint: requests get 503"),
            Transport::Udp => format!("UDP port {number} has no ready endpoint: datagrams are dropped"),
        };
        problems.add(Severity::Warning, "", message, next_step);
    }
    let section = if name.is_empty() { number.to_string() } else { name.to_owned() };
    let origin = Origin::new("Service", reference.namespace.clone(), reference.name.clone()).section(section);
    let (is_external, takes_first, asked) = (false, false, None);
    (
        EndpointSet { key: key.clone(), origin, endpoints, is_external, takes_first, asked },
        problems.into_list(),
    )
}

/// The slice's own word on the zone comes first; the rest is the node's.
pub(super) fn topology(zone: Option<&str>, node: Option<&Locality>) -> Option<Arc<Topology>> {
    let mut locality = node.cloned().unwrap_or_default();
    if let Some(zone) = zone.filter(|it| **it != locality.zone) {
        locality = Locality { zone: zone.to_owned(), subzone: String::new(), region: locality.region };
    }
    (!locality.is_empty()).then(|| Arc::new(Topology { locality, ..Topology::default() }))
}

/// Where the endpoints of a Service are.
pub(super) fn addresses<'a>(view: &View<'a>, service: &ObjectRef) -> BTreeSet<&'a str> {
    let slices = view.slices(service).into_iter();
    slices.flat_map(|it| &it.endpoints).flat_map(|it| it.addresses.iter().map(String::as_str)).collect()
}

pub(super) fn address_of(text: &str, port: u16, may_be_name: bool) -> Option<EndpointAddress> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(EndpointAddress::Socket(SocketAddr::new(address, port)));
    }
    let host = host_name(text);
    (may_be_name && crate::syntax::hostname(&host, false).is_ok())
        .then_some(EndpointAddress::Dns { host, port })
}
