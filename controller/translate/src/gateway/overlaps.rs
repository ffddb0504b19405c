//! HTTPS listeners of one port whose hosts or certificates overlap (GEP-3567): a client may reuse a connection of one
//! for the other. Hosts are looked up by their labels from the right, so that the cost grows with the number of
//! listeners, not with its square.

use super::listener::{Judged, Refusal};
use super::protocol::Protocol;
use sluice_ir::{HostPattern, ListenerKey};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Marks served HTTPS listeners that overlap with another.
pub(crate) fn mark(groups: &mut [Vec<Judged<'_>>]) {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    for listener in groups.iter().flatten().filter(|it| is_concerned(it)) {
        let (Some(port), Some(host)) = (listener.port, &listener.hostname) else { continue };
        let port = ports.entry(port).or_default();
        port.hosts.add(host, listener);
        for name in names(listener) {
            port.certificates.add(&name, listener);
        }
    }
    for listener in groups.iter_mut().flatten().filter(|it| is_concerned(it)) {
        if let Some(port) = listener.port.and_then(|it| ports.get(&it)) {
            listener.overlapping = overlap(port, listener);
        }
    }
}

fn is_concerned(listener: &Judged<'_>) -> bool {
    listener.protocol == Some(Protocol::Https) && listener.is_served()
}

/// Names of the listener's certificates.
fn names(listener: &Judged<'_>) -> impl Iterator<Item = HostPattern> {
    listener.certificates.iter().flat_map(|it| &it.names).map(|it| HostPattern::parse(it))
}

fn overlap(port: &Port, listener: &Judged<'_>) -> Option<Refusal> {
    let host = listener.hostname.as_ref()?;
    if let Some((key, other)) = port.hosts.related(host, &listener.key) {
        return Some(Refusal {
            reason: "OverlappingHostnames",
            message: format!("hosts {host} and {other} of {key} overlap"),
        });
    }
    let theirs = port.certificates.related(host, &listener.key);
    let found = theirs.or_else(|| names(listener).find_map(|name| port.hosts.related(&name, &listener.key)));
    found.map(|(key, _)| Refusal {
        reason: "OverlappingCertificates",
        message: format!("a certificate is good for a host of this listener and of {key}"),
    })
}

#[derive(Debug, Default)]
struct Port {
    hosts: Hosts,
    certificates: Hosts,
}

/// Listeners by host, the labels from the right: `com.example.a.`, `com.example.*`, `*`.
#[derive(Debug, Default)]
struct Hosts(BTreeMap<String, (HostPattern, Vec<ListenerKey>)>);

impl Hosts {
    /// Notes a host of a listener; two listeners of each are enough to find one that is not the asker.
    fn add(&mut self, host: &HostPattern, listener: &Judged<'_>) {
        let (_, keys) = self.0.entry(label_key(host)).or_insert_with(|| (host.clone(), Vec::new()));
        if keys.len() < 2 && !keys.contains(&listener.key) {
            keys.push(listener.key.clone());
        }
    }

    /// Another listener with a host that contains `host` or is contained in it.
    fn related(&self, host: &HostPattern, asker: &ListenerKey) -> Option<(&ListenerKey, &HostPattern)> {
        let containing = wider(host).filter_map(|key| self.0.get(&key));
        containing
            .chain(self.narrower(host))
            .find_map(|(host, keys)| keys.iter().find(|key| *key != asker).map(|key| (key, host)))
    }

    /// The hosts within a wildcard.
    fn narrower(&self, host: &HostPattern) -> impl Iterator<Item = &(HostPattern, Vec<ListenerKey>)> {
        let start = match host {
            HostPattern::Any => Some(String::new()),
            HostPattern::Wildcard(suffix) => Some(reversed(suffix)),
            HostPattern::Exact(_) => None,
        };
        start.into_iter().flat_map(|start| {
            // The suffix itself is not within its wildcard.
            let range = self.0.range::<String, _>((Bound::Excluded(&start), Bound::Unbounded));
            range.take_while(move |(key, _)| key.starts_with(&start)).map(|(_, it)| it)
        })
    }
}

/// The keys of a host and of everything that contains it.
fn wider(host: &HostPattern) -> impl Iterator<Item = String> {
    let text = match host {
        HostPattern::Any => "",
        HostPattern::Wildcard(suffix) | HostPattern::Exact(suffix) => suffix,
    };
    let mut keys = vec![label_key(host)];
    let mut rest = text;
    while let Some((_, suffix)) = rest.split_once('.') {
        keys.push(format!("{}*", reversed(suffix)));
        rest = suffix;
    }
    keys.push("*".to_owned());
    keys.into_iter()
}

fn label_key(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => "*".to_owned(),
        HostPattern::Wildcard(suffix) => format!("{}*", reversed(suffix)),
        HostPattern::Exact(host) => reversed(host),
    }
}

/// `com.example.` of `example.com`.
fn reversed(host: &str) -> String {
    let mut key = String::with_capacity(host.len() + 2);
    for label in host.rsplit('.') {
        key.push_str(label);
        key.push('.');
    }
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Hosts, label_key};
    use proptest::prelude::*;
    use sluice_ir::{HostPattern, ListenerKey};

    fn pattern() -> impl Strategy<Value = HostPattern> {
        let labels = prop::collection::vec(prop::sample::select(vec!["a", "b", "com"]), 1..4);
        (labels, any::<bool>(), 0..12u8).prop_map(|(labels, is_wildcard, any)| {
            let host = labels.join(".");
            let host = if is_wildcard { format!("*.{host}") } else { host };
            HostPattern::parse(if any == 0 { "" } else { &host })
        })
    }

    proptest! {
        #[test]
        fn a_related_host_is_found_whenever_there_is_one(hosts in prop::collection::vec(pattern(), 1..12)) {
            let key = |index: usize| ListenerKey::new(index.to_string());
            let mut index = Hosts::default();
            for (number, host) in hosts.iter().enumerate() {
                let entry = index.0.entry(label_key(host)).or_insert_with(|| (host.clone(), Vec::new()));
                if entry.1.len() < 2 {
                    entry.1.push(key(number));
                }
            }
            for (number, host) in hosts.iter().enumerate() {
                let others = hosts.iter().enumerate().filter(|(other, _)| *other != number);
                let expected = others.into_iter().any(|(_, it)| it.contains(host) || host.contains(it));
                let found = index.related(host, &key(number));
                prop_assert_eq!(found.is_some(), expected, "{} in {:?}", host, &hosts);
                if let Some((_, it)) = found {
                    prop_assert!(it.contains(host) || host.contains(it));
                }
            }
        }
    }
}
