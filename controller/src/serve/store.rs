//! What is distributed, and to which Gateway each resource belongs.
//!
//! In: deltas. Out: for each delta the pairs of Gateway and key that may look different now. A Gateway holds itself and
//! its listeners; a listener holds its certificates, also those of its handshakes, and the routes attached to it; a route holds the backends it
//! names, and so do a Gateway and a listener those of their policies; a backend holds its endpoints; a challenge names its Gateway. Holding is counted, so that the cost of a change
//! follows its size and no resource is ever in the reach of a Gateway that does not need it.

use super::attached::{backends, is_route, listeners, of_authorization, of_policies, only};
use super::places::{DESTINATIONS, Places, is_gateway};
use sluice_ir::{self as ir, Resource, ResourceKey};
use sluice_xds::Packed;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What may look different to whom.
pub(super) type Dirty = BTreeMap<ir::GatewayKey, BTreeSet<ResourceKey>>;

/// All resources with their holders.
#[derive(Default)]
pub(super) struct Store {
    snapshot: ir::Snapshot,
    /// Routes by the listeners that they name, also listeners that are not there.
    attached: HashMap<ir::ListenerKey, BTreeSet<ResourceKey>>,
    /// Listeners by what they ask for at handshakes, and the certificates of those.
    asking: HashMap<ir::OnDemandKey, BTreeSet<ir::ListenerKey>>,
    asked: HashMap<ir::OnDemandKey, BTreeSet<ir::CertificateKey>>,
    /// Gateways that hold a key, also keys that are not there.
    users: HashMap<ResourceKey, BTreeSet<ir::GatewayKey>>,
    scopes: HashMap<ir::GatewayKey, Scope>,
    places: Places,
    /// Versions of what counts for a digest.
    versions: HashMap<ResourceKey, u64>,
}

/// What one Gateway holds.
#[derive(Default)]
struct Scope {
    /// How often each key is held.
    counts: HashMap<ResourceKey, u32>,
    digest: Digest,
}

/// Equal for two scopes that hold the same: sums of versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// Of a Gateway, its listeners and their certificates.
    pub(super) structure: u64,
    /// Of its challenges, which come and go without making the Gateway another.
    pub(super) challenges: u64,
}

impl Digest {
    /// Puts a version in the place of another; 0 stands for none.
    fn exchange(&mut self, key: &ResourceKey, old: u64, new: u64) {
        let sum = match key {
            ResourceKey::Challenge(_) => &mut self.challenges,
            _ => &mut self.structure,
        };
        *sum = sum.wrapping_sub(old).wrapping_add(new);
    }
}

impl Store {
    /// Takes a delta over.
    pub(super) fn apply(&mut self, delta: &ir::Delta) -> Dirty {
        let mut dirty = Dirty::new();
        for resource in &delta.upserts {
            self.upsert(resource, &mut dirty);
        }
        for key in &delta.removals {
            self.remove(key, &mut dirty);
        }
        for gateway in dirty.keys() {
            if self.scopes.get(gateway).is_some_and(|scope| scope.counts.is_empty()) {
                self.scopes.remove(gateway);
            }
        }
        dirty
    }

    /// Whether the Gateway is there.
    pub(super) fn has_gateway(&self, gateway: &ir::GatewayKey) -> bool {
        self.snapshot.gateways.contains_key(gateway)
    }

