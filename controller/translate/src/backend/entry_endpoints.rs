//! The endpoints of a port of a ServiceEntry: those that it lists, the workloads that it chooses, names that the data plane
//! resolves, and hosts that only clients name.

use super::endpoints::{address_of, topology};
use crate::mesh::{self, Peers};
use crate::model::{EntryModel, EntryPort, Resolution, is_wildcard, port};
use crate::problem::{Problem, Problems, Severity};
use crate::view::View;
use ipnet::IpNet;
use sluice_crds::{Name, ObjectRef, ServiceEntryEndpoint};
use sluice_ir::{
    AskedHosts, Endpoint, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState, HostPattern, Locality,
    Origin, Topology, Workload,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

type Labels = BTreeMap<String, String>;

/// What is asked for: a port of a host of an entry, perhaps only endpoints with these labels.
struct Wanted<'a> {
    entry: &'a EntryModel,
    host: &'a str,
    found: &'a EntryPort,
    labels: Option<&'a Labels>,
}

/// Computes them; what is wrong is a problem of the entry, or of the workload that it is about.
pub(super) fn compute(
    view: &View<'_>,
    key: &EndpointSetKey,
    (reference, host, number): (&ObjectRef, &str, u16),
    labels: Option<&Labels>,
) -> (EndpointSet, Vec<Problem>) {
    let mut set = EndpointSet {
        key: key.clone(),
        origin: Origin::new("ServiceEntry", reference.namespace.clone(), reference.name.clone()),
        endpoints: Vec::new(),
        is_external: false,
        takes_first: false,
        asked: None,
    };
    let Some(entry) = view.entry(reference) else { return (set, Vec::new()) };
    let found = entry.ports.iter().find(|it| it.number == i64::from(number));
    let Some(found) = found else { return (set, Vec::new()) };
    let section = if found.name.is_empty() { number.to_string() } else { found.name.clone() };
    set.origin = set.origin.section(section);
    let mut problems = Problems::of(reference);
    let mut others = Vec::new();
    let wanted = Wanted { entry, host, found, labels };
    if entry.resolution.has_endpoints() {
        match entry.selector() {
            Some(_) => set.endpoints = chosen(view, &wanted, &mut others),
            None => set.endpoints = listed(view, &wanted, &mut problems),
        }
    }
    match port(found.target.unwrap_or(found.number)) {
        Some(target) => by_name(&wanted, target, &mut set),
        None => problems.error("spec.ports", "targetPort is no port", "use 1 to 65535"),
    }
    let is_name = |it: &Endpoint| matches!(it.address, EndpointAddress::Dns { .. });
    let has_names =
        set.endpoints.iter().any(is_name) || set.asked.as_ref().is_some_and(|it| it.names.is_some());
    set.is_external = has_names && entry.is_external();
    set.takes_first = has_names && entry.resolution == Resolution::RoundRobin;
    if set.endpoints.is_empty() && set.asked.is_none() {
        none(&wanted, &mut problems);
    }
    let mut problems = problems.into_list();
    problems.append(&mut others);
    (set, problems)
}

/// What the entry lists.
fn listed(view: &View<'_>, wanted: &Wanted<'_>, problems: &mut Problems) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    let most = if wanted.entry.resolution == Resolution::RoundRobin { 1 } else { usize::MAX };
    let listed = wanted.entry.spec.endpoints.iter().enumerate().take(most);
    for (index, it) in listed.filter(|(_, it)| wanted.means(it)) {
        let field = format!("spec.endpoints[{index}]");
        match wanted.endpoint(it) {
            Ok(mut endpoint) => {
                let (home, name) = (wanted.entry.home(), &wanted.entry.meta.reference.name);
                endpoint.workload = wanted.workload(view, (home, name), it, &endpoint);
                unknown_place(it, &format!("{field}.locality"), problems);
                endpoints.push(endpoint);
            }
            Err(message) => problems.error(field, message, "the endpoint is left out until it is corrected"),
        }
    }
    endpoints
}

/// The workloads that the entry chooses: WorkloadEntries by their labels, and pods by a Service of the namespace whose
/// selector is the same, since pods are not watched.
fn chosen(view: &View<'_>, wanted: &Wanted<'_>, others: &mut Vec<Problem>) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for workload in view.workloads_of(wanted.entry).into_iter().filter(|it| wanted.means(&it.endpoint)) {
        let mut problems = Problems::of(&workload.meta.reference);
        match wanted.endpoint(&workload.endpoint) {
            Ok(mut endpoint) => {
                let (home, name) = (wanted.entry.home(), &workload.meta.reference.name);
                endpoint.workload = wanted.workload(view, (home, name), &workload.endpoint, &endpoint);
                unknown_place(&workload.endpoint, "spec.locality", &mut problems);
                endpoints.push(endpoint);
            }
            Err(message) => problems.error("spec", message, "the workload is left out until it is corrected"),
        }
        others.append(&mut problems.into_list());
    }
    let Some(selector) = wanted.entry.selector().filter(|it| !it.labels.is_empty()) else { return endpoints };
    let mut labels = selector.labels.clone();
    labels.extend(wanted.labels.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    let Some(service) = view.service_with(wanted.entry.home(), &labels) else { return endpoints };
    let Some(target) = port(wanted.found.target.unwrap_or(wanted.found.number)) else { return endpoints };
    for slice in view.slices(&service) {
        for it in &slice.endpoints {
            let state = if it.is_ready { EndpointState::Ready } else { EndpointState::Draining };
            let topology = topology(it.zone.as_deref(), it.node.as_ref().and_then(|it| view.place_of(it)));
            let addresses = it.addresses.iter().filter_map(|it| address_of(it, target, slice.is_fqdn));
            endpoints.extend(addresses.map(|address| Endpoint {
                address,
                state,
                weight: 1,
                topology: topology.clone(),
                workload: None,
            }));
        }
    }
    endpoints
}

