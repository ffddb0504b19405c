//! The ports of a destination: how sidecars find each, and how its endpoints are called.

use super::speech::Speech;
use crate::backend::{BackendId, Caller, Target};
use crate::model::{EntryModel, ServiceModel, Transport, port};
use crate::view::View;
use ipnet::IpNet;
use sluice_crds::{Name, ObjectRef};
use sluice_ir::HostPattern;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// One port of a destination, or of one host of a ServiceEntry.
pub(super) struct Place<'a> {
    pub(super) number: u16,
    /// What sidecars see it at: that of its pods where these are called by their own addresses.
    pub(super) seen_at: u16,
    /// Its name; may be empty.
    pub(super) name: &'a str,
    /// Of a ServiceEntry.
    pub(super) host: Option<&'a str>,
    /// By which Sidecars name it.
    pub(super) destination: Box<str>,
    pub(super) speech: Speech,
    /// Ends the keys of its listeners: `80`, `api.test:443`.
    pub(super) key: String,
    /// How it is found.
    pub(super) ways: Vec<Way>,
    target: Target,
}

/// How sidecars find a port.
pub(super) enum Way {
    /// By these addresses and networks, whatever host is named.
    Addresses(Vec<IpAddr>, Vec<IpNet>),
    /// By the name that a request or a ClientHello says, wherever the connection goes.
    Name(HostPattern),
}

impl Place<'_> {
    /// Its endpoints for clients of a namespace; `None`: of one without rules of its own.
    pub(super) fn id(&self, client: Option<&Name>, caller: Caller) -> BackendId {
        let client = client.cloned().unwrap_or_default();
        match &self.target {
            Target::Hostname { host, port, .. } => BackendId {
                target: Target::Hostname { namespace: client, host: host.clone(), port: *port },
                caller,
                client: None,
                subset: None,
            },
            target @ (Target::Service { .. } | Target::Pods { .. } | Target::Anything { .. }) => {
                BackendId { target: target.clone(), caller, client: Some(client), subset: None }
            }
        }
    }
}

/// The ports of a Service.
pub(super) fn of_service<'a>(view: &View<'_>, service: &'a ServiceModel) -> Vec<Place<'a>> {
    if service.is_external_name {
        return Vec::new();
    }
    let ports = service.ports.iter().filter(|it| it.transport == Some(Transport::Tcp));
    let ports = ports.filter_map(|it| Some((it, port(i64::from(it.port))?)));
    let place = |(it, number): (&'a crate::model::ServicePort, u16)| {
        let speech = Speech::of_service(it.app_protocol.as_deref(), &it.name, number);
        let own = service.reference.clone();
        let (mut ways, mut seen_at) = (Vec::new(), number);
        if service.is_headless {
            let (pods, port) = pods(view, &service.reference, &it.name);
            seen_at = port.unwrap_or(number);
            ways.extend((!pods.is_empty()).then(|| Way::Addresses(pods, Vec::new())));
            // One that is not ready yet, or any more.
            ways.extend(
                names(view, &service.reference).into_iter().filter(|_| speech != Speech::Tcp).map(Way::Name),
            );
        } else if !service.addresses.is_empty() {
            ways.push(Way::Addresses(service.addresses.clone(), Vec::new()));
        }
        Place {
            number,
            seen_at,
            name: &it.name,
            host: None,
            destination: view.domain().host(&service.reference).into(),
            speech,
            key: number.to_string(),
            ways,
            target: match service.is_headless {
                true => Target::Pods { service: own, port: number },
                false => Target::Service { service: own, port: number },
            },
        }
    };
    ports.map(place).collect()
}

/// Where the pods of a headless Service are, and at which port; those of slices that say another one are left out.
fn pods(view: &View<'_>, service: &ObjectRef, port: &str) -> (Vec<IpAddr>, Option<u16>) {
    let (mut addresses, mut seen_at) = (BTreeSet::new(), None);
    for slice in view.slices(service) {
        let Some(target) = slice.port(port, Transport::Tcp) else { continue };
        if *seen_at.get_or_insert(target) != target {
            continue;
        }
        let all = slice.endpoints.iter().flat_map(|it| &it.addresses);
        addresses.extend(all.filter_map(|it| it.parse::<IpAddr>().ok()));
    }
    (addresses.into_iter().collect(), seen_at)
}

