//! The endpoints of one port: from the EndpointSlices of a Service, or from a ServiceEntry.

use super::{Source, service};
use crate::model::{EntryPort, Transport, host_name, port};
use crate::problem::{Problem, Problems, Severity};
use crate::view::View;
use sluice_crds::{ObjectRef, ServiceEntryEndpoint};
use sluice_ir::{
    Endpoint, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState, Locality, Origin, Topology,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Computes the endpoints; what is wrong with them is a problem of the object they come from.
pub(crate) fn compute(view: &View<'_>, key: &EndpointSetKey, source: &Source) -> (EndpointSet, Vec<Problem>) {
    let (origin, mut endpoints, problems) = match source {
        Source::Service { service, port, transport, subset } => {
            of_service(view, service, (*port, *transport), subset.as_ref())
        }
        Source::Entry { entry, host, port, labels } => of_entry(view, entry, host, *port, labels.as_ref()),
    };
    endpoints.sort();
    endpoints.dedup_by(|next, kept| {
        let is_same = next.address == kept.address;
        if is_same {
            // The better of two words on one address counts; Ready sorts before Draining.
            kept.weight = kept.weight.max(next.weight);
        }
        is_same
    });
    let has_names = endpoints.iter().any(|it| matches!(it.address, EndpointAddress::Dns { .. }));
    let is_external = match source {
        Source::Entry { entry, .. } if has_names => view.entry(entry).is_some_and(|it| it.is_external()),
        Source::Service { .. } | Source::Entry { .. } => false,
    };
    (EndpointSet { key: key.clone(), origin, endpoints, is_external }, problems)
}

fn of_service(
    view: &View<'_>,
    reference: &ObjectRef,
    (number, transport): (u16, Transport),
    subset: Option<&ObjectRef>,
) -> (Origin, Vec<Endpoint>, Vec<Problem>) {
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
    (origin, endpoints, problems.into_list())
}

fn of_entry(
    view: &View<'_>,
    reference: &ObjectRef,
    host: &str,
    number: u16,
    labels: Option<&BTreeMap<String, String>>,
) -> (Origin, Vec<Endpoint>, Vec<Problem>) {
    let origin = Origin::new("ServiceEntry", reference.namespace.clone(), reference.name.clone());
    let mut problems = Problems::of(reference);
    let mut endpoints = Vec::new();
    let Some(entry) = view.entry(reference) else { return (origin, endpoints, problems.into_list()) };
    let found = entry.ports.iter().find(|it| it.number == i64::from(number));
    let Some(found) = found else { return (origin, endpoints, problems.into_list()) };
    let is_dns = entry.spec.resolution.as_deref().is_some_and(|it| it.starts_with("DNS"));
    let is_meant = |it: &ServiceEntryEndpoint| {
        labels.is_none_or(|labels| labels.iter().all(|(name, value)| it.labels.get(name) == Some(value)))
    };
    for (index, it) in entry.spec.endpoints.iter().enumerate().filter(|(_, it)| is_meant(it)) {
        let field = format!("spec.endpoints[{index}]");
        match entry_endpoint(it, found, is_dns) {
            Ok(endpoint) => {
                let place = it.locality.as_deref().filter(|it| !it.is_empty()).map(str::parse::<Locality>);
                if let Some(Err(error)) = place {
                    let next_step = "correct it: the endpoint counts as one whose place is not known";
                    problems.add(
                        Severity::Warning,
                        format!("{field}.locality"),
                        error.to_string(),
                        next_step,
                    );
                }
                endpoints.push(endpoint);
            }
            Err(message) => problems.error(field, message, "the endpoint is left out until it is corrected"),
        }
    }
    if entry.spec.endpoints.is_empty() && is_dns {
        match port(found.target.unwrap_or(found.number)) {
            Some(port) => endpoints.push(Endpoint {
                address: EndpointAddress::Dns { host: host.to_owned(), port },
                state: EndpointState::Ready,
                weight: 1,
                topology: None,
            }),
            None => problems.error("spec.ports", "targetPort is no port", "use 1 to 65535"),
        }
    }
    if endpoints.is_empty() {
        let message = format!("port {number} has no endpoint: requests get 503");
        problems.add(Severity::Warning, "spec.endpoints", message, "list endpoints, or use resolution DNS");
    }
    let section = if found.name.is_empty() { number.to_string() } else { found.name.clone() };
    (origin.section(section), endpoints, problems.into_list())
}

/// The slice's own word on the zone comes first; the rest is the node's.
fn topology(zone: Option<&str>, node: Option<&Locality>) -> Option<Arc<Topology>> {
    let mut locality = node.cloned().unwrap_or_default();
    if let Some(zone) = zone.filter(|it| **it != locality.zone) {
        locality = Locality { zone: zone.to_owned(), subzone: String::new(), region: locality.region };
    }
    (!locality.is_empty()).then(|| Arc::new(Topology { locality, ..Topology::default() }))
}

/// Where the endpoints of a Service are.
fn addresses<'a>(view: &View<'a>, service: &ObjectRef) -> BTreeSet<&'a str> {
    let slices = view.slices(service).into_iter();
    slices.flat_map(|it| &it.endpoints).flat_map(|it| it.addresses.iter().map(String::as_str)).collect()
}

fn entry_endpoint(it: &ServiceEntryEndpoint, found: &EntryPort, is_dns: bool) -> Result<Endpoint, String> {
    let number = it.ports.get(&found.name).copied().or(found.target).unwrap_or(found.number);
    let target = port(number).ok_or_else(|| format!("{number} is no port"))?;
    let is_ip = it.address.parse::<IpAddr>().is_ok();
    let is_local = it.address.eq_ignore_ascii_case("localhost");
    if it.address.is_empty() || (!is_ip && !is_dns && !is_local) {
        return Err(format!("{:?} is no IP address, which resolution STATIC needs", it.address));
    }
    let address =
        address_of(&it.address, target, true).ok_or_else(|| format!("{:?} is no host name", it.address))?;
    let locality = it.locality.as_deref().and_then(|it| it.parse().ok()).unwrap_or_default();
    let topology = Topology { locality, labels: it.labels.clone() };
    Ok(Endpoint {
        address,
        state: EndpointState::Ready,
        weight: it.weight.unwrap_or(1).max(1),
        topology: (topology != Topology::default()).then(|| Arc::new(topology)),
    })
}

fn address_of(text: &str, port: u16, may_be_name: bool) -> Option<EndpointAddress> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(EndpointAddress::Socket(SocketAddr::new(address, port)));
    }
    let host = host_name(text);
    (may_be_name && crate::syntax::hostname(&host, false).is_ok())
        .then_some(EndpointAddress::Dns { host, port })
}
