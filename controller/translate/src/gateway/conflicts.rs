//! Listeners that can't stand together on one port, and HTTPS listeners whose hosts or certificates overlap.
//!
//! Within one object all conflicting listeners lose; over objects the first in merge order wins: the Gateway, then its
//! ListenerSets, oldest first (Gateway API GatewaySpec.listeners, GEP-1713).

use super::listener::{Judged, Refusal};
use sluice_ir::HostPattern;

/// Marks conflicts. `groups` are the Gateway's listeners and those of each set, in merge order.
pub(crate) fn mark(groups: &mut [Vec<Judged<'_>>]) {
    // Group and position of the listeners that stand so far.
    let mut standing: Vec<(usize, usize)> = Vec::new();
    for group in 0..groups.len() {
        let mut losers: Vec<(usize, Refusal)> = Vec::new();
        for (index, listener) in groups.get(group).into_iter().flatten().enumerate() {
            let earlier = standing.iter().filter_map(|(group, index)| groups.get(*group)?.get(*index));
            let siblings = groups.get(group).into_iter().flatten().enumerate();
            let siblings = siblings.filter(|(other, _)| *other != index).map(|(_, it)| it);
            if let Some(refusal) = earlier.chain(siblings).find_map(|other| conflict(listener, other)) {
                losers.push((index, refusal));
            }
        }
        for index in 0..groups.get(group).map_or(0, Vec::len) {
            if !losers.iter().any(|(loser, _)| *loser == index) {
                standing.push((group, index));
            }
        }
        for (index, refusal) in losers {
            if let Some(listener) = groups.get_mut(group).and_then(|it| it.get_mut(index)) {
                listener.conflicted = Some(refusal);
            }
        }
    }
}

/// Why `listener` can't stand beside `other`.
fn conflict(listener: &Judged<'_>, other: &Judged<'_>) -> Option<Refusal> {
    let (ours, theirs) = (family(&listener.model.protocol)?, family(&other.model.protocol)?);
    if listener.port? != other.port? || ours.0 != theirs.0 {
        return None;
    }
    let port = listener.model.port;
    if ours.1 != theirs.1 {
        return Some(Refusal {
            reason: "ProtocolConflict",
            message: format!(
                "port {port} is used with protocol {} by {}, which can't be together with {}",
                other.model.protocol, other.key, listener.model.protocol
            ),
        });
    }
    if listener.hostname.as_ref()? != other.hostname.as_ref()? {
        return None;
    }
    let host = match listener.hostname.as_ref()? {
        HostPattern::Any => "every host".to_owned(),
        host => format!("host {host}"),
    };
    Some(Refusal {
        reason: "HostnameConflict",
        message: format!("port {port} with {host} is used by {} too", other.key),
    })
}

/// Transport and what shares a port: HTTP with HTTP, everything in TLS with each other.
fn family(protocol: &str) -> Option<(&'static str, &'static str)> {
    match protocol {
        "HTTP" => Some(("TCP", "HTTP")),
        "HTTPS" | "TLS" => Some(("TCP", "TLS")),
        "TCP" => Some(("TCP", "TCP")),
        "UDP" => Some(("UDP", "UDP")),
        _ => None,
    }
}

/// Marks served HTTPS listeners of one port whose hosts or certificates overlap (GEP-3567): clients may reuse a
/// connection of one for the other.
pub(crate) fn mark_overlaps(groups: &mut [Vec<Judged<'_>>]) {
    let mut found: Vec<(usize, usize, Refusal)> = Vec::new();
    for (group, index, listener) in each(groups) {
        let refusal = each(groups)
            .filter(|(other_group, other_index, _)| (*other_group, *other_index) != (group, index))
            .find_map(|(_, _, other)| overlap(listener, other));
        found.extend(refusal.map(|it| (group, index, it)));
    }
    for (group, index, refusal) in found {
        if let Some(listener) = groups.get_mut(group).and_then(|it| it.get_mut(index)) {
            listener.overlapping = Some(refusal);
        }
    }
}

fn each<'a, 'b>(groups: &'b [Vec<Judged<'a>>]) -> impl Iterator<Item = (usize, usize, &'b Judged<'a>)> {
    groups.iter().enumerate().flat_map(|(group, listeners)| {
        listeners.iter().enumerate().map(move |(index, listener)| (group, index, listener))
    })
}

fn overlap(listener: &Judged<'_>, other: &Judged<'_>) -> Option<Refusal> {
    let is_tls = |it: &Judged<'_>| it.model.protocol == "HTTPS" && it.is_served();
    if listener.port != other.port || !is_tls(listener) || !is_tls(other) {
        return None;
    }
    let (ours, theirs) = (listener.hostname.as_ref()?, other.hostname.as_ref()?);
    if ours.contains(theirs) || theirs.contains(ours) {
        return Some(Refusal {
            reason: "OverlappingHostnames",
            message: format!("hosts {ours} and {theirs} of {} overlap", other.key),
        });
    }
    let covers = |it: &Judged<'_>, host: &HostPattern| {
        it.certificates.iter().flat_map(|it| &it.names).any(|name| {
            let name = HostPattern::parse(name);
            name.contains(host) || host.contains(&name)
        })
    };
    (covers(listener, theirs) || covers(other, ours)).then(|| Refusal {
        reason: "OverlappingCertificates",
        message: format!("a certificate is good for a host of this listener and of {}", other.key),
    })
}
