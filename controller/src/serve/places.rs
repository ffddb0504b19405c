//! Where destinations of the mesh are found: by address and port, or by host and port.
//!
//! In: the listeners of destinations. Out: for a name and the namespace of who asks, the scope that has it. A destination
//! may have several faces: `Mesh/Service/shop/cart` for all, `Mesh/Service/shop/cart@blog` for clients of namespace `blog`.

use sluice_ir::{GatewayKey, HostPattern, Listener};
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
    /// Scopes by `IP:PORT`, `HOST:PORT` and `*.SUFFIX:PORT`, each with how many of its listeners have the name.
    scopes: HashMap<Box<str>, HashMap<GatewayKey, u32>>,
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
                }
            }
        }
        for (name, of) in after.iter().filter_map(|name| Some((name, &new?.gateway))) {
            *self.scopes.entry(name.clone()).or_default().entry(of.clone()).or_default() += 1;
        }
        self.moved.extend(before.into_iter().chain(after));
    }

    pub(super) fn take_moved(&mut self) -> BTreeSet<Box<str>> {
        std::mem::take(&mut self.moved)
    }

    /// The scope that has a name for clients of a namespace: their own face of a destination first, then the common one;
    /// the most specific wildcard where nothing has the whole name.
    pub(super) fn find(&self, name: &str, client: &str) -> Option<GatewayKey> {
        if let Some(found) = self.exact(name, client) {
            return Some(found);
        }
        if name.parse::<SocketAddr>().is_ok() {
            return None;
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

/// Whether a name that moved is that of a destination or a wildcard above it.
pub(super) fn covers(moved: &str, name: &str) -> bool {
    match moved.strip_prefix('*') {
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => moved == name,
    }
}

/// What a listener is found by; nothing unless it is a destination's.
fn names(listener: Option<&Listener>) -> BTreeSet<Box<str>> {
    let Some(it) = listener.filter(|it| it.gateway.as_str().starts_with(DESTINATIONS)) else {
        return BTreeSet::new();
    };
    if !it.addresses.is_empty() {
        let all = it.addresses.iter().map(|address| SocketAddr::new(*address, it.port));
        return all.map(|it| it.to_string().into()).collect();
    }
    match &it.hostname {
        HostPattern::Any => BTreeSet::new(),
        name => BTreeSet::from([format!("{name}:{}", it.port).into()]),
    }
}