/// Says that a locality is none; the endpoint is used all the same.
fn unknown_place(it: &ServiceEntryEndpoint, field: &str, problems: &mut Problems) {
    let place = it.locality.as_deref().filter(|it| !it.is_empty()).map(str::parse::<Locality>);
    if let Some(Err(error)) = place {
        let next_step = "correct it: the endpoint counts as one whose place is not known";
        problems.add(Severity::Warning, field, error.to_string(), next_step);
    }
}

/// Names that the data plane resolves: the host itself, or what clients ask for.
fn by_name(wanted: &Wanted<'_>, target: u16, set: &mut EndpointSet) {
    let Wanted { entry, host, labels, .. } = wanted;
    if labels.is_some_and(|it| !it.is_empty()) {
        return;
    }
    let is_listed = !entry.spec.endpoints.is_empty() || entry.selector().is_some();
    let names = entry.is_asked(host).then(|| HostPattern::parse(host));
    let is_itself = match entry.resolution {
        Resolution::None | Resolution::Dynamic => names.is_none() && !is_wildcard(host),
        Resolution::Dns | Resolution::RoundRobin => names.is_none() && !is_listed,
        Resolution::Static | Resolution::Unknown => false,
    };
    if is_itself {
        set.endpoints.push(Endpoint {
            address: EndpointAddress::Dns { host: (*host).to_owned(), port: target },
            state: EndpointState::Ready,
            weight: 1,
            topology: None,
            workload: None,
        });
    }
    let networks: Vec<IpNet> = match entry.resolution {
        Resolution::None => entry.usable_networks().collect(),
        _ => Vec::new(),
    };
    // Connections that a sidecar captured were going to where the host is, as far as their client knows.
    let original = entry.resolution == Resolution::None;
    if names.is_some() || original {
        set.asked = Some(Box::new(AskedHosts { names, networks, port: target, original }));
    }
}

/// Says what is missing.
fn none(wanted: &Wanted<'_>, problems: &mut Problems) {
    let message = format!("port {} has no endpoint: requests get 503", wanted.found.number);
    let (field, next_step) = match wanted.entry.selector() {
        Some(_) => (
            "spec.workloadSelector",
            "create WorkloadEntries with these labels in the namespace, or for pods a Service with this selector",
        ),
        None => ("spec.endpoints", "list endpoints, or use resolution DNS"),
    };
    problems.add(Severity::Warning, field, message, next_step);
}

impl Wanted<'_> {
    fn means(&self, it: &ServiceEntryEndpoint) -> bool {
        let has = |(name, value): (&String, &String)| it.labels.get(name) == Some(value);
        self.labels.is_none_or(|labels| labels.iter().all(has))
    }

    /// The workload that an endpoint says it is, where the entry is of the mesh.
    fn workload(
        &self,
        view: &View<'_>,
        of: (&Name, &str),
        it: &ServiceEntryEndpoint,
        endpoint: &Endpoint,
    ) -> Option<Arc<Workload>> {
        let port = match &endpoint.address {
            EndpointAddress::Socket(address) => address.port(),
            EndpointAddress::Dns { port, .. } => *port,
        };
        let is_internal = self.entry.is_internal();
        is_internal.then(|| mesh::of_entry(&mut Peers::new(view), of, it, port)).flatten()
    }

    /// Istio's order of ports: the endpoint's by name, the port's `targetPort`, the port itself.
    fn endpoint(&self, it: &ServiceEntryEndpoint) -> Result<Endpoint, String> {
        let found = self.found;
        let number = it.ports.get(&found.name).copied().or(found.target).unwrap_or(found.number);
        let target = port(number).ok_or_else(|| format!("{number} is no port"))?;
        let is_ip = it.address.parse::<IpAddr>().is_ok();
        let is_local = it.address.eq_ignore_ascii_case("localhost");
        let is_dns = self.entry.resolution.is_dns();
        if it.address.starts_with("unix:") {
            return Err(format!("{:?} is a unix socket, which is not supported", it.address));
        }
        if it.address.is_empty() || (!is_ip && !is_dns && !is_local) {
            return Err(format!("{:?} is no IP address, which resolution STATIC needs", it.address));
        }
        let address = address_of(&it.address, target, true)
            .ok_or_else(|| format!("{:?} is no host name", it.address))?;
        let locality = it.locality.as_deref().and_then(|it| it.parse().ok()).unwrap_or_default();
        let topology = Topology { locality, labels: it.labels.clone() };
        Ok(Endpoint {
            address,
            state: EndpointState::Ready,
            weight: it.weight.unwrap_or(1).max(1),
            topology: (topology != Topology::default()).then(|| Arc::new(topology)),
            workload: None,
        })
    }
}