/// The names of a headless Service, and those of its pods below; one without a dot is made whole by the client's namespace.
fn names(view: &View<'_>, service: &ObjectRef) -> Vec<HostPattern> {
    let (name, namespace) = (&service.name, &service.namespace);
    let own = [format!("{name}.{namespace}"), format!("{name}.{namespace}.svc"), view.domain().host(service)];
    let below = own.iter().map(|it| HostPattern::parse(&format!("*.{it}")));
    own.iter().map(|it| HostPattern::parse(it)).chain(below).collect()
}

/// The ports of each host of a ServiceEntry.
pub(super) fn of_entry<'a>(view: &View<'_>, entry: &'a EntryModel) -> Vec<Place<'a>> {
    let given = view.addresses_of(&entry.meta.reference);
    let (own, networks) = (addresses(entry), networks(entry));
    let mut places = Vec::new();
    // A Service has its name for itself, whatever entries say.
    let is_service = |host: &str| view.domain().service(host).is_some_and(|it| view.service(&it).is_some());
    for (index, host) in entry.hosts.iter().enumerate().filter(|(_, host)| !is_service(host)) {
        let mut addresses: Vec<IpAddr> =
            given.iter().filter(|(of, _)| **of == **host).map(|it| it.1).collect();
        // As for forward proxies: the entry's addresses stand for the first host.
        addresses.extend(own.iter().filter(|_| index == 0));
        addresses.sort_unstable();
        addresses.dedup();
        let networks = if index == 0 { networks.as_slice() } else { &[] };
        for it in entry.ports.iter().filter(|it| it.protocol != "UDP") {
            let Some(number) = port(it.number) else { continue };
            let speech = Speech::of_entry(&it.protocol);
            let mut ways = Vec::new();
            if !addresses.is_empty() || !networks.is_empty() {
                ways.push(Way::Addresses(addresses.clone(), networks.to_vec()));
            }
            // A client that asked another DNS has one of the host's real addresses.
            if speech != Speech::Tcp {
                ways.push(Way::Name(HostPattern::parse(host)));
            }
            places.push(Place {
                number,
                seen_at: number,
                name: &it.name,
                host: Some(host),
                destination: host.as_str().into(),
                speech,
                key: format!("{host}:{number}"),
                ways,
                target: Target::Hostname {
                    namespace: Name::default(),
                    host: host.as_str().into(),
                    port: number,
                },
            });
        }
    }
    places
}

/// The addresses that a ServiceEntry names itself.
pub(super) fn addresses(entry: &EntryModel) -> Vec<IpAddr> {
    entry.usable_networks().filter(is_address).map(|it| it.addr()).collect()
}

/// The networks that it names.
fn networks(entry: &EntryModel) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = entry.usable_networks().filter(|it| !is_address(it)).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn is_address(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// The namespaces whose clients an entry is for, of those that may see something else than all others do; `true`: all
/// others too.
pub(super) fn audience(view: &View<'_>, entry: &Arc<EntryModel>, place: &Place<'_>) -> (Vec<Name>, bool) {
    let Some(host) = place.host else { return (Vec::new(), true) };
    let all = view.entries_of(host);
    let is_chosen = |client: &str, all: &[&Arc<EntryModel>]| {
        crate::backend::choose(all, client, place.number).is_some_and(|it| Arc::ptr_eq(it, entry))
    };
    let exported: Vec<_> = all.iter().copied().filter(|it| it.is_exported()).collect();
    let mut clients: Vec<Name> = Vec::new();
    for it in &all {
        let own = &it.meta.reference.namespace;
        clients.push(own.clone());
        let named = it.spec.export_to.iter().filter(|it| !matches!(it.as_str(), "*" | "." | "~"));
        clients.extend(named.map(Name::from));
    }
    clients.sort_unstable();
    clients.dedup();
    clients.retain(|client| is_chosen(client, &all));
    (clients, is_chosen("", &exported))
}