    /// Gateways that are there; destinations of the mesh are none.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &ir::GatewayKey> {
        self.snapshot.gateways.keys().filter(|it| is_gateway(it))
    }

    /// The scope that clients of a namespace find a destination in.
    pub(super) fn find(&self, name: &str, client: &str) -> Option<ir::GatewayKey> {
        let found = self.places.find(name, client)?;
        // Whoever has an own face of a destination has no other of it.
        let own = ir::GatewayKey::new(format!("{found}@{client}"));
        Some(if self.has_gateway(&own) { own } else { found })
    }

    /// Names of destinations that may be found elsewhere since the last call.
    pub(super) fn take_moved(&mut self) -> BTreeSet<Box<str>> {
        self.places.take_moved()
    }

    /// What the Gateway's scope comes to.
    pub(super) fn digest(&self, gateway: &ir::GatewayKey) -> Digest {
        self.scopes.get(gateway).map(|scope| scope.digest).unwrap_or_default()
    }

    /// Whether exactly this challenge is there.
    pub(super) fn has_challenge(&self, challenge: &ir::Challenge) -> bool {
        self.snapshot.challenges.get(&challenge.key).is_some_and(|it| **it == *challenge)
    }

    /// Keys that a Gateway holds, in no order; some may not be there.
    pub(super) fn scope(&self, gateway: &ir::GatewayKey) -> impl Iterator<Item = &ResourceKey> {
        self.scopes.get(gateway).into_iter().flat_map(|scope| scope.counts.keys())
    }

    /// How many keys a Gateway holds.
    pub(super) fn scope_size(&self, gateway: &ir::GatewayKey) -> usize {
        self.scopes.get(gateway).map_or(0, |scope| scope.counts.len())
    }

    /// The resource as this Gateway may see it; `None` when it is not there or not this Gateway's. The flag says
    /// whether every Gateway that holds it sees the same.
    pub(super) fn view(&self, gateway: &ir::GatewayKey, key: &ResourceKey) -> Option<(Resource, bool)> {
        self.view_of(std::slice::from_ref(gateway), key)
    }

    /// The same for who has several scopes, sorted.
    pub(super) fn view_of(&self, scopes: &[ir::GatewayKey], key: &ResourceKey) -> Option<(Resource, bool)> {
        let is_there =
            |it: &ir::GatewayKey| self.scopes.get(it).is_some_and(|it| it.counts.contains_key(key));
        scopes.iter().any(is_there).then_some(())?;
        // A route is shown without its attachments to other Gateways' listeners.
        let is_own = |attachment: &ir::Attachment| {
            let listener = self.snapshot.listeners.get(&attachment.listener);
            listener.is_some_and(|it| scopes.binary_search(&it.gateway).is_ok())
        };
        Some(only(self.snapshot.get(key)?, is_own))
    }

    /// The object that caused a resource.
    pub(super) fn origin(&self, key: &ResourceKey) -> Option<String> {
        self.snapshot.get(key).map(|resource| resource.origin().to_string())
    }

    fn upsert(&mut self, resource: &Resource, dirty: &mut Dirty) {
        let key = resource.key();
        match resource {
            Resource::Gateway(_) => {
                let new = self.snapshot.get(&key).is_none();
                self.replace(&key, Some(resource), dirty);
                if new && let ResourceKey::Gateway(own) = &key {
                    self.hold(own, &key, dirty);
                }
            }
            Resource::Listener(listener) => {
                self.note_asking(&listener.key, asks(resource));
                let old = self.snapshot.listeners.get(&listener.key).cloned();
                self.places.replace(old.as_deref(), Some(listener));
                let before = self.snapshot.listeners.get(&listener.key).map(|it| it.gateway.clone());
                let moved = before.as_ref() != Some(&listener.gateway);
                if moved && let Some(before) = &before {
                    self.release(before, &key, dirty);
                }
                self.replace(&key, Some(resource), dirty);
                if moved {
                    self.hold(&listener.gateway, &key, dirty);
                }
            }
            // Its key names the Gateway, so that it never moves.
            Resource::Challenge(challenge) => {
                let new = self.snapshot.get(&key).is_none();
                self.replace(&key, Some(resource), dirty);
                if new {
                    self.hold(&challenge.gateway, &key, dirty);
                }
            }
            Resource::Route(_) | Resource::StreamRoute(_) => {
                let before = self.snapshot.get(&key).map(|it| listeners(&it)).unwrap_or_default();
                let now = listeners(resource);
                // Detached last: who holds the route all the time is told of what changed for it, and of nothing else.
                self.replace(&key, Some(resource), dirty);
                for listener in now.difference(&before) {
                    self.attached.entry(listener.clone()).or_default().insert(key.clone());
                    for gateway in self.users_of(&ResourceKey::Listener(listener.clone())) {
                        self.hold(&gateway, &key, dirty);
                    }
                }
                self.detach(&key, before.difference(&now), dirty);
            }
            Resource::Certificate(certificate) => {
                let before = self.snapshot.get(&key).and_then(|it| asked_by(&it));
                let moved = before != certificate.on_demand;
                if let Some(before) = before.filter(|_| moved) {
                    self.withdraw(&certificate.key, &before, dirty);
                }
                self.replace(&key, Some(resource), dirty);
                if let Some(now) = certificate.on_demand.as_ref().filter(|_| moved) {
                    self.offer(&certificate.key, now, dirty);
                }
            }
            // A scope of its own.
            Resource::Workloads(workloads) => {
                let new = self.snapshot.get(&key).is_none();
                self.replace(&key, Some(resource), dirty);
                if new {
                    self.hold(&workloads.key.scope(), &key, dirty);
                }
            }
            Resource::Backend(_) | Resource::EndpointSet(_) => self.replace(&key, Some(resource), dirty),
        }
    }

    /// Notes what a listener asks for at handshakes now. Its children are seen to by who changes it.
    fn note_asking(&mut self, listener: &ir::ListenerKey, now: Option<ir::OnDemandKey>) {
        let before = self.snapshot.get(&ResourceKey::Listener(listener.clone())).and_then(|it| asks(&it));
        if before == now {
            return;
        }
        // The children of the listener as it is in the snapshot are found by the certificates' own table, which stays.
        if let Some(listeners) = before.as_ref().and_then(|it| self.asking.get_mut(it)) {
            listeners.remove(listener);
        }
        self.asking.retain(|_, listeners| !listeners.is_empty());
        if let Some(now) = now {
            self.asking.entry(now).or_default().insert(listener.clone());
        }
    }

    /// Gives a certificate of handshakes to those whose listeners ask for such.
    fn offer(&mut self, certificate: &ir::CertificateKey, to: &ir::OnDemandKey, dirty: &mut Dirty) {
        self.asked.entry(to.clone()).or_default().insert(certificate.clone());
        for gateway in self.asking_gateways(certificate, to) {
            self.hold(&gateway, &ResourceKey::Certificate(certificate.clone()), dirty);
        }
    }

    /// Takes a certificate of handshakes away from them.
    fn withdraw(&mut self, certificate: &ir::CertificateKey, from: &ir::OnDemandKey, dirty: &mut Dirty) {
        if let Some(certificates) = self.asked.get_mut(from) {
            certificates.remove(certificate);
            if certificates.is_empty() {
                self.asked.remove(from);
            }
        }
        for gateway in self.asking_gateways(certificate, from) {
            self.release(&gateway, &ResourceKey::Certificate(certificate.clone()), dirty);
        }
    }

    /// The Gateways whose listeners ask for certificates of a key, each as often as it has such listeners. One that names
    /// the certificate itself holds it already.
    fn asking_gateways(
        &self,
        certificate: &ir::CertificateKey,
        key: &ir::OnDemandKey,
    ) -> Vec<ir::GatewayKey> {
        let names = |listener: &ir::ListenerKey| {
            let tls = self.snapshot.listeners.get(listener).and_then(|it| it.protocol.tls());
            tls.is_some_and(|tls| tls.certificates.contains(certificate))
        };
        let listeners = self.asking.get(key).into_iter().flatten().filter(|it| !names(it));
        listeners.flat_map(|it| self.users_of(&ResourceKey::Listener(it.clone()))).collect()
    }

    fn remove(&mut self, key: &ResourceKey, dirty: &mut Dirty) {
        match key {
            ResourceKey::Gateway(gateway) => {
                if self.has_gateway(gateway) {
                    self.release(gateway, key, dirty);
                }
            }
            ResourceKey::Listener(listener) => {
                if let Some(before) = self.snapshot.listeners.get(listener).cloned() {
                    self.places.replace(Some(&before), None);
                    let gateway = before.gateway.clone();
                    self.release(&gateway, key, dirty);
                    self.note_asking(listener, None);
                }
            }
            ResourceKey::Certificate(certificate) => {
                if let Some(before) = self.snapshot.get(key).and_then(|it| asked_by(&it)) {
                    self.withdraw(certificate, &before, dirty);
                }
            }
            ResourceKey::Challenge(challenge) => {
                if let Some(before) = self.snapshot.challenges.get(challenge) {
                    let gateway = before.gateway.clone();
                    self.release(&gateway, key, dirty);
                }
            }
            ResourceKey::Route(_) | ResourceKey::StreamRoute(_) => {
                if let Some(before) = self.snapshot.get(key) {
                    self.detach(key, listeners(&before).iter(), dirty);
                }
            }
            ResourceKey::Workloads(workloads) => {
                if self.snapshot.workloads.contains_key(workloads) {
                    self.release(&workloads.scope(), key, dirty);
                }
            }
            ResourceKey::Backend(_) | ResourceKey::EndpointSet(_) => {}
        }
        self.replace(key, None, dirty);
    }

    fn detach<'a>(
        &mut self,
        route: &ResourceKey,
        from: impl Iterator<Item = &'a ir::ListenerKey>,
        dirty: &mut Dirty,
    ) {
        for listener in from {
            if let Some(routes) = self.attached.get_mut(listener) {
                routes.remove(route);
                if routes.is_empty() {
                    self.attached.remove(listener);
                }
            }
            for gateway in self.users_of(&ResourceKey::Listener(listener.clone())) {
                self.release(&gateway, route, dirty);
            }
        }
    }

    /// Puts the resource in the place of the one before, for those that hold its key.
    fn replace(&mut self, key: &ResourceKey, resource: Option<&Resource>, dirty: &mut Dirty) {
        let users = self.users_of(key);
        let views = |store: &Self| match is_route(key) {
            // Only a route looks different to different Gateways.
            true => users.iter().map(|gateway| store.view(gateway, key).map(|(view, _)| view)).collect(),
            false => Vec::new(),
        };
        let (children_before, views_before) = (self.children(key), views(self));
        let version_before = self.versions.get(key).copied().unwrap_or_default();
        match resource {
            Some(resource) => {
                self.snapshot.apply(&ir::Delta { upserts: vec![resource.clone()], removals: vec![] })
            }
            None => self.snapshot.apply(&ir::Delta { upserts: vec![], removals: vec![key.clone()] }),
        }
        let version = self.note_version(key, resource);
        let (children, views_now) = (self.children(key), views(self));
        for (position, gateway) in users.iter().enumerate() {
            if let Some(scope) = self.scopes.get_mut(gateway) {
                scope.digest.exchange(key, version_before, version);
            }
            for child in children.difference(&children_before) {
                self.hold(gateway, child, dirty);
            }
            for child in children_before.difference(&children) {
                self.release(gateway, child, dirty);
            }
            if views_now.is_empty() || views_now.get(position) != views_before.get(position) {
                mark(dirty, gateway, key);
            }
        }
    }

    /// Remembers the version of what counts for the digest; 0 for anything else.
    fn note_version(&mut self, key: &ResourceKey, resource: Option<&Resource>) -> u64 {
        let is_asked = resource.is_some_and(|it| asked_by(it).is_some());
        let is_meshed = key.as_str().starts_with(DESTINATIONS);
        let counts =
            (is_structural(key) && !is_asked && !is_meshed) || matches!(key, ResourceKey::Challenge(_));
        match resource.filter(|_| counts).map(Packed::new) {
            Some(Ok(packed)) => {
                self.versions.insert(key.clone(), packed.version);
                packed.version
            }
            Some(Err(_)) | None => {
                self.versions.remove(key);
                0
            }
        }
    }

    fn hold(&mut self, gateway: &ir::GatewayKey, key: &ResourceKey, dirty: &mut Dirty) {
        let version = self.versions.get(key).copied().unwrap_or_default();
        let scope = self.scopes.entry(gateway.clone()).or_default();
        let count = scope.counts.entry(key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            if is_route(key) {
                // One more of its attachments is this Gateway's.
                mark(dirty, gateway, key);
            }
            return;
        }
        scope.digest.exchange(key, 0, version);
        self.users.entry(key.clone()).or_default().insert(gateway.clone());
        mark(dirty, gateway, key);
        for child in self.children(key) {
            self.hold(gateway, &child, dirty);
        }
    }

    fn release(&mut self, gateway: &ir::GatewayKey, key: &ResourceKey, dirty: &mut Dirty) {
        let Some(scope) = self.scopes.get_mut(gateway) else { return };
        let Some(count) = scope.counts.get_mut(key) else { return };
        *count -= 1;
        if *count > 0 {
            if is_route(key) {
                // One of its attachments is this Gateway's no longer.
                mark(dirty, gateway, key);
            }
            return;
        }
        mark(dirty, gateway, key);
        scope.counts.remove(key);
        scope.digest.exchange(key, self.versions.get(key).copied().unwrap_or_default(), 0);
        if let Some(users) = self.users.get_mut(key) {
            users.remove(gateway);
            if users.is_empty() {
                self.users.remove(key);
            }
        }
        for child in self.children(key) {
            self.release(gateway, &child, dirty);
        }
    }

    fn users_of(&self, key: &ResourceKey) -> Vec<ir::GatewayKey> {
        self.users.get(key).into_iter().flatten().cloned().collect()
    }

    /// What the resource holds, each once.
    fn children(&self, key: &ResourceKey) -> BTreeSet<ResourceKey> {
        match key {
            ResourceKey::Gateway(key) => {
                let gateway = self.snapshot.gateways.get(key);
                let certificate = gateway.and_then(|it| it.backend_certificate.clone());
                let policies = of_policies(gateway.and_then(|it| it.traffic.as_deref()));
                let asked = of_authorization(gateway.map(|it| &it.authorization[..]).unwrap_or_default());
                certificate.map(ResourceKey::Certificate).into_iter().chain(policies).chain(asked).collect()
            }
            ResourceKey::Listener(key) => self.children_of_listener(key),
            ResourceKey::Route(_) | ResourceKey::StreamRoute(_) => {
                self.snapshot.get(key).map(|route| backends(&route)).unwrap_or_default()
            }
            ResourceKey::Backend(key) => {
                let backend = self.snapshot.backends.get(key);
                backend.map(|it| ResourceKey::EndpointSet(it.endpoints.clone())).into_iter().collect()
            }
            ResourceKey::Workloads(key) => {
                let workloads = self.snapshot.workloads.get(key);
                of_authorization(workloads.map(|it| &it.authorization[..]).unwrap_or_default()).collect()
            }
            ResourceKey::EndpointSet(_) | ResourceKey::Certificate(_) | ResourceKey::Challenge(_) => {
                BTreeSet::new()
            }
        }
    }

    fn children_of_listener(&self, key: &ir::ListenerKey) -> BTreeSet<ResourceKey> {
        let Some(listener) = self.snapshot.listeners.get(key) else { return BTreeSet::new() };
        let routes = self.attached.get(key).into_iter().flatten().cloned();
        let tls = listener.protocol.tls();
        let named = tls.into_iter().flat_map(|tls| &tls.certificates);
        let asked = tls.and_then(|tls| self.asked.get(tls.on_demand.as_ref()?)).into_iter().flatten();
        let policies = of_policies(listener.traffic.as_deref());
        routes.chain(named.chain(asked).cloned().map(ResourceKey::Certificate)).chain(policies).collect()
    }
}

/// What a listener asks for at handshakes.
fn asks(listener: &Resource) -> Option<ir::OnDemandKey> {
    match listener {
        Resource::Listener(it) => it.protocol.tls()?.on_demand.clone(),
        _ => None,
    }
}

/// Which listeners asked for a certificate at a handshake.
fn asked_by(certificate: &Resource) -> Option<ir::OnDemandKey> {
    match certificate {
        Resource::Certificate(it) => it.on_demand.clone(),
        _ => None,
    }
}

/// Whether a Gateway is programmed only when its proxies have this.
pub(super) fn is_structural(key: &ResourceKey) -> bool {
    match key {
        ResourceKey::Gateway(_)
        | ResourceKey::Listener(_)
        | ResourceKey::Certificate(_)
        | ResourceKey::Workloads(_) => true,
        ResourceKey::Challenge(_)
        | ResourceKey::Route(_)
        | ResourceKey::StreamRoute(_)
        | ResourceKey::Backend(_)
        | ResourceKey::EndpointSet(_) => false,
    }
}

fn mark(dirty: &mut Dirty, gateway: &ir::GatewayKey, key: &ResourceKey) {
    dirty.entry(gateway.clone()).or_default().insert(key.clone());
}
