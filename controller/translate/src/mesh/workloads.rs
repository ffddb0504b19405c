//! What governs the workloads of a namespace.

use super::{places, scopes};
use crate::authentication;
use crate::authorization;
use crate::backend::choose;
use crate::view::View;
use sluice_crds::{Kind, Name};
use sluice_ir::{HostAddresses, Origin, Workloads, WorkloadsKey};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Computes it.
pub(crate) fn compute(view: &View<'_>, namespace: &Name) -> Workloads {
    Workloads {
        key: WorkloadsKey::new(namespace.to_string()),
        origin: Origin::new(Kind::Namespace.name(), "", namespace.clone()),
        trust_domains: view.mesh().trust_domains(),
        outbound: scopes::outbound(view),
        scopes: scopes::compute(view, namespace),
        mutual_tls: view.mutual_tls(namespace),
        authorization: authorization::for_workloads(view, namespace),
        authentication: authentication::for_workloads(view, namespace),
        telemetry: crate::telemetry::for_workloads(view, namespace),
        paths: view.mesh().paths(),
        names: names(view, namespace),
        always_allowed: Vec::new(),
    }
}

/// Hosts of ServiceEntries that the namespace sees, with the addresses that they have. Costs a look at every host.
fn names(view: &View<'_>, namespace: &Name) -> BTreeMap<String, HostAddresses> {
    let mut names = BTreeMap::new();
    for host in view.entry_hosts() {
        let Some(entry) = choose(&view.entries_named(host), namespace, 0) else { continue };
        let given = view.addresses_of(&entry.meta.reference).into_iter();
        let mut addresses: Vec<IpAddr> = given.filter(|(of, _)| **of == *host).map(|it| it.1).collect();
        if entry.hosts.first().is_some_and(|it| it == host) {
            addresses.extend(places::addresses(entry));
        }
        addresses.sort_unstable();
        addresses.dedup();
        if !addresses.is_empty() {
            let namespace = entry.meta.reference.namespace.to_string();
            names.insert(host.to_owned(), HostAddresses { namespace, addresses });
        }
    }
    names
}
