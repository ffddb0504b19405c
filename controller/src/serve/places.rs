//! Where destinations of the mesh are found: by address and port, or by host and port.
//!
//! In: the listeners of destinations. Out: for a name and the namespace of who asks, the scope that has it: who has the
//! whole name, else the most specific network that holds the address or wildcard above the host. A destination
//! may have several faces: `Mesh/Service/shop/cart` for all, `Mesh/Service/shop/cart@blog` for clients of namespace `blog`.

use ipnet::IpNet;
use sluice_ir::{GatewayKey, HostPattern, Listener, Networks};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

/// Begins the keys of destinations of the mesh.
pub(super) const DESTINATIONS: &str = "Mesh/";
/// Begins the scopes of sidecars.
const WORKLOADS: &str = "Workloads/";

/// Whether a scope is that of a Gateway.
pub(super) fn is_gateway(scope: &GatewayKey) -> bool {
    !scope.as_str().starts_with(DESTINATIONS) && workloads(scope).is_none()
}

/// The namespace of a sidecar's scope.
pub(super) fn workloads(scope: &GatewayKey) -> Option<&str> {
    scope.as_str().strip_prefix(WORKLOADS)
}

/// The names of all destinations.
#[derive(Default)]
pub(super) struct Places {
    /// Scopes by `IP:PORT`, `NETWORK:PORT`, `HOST:PORT` and `*.SUFFIX:PORT`, each with how many of its listeners have the name.
    scopes: HashMap<Box<str>, HashMap<GatewayKey, u32>>,
    /// The networks among them, by port, each with its name (`10.1.0.0/16:80`).
    networks: HashMap<u16, Networks<Option<Box<str>>>>,
    moved: BTreeSet<Box<str>>,
}

impl Places {
    /// A listener takes the place of another.
    pub(super) fn replace(&mut self, old: Option<&Listener>, new: Option<&Listener>) {
        let (before, after) = (names(old), names(new));
        if before == after && old.map(|it| &it.gateway) == new.map(|it| &it.gateway) {
            return;
        }
        for (name, of) in before.iter().filter_map(|name| Some((name, &old?.gateway))) {
            if let Some(scopes) = self.scopes.get_mut(name) {
                if let Some(count) = scopes.get_mut(of) {
                    *count -= 1;
                }
                scopes.retain(|_, count| *count > 0);
                if scopes.is_empty() {
                    self.scopes.remove(name);
                    self.note_network(name, false);
                }
            }
        }
        for (name, of) in after.iter().filter_map(|name| Some((name, &new?.gateway))) {
            *self.scopes.entry(name.clone()).or_default().entry(of.clone()).or_default() += 1;
            self.note_network(name, true);
        }
        self.moved.extend(before.into_iter().chain(after));
    }

    /// A name that is a network's has come or gone.
    fn note_network(&mut self, name: &str, is_there: bool) {
        let Some((network, port)) = network_of(name) else { return };
        let networks = self.networks.entry(port).or_default();
        if is_there {
            networks.entry(network).get_or_insert_with(|| name.into());
            return;
        }
        networks.remove(&network);
        if networks.is_empty() {
            self.networks.remove(&port);
        }
    }

    pub(super) fn take_moved(&mut self) -> BTreeSet<Box<str>> {
        std::mem::take(&mut self.moved)
    }

    /// The scope that has a name for clients of a namespace: their own face of a destination first, then the common one;
    /// the most specific network or wildcard where nothing has the whole name.
    pub(super) fn find(&self, name: &str, client: &str) -> Option<GatewayKey> {
        if let Some(found) = self.exact(name, client) {
            return Some(found);
        }
        if let Ok(address) = name.parse::<SocketAddr>() {
            let mut holding = self.networks.get(&address.port())?.holding(address.ip()).flatten();
            return holding.find_map(|network| self.exact(network, client));
        }
        let dots = name.match_indices('.').map(|(at, _)| at);
        dots.filter_map(|at| name.get(at..)).find_map(|rest| self.exact(&format!("*{rest}"), client))
    }

    fn exact(&self, name: &str, client: &str) -> Option<GatewayKey> {
        let face = |it: &&GatewayKey| it.as_str().rsplit_once('@').map(|(_, of)| of.to_owned());
        let scopes = || self.scopes.get(name).into_iter().flat_map(HashMap::keys);
        let own = scopes().filter(|it| face(it).is_some_and(|of| of == client)).min();
        own.or_else(|| scopes().filter(|it| face(it).is_none()).min()).cloned()
    }
}

/// Whether a name that moved is that of many destinations.
pub(super) fn is_wide(moved: &str) -> bool {
    moved.starts_with('*') || moved.contains('/')
}

/// Whether a name that moved is that of a destination, a wildcard above it or a network that holds it.
pub(super) fn covers(moved: &str, name: &str) -> bool {
    if let Some(suffix) = moved.strip_prefix('*') {
        return name.len() > suffix.len() && name.ends_with(suffix);
    }
    match (network_of(moved), name.parse::<SocketAddr>()) {
        (Some((network, port)), Ok(address)) => port == address.port() && network.contains(&address.ip()),
        _ => moved == name,
    }
}

/// `10.1.0.0/16:80`. No other name has a slash.
fn network_of(name: &str) -> Option<(IpNet, u16)> {
    let (network, port) = name.rsplit_once(':').filter(|(network, _)| network.contains('/'))?;
    Some((network.parse().ok()?, port.parse().ok()?))
}

/// What a listener is found by; nothing unless it is a destination's.
fn names(listener: Option<&Listener>) -> BTreeSet<Box<str>> {
    let Some(it) = listener.filter(|it| it.gateway.as_str().starts_with(DESTINATIONS)) else {
        return BTreeSet::new();
    };
    if !it.addresses.is_empty() || !it.networks.is_empty() {
        let addresses = it.addresses.iter().map(|address| SocketAddr::new(*address, it.port).to_string());
        let networks = it.networks.iter().map(|network| format!("{network}:{}", it.port));
        return addresses.chain(networks).map(Into::into).collect();
    }
    match &it.hostname {
        HostPattern::Any => BTreeSet::new(),
        name => BTreeSet::from([format!("{name}:{}", it.port).into()]),
    }
}
