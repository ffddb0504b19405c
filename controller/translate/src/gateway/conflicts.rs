//! Listeners that can't stand together on one port.
//!
//! Within one object all conflicting listeners lose; over objects the first in merge order wins: the Gateway, then its
//! ListenerSets, oldest first (Gateway API GatewaySpec.listeners, GEP-1713). The cost grows with the number of
//! listeners, not with its square.

use super::listener::{Judged, Refusal};
use super::protocol::Protocol;
use crate::model::Transport;
use sluice_ir::{HostPattern, ListenerKey, Sharing};
use std::collections::BTreeMap;

/// A port of a transport, what shares it, and a host there.
type PortUse = BTreeMap<(Transport, u16), BTreeMap<Sharing, Family>>;

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
    let (Some(protocol), Some(place), Some(host)) = (listener.protocol, listener.place(), &listener.hostname)
    else {
        return;
    };
    let family = uses.entry(place).or_default().entry(sharing(protocol)).or_default();
    family.first.get_or_insert_with(|| (listener.key.clone(), listener.model.protocol.clone()));
    let keys = family.hosts.entry(host.clone()).or_default();
    if keys.len() < 2 {
        keys.push(listener.key.clone());
    }
}

/// Why `listener` can't stand beside the others.
fn conflict(uses: &PortUse, listener: &Judged<'_>) -> Option<Refusal> {
    let sharing = sharing(listener.protocol?);
    let families = uses.get(&listener.place()?)?;
    let port = listener.model.port;
    let others = families.iter().filter(|(other, _)| **other != sharing);
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
    let key = families.get(&sharing)?.hosts.get(host)?.iter().find(|it| **it != listener.key)?;
    if matches!(sharing, Sharing::Tcp | Sharing::Udp | Sharing::Forward) {
        return Some(Refusal {
            reason: "ProtocolConflict",
            message: format!("port {port} is used by {key} too, and nothing tells the two apart"),
        });
    }
    let host = match host {
        HostPattern::Any => "every host".to_owned(),
        host => format!("host {host}"),
    };
    Some(Refusal {
        reason: "HostnameConflict",
        message: format!("port {port} with {host} is used by {key} too"),
    })
}

/// HTTP shares a port with HTTP, and everything in TLS with each other, whether it ends here or not.
fn sharing(protocol: Protocol) -> Sharing {
    match protocol {
        Protocol::Http => Sharing::Http,
        Protocol::Https | Protocol::TlsPassthrough | Protocol::TlsTerminate => Sharing::Tls,
        Protocol::Tcp => Sharing::Tcp,
        Protocol::Udp => Sharing::Udp,
        Protocol::ForwardProxy => Sharing::Forward,
    }
}
