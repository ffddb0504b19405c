//! Listeners that can't stand together on one port.
//!
//! Within one object all conflicting listeners lose; over objects the first in merge order wins: the Gateway, then its
//! ListenerSets, oldest first (Gateway API GatewaySpec.listeners, GEP-1713). The cost grows with the number of
//! listeners, not with its square.

use super::listener::{Judged, Refusal};
use sluice_ir::{HostPattern, ListenerKey};
use std::collections::BTreeMap;

/// A port of a transport, what shares it (HTTP, everything in TLS, TCP, UDP), and a host there.
type PortUse = BTreeMap<(&'static str, u16), BTreeMap<&'static str, Family>>;

/// Listeners of one port that may share it when their hosts differ.
#[derive(Debug, Default)]
struct Family {
    /// The first, with its protocol.
    first: Option<(ListenerKey, String)>,
    /// The first two of each host.
    hosts: BTreeMap<HostPattern, Vec<ListenerKey>>,
}

/// Marks conflicts. `groups` are the Gateway's listeners and those of each set, in merge order.
pub(crate) fn mark(groups: &mut [Vec<Judged<'_>>]) {
    let mut standing = PortUse::new();
    for group in groups {
        // Who loses against an earlier object takes no other listener of its own object down.
        for listener in group.iter_mut() {
            listener.conflicted = conflict(&standing, listener);
        }
        let mut own = PortUse::new();
        group.iter().filter(|it| it.conflicted.is_none()).for_each(|it| add(&mut own, it));
        for listener in group.iter_mut().filter(|it| it.conflicted.is_none()) {
            listener.conflicted = conflict(&own, listener);
        }
        group.iter().filter(|it| it.conflicted.is_none()).for_each(|it| add(&mut standing, it));
    }
}

fn add(uses: &mut PortUse, listener: &Judged<'_>) {
    let (Some((transport, family)), Some(port), Some(host)) =
        (family(&listener.model.protocol), listener.port, &listener.hostname)
    else {
        return;
    };
    let family = uses.entry((transport, port)).or_default().entry(family).or_default();
    family.first.get_or_insert_with(|| (listener.key.clone(), listener.model.protocol.clone()));
    let keys = family.hosts.entry(host.clone()).or_default();
    if keys.len() < 2 {
        keys.push(listener.key.clone());
    }
}

/// Why `listener` can't stand beside the others.
fn conflict(uses: &PortUse, listener: &Judged<'_>) -> Option<Refusal> {
    let (transport, family) = family(&listener.model.protocol)?;
    let families = uses.get(&(transport, listener.port?))?;
    let port = listener.model.port;
    let others = families.iter().filter(|(other, _)| **other != family);
    if let Some((key, protocol)) = others.filter_map(|(_, it)| it.first.as_ref()).next() {
        return Some(Refusal {
            reason: "ProtocolConflict",
            message: format!(
                "port {port} is used with protocol {protocol} by {key}, which can't be together with {}",
                listener.model.protocol
            ),
        });
    }
    let host = listener.hostname.as_ref()?;
    let key = families.get(family)?.hosts.get(host)?.iter().find(|it| **it != listener.key)?;
    let host = match host {
        HostPattern::Any => "every host".to_owned(),
        host => format!("host {host}"),
    };
    Some(Refusal {
        reason: "HostnameConflict",
        message: format!("port {port} with {host} is used by {key} too"),
    })
}

/// Transport, and what shares a port: HTTP with HTTP, everything in TLS with each other.
fn family(protocol: &str) -> Option<(&'static str, &'static str)> {
    match protocol {
        "HTTP" => Some(("TCP", "HTTP")),
        "HTTPS" | "TLS" => Some(("TCP", "TLS")),
        "TCP" => Some(("TCP", "TCP")),
        "UDP" => Some(("UDP", "UDP")),
        _ => None,
    }
}
