//! Who gets a port when several Gateways share one host (a folder): the older Gateway, unless their addresses differ.

use super::class::{self, Verdict};
use super::sets;
use crate::model::{GatewayModel, Transport};
use crate::view::View;
use sluice_crds::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The ports that a Gateway lost, and to whom.
pub(crate) type Lost = BTreeMap<(Transport, u16), ObjectRef>;

/// A Gateway with the addresses that it binds.
type Owner = (Vec<IpAddr>, ObjectRef);

/// Goes through the Gateways, oldest first. Only Gateways that lost something are in the result.
pub(crate) fn compute(view: &View<'_>) -> BTreeMap<ObjectRef, Arc<Lost>> {
    let mut all_lost = BTreeMap::new();
    if !view.options().standalone {
        return all_lost;
    }
    let mut taken: BTreeMap<(Transport, u16), Vec<Owner>> = BTreeMap::new();
    for gateway in view.all_gateways() {
        if matches!(class::verdict(view, &gateway.class), Verdict::Foreign(_)) {
            continue;
        }
        let addresses = bound_addresses(gateway);
        let mut lost = Lost::new();
        for port in ports(view, gateway) {
            let owners = taken.entry(port).or_default();
            if let Some((_, owner)) = owners.iter().find(|(others, _)| overlap(others, &addresses)) {
                lost.insert(port, owner.clone());
            } else {
                owners.push((addresses.clone(), gateway.meta.reference.clone()));
            }
        }
        if !lost.is_empty() {
            all_lost.insert(gateway.meta.reference.clone(), Arc::new(lost));
        }
    }
    all_lost
}

/// The addresses that a Gateway binds; empty: the data plane's own.
pub(crate) fn bound_addresses(gateway: &GatewayModel) -> Vec<IpAddr> {
    let addresses = gateway.addresses.iter().filter(|it| it.kind == "IPAddress");
    let mut addresses: Vec<IpAddr> = addresses.filter_map(|it| it.value.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn ports(view: &View<'_>, gateway: &GatewayModel) -> BTreeSet<(Transport, u16)> {
    let own = gateway.listeners.iter();
    let sets = sets::admitted(view, gateway);
    own.chain(sets.iter().flat_map(|it| it.listeners.iter()))
        .filter_map(|it| {
            Some((Transport::of_listener(&it.protocol)?, crate::model::port(i64::from(it.port))?))
        })
        .collect()
}

/// Whether two Gateways would bind the same address. One that names none binds an address that nobody knows here.
fn overlap(a: &[IpAddr], b: &[IpAddr]) -> bool {
    let is_any = |list: &[IpAddr]| list.is_empty() || list.iter().any(IpAddr::is_unspecified);
    is_any(a) || is_any(b) || a.iter().any(|it| b.contains(it))
}
