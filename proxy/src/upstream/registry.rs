//! All endpoint pools, by key, over the life of the process.
//!
//! In: the endpoint sets of each new snapshot, and the addresses that DNS names resolve to. Out: pools that stay the
//! same object while their key exists. The cost of a change follows its size: unchanged sets are recognised by
//! pointer, and one host's new addresses touch only the pools that name it.

use super::asked::Asked;
use super::circuit::{Circuit, Counters};
use super::dns::{Resolver, keep_fresh};
use super::health::{Check, CheckParts, Checks};
use super::lookup::Lookups;
use super::permits::Permits;
use super::pool::{EndpointPool, Member, PoolSnapshot};
use super::public::Guard;
use ahash::{AHashMap, AHashSet};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use sluice_ir::{Backend, BackendKey, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState, Locality};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The registry of pools and permits.
#[derive(Debug)]
pub struct Upstreams {
    me: Weak<Self>,
    resolver: Resolver,
    /// Names that only clients say.
    lookups: Arc<Lookups>,
    pools: ArcSwap<AHashMap<EndpointSetKey, Arc<EndpointPool>>>,
    permits: Mutex<AHashMap<BackendKey, Weak<Permits>>>,
    circuits: Mutex<AHashMap<BackendKey, Arc<Counters>>>,
    checks: Arc<Checks>,
    state: Mutex<State>,
    /// Where this data plane runs, if it knows.
    own: ArcSwapOption<Locality>,
    /// How many names have had no answer yet, neither a good nor a bad one.
    unanswered: watch::Sender<usize>,
    /// Whether connections are captured: what goes where they were going needs no names.
    is_captured: bool,
}

#[derive(Debug, Default)]
struct State {
    sets: BTreeMap<EndpointSetKey, Arc<EndpointSet>>,
    hosts: AHashMap<Arc<str>, Host>,
}

/// A DNS name that at least one set uses.
#[derive(Debug)]
struct Host {
    /// Sorted, each once; `None` before the first answer.
    addresses: Option<Vec<IpAddr>>,
    /// The first of the last answer that had any.
    first: Option<IpAddr>,
    users: AHashSet<EndpointSetKey>,
    /// Asks again and again; ends with the host.
    _task: AbortOnDropHandle<()>,
}

impl Upstreams {
    /// An empty registry.
    pub fn new(resolver: Resolver) -> Arc<Self> {
        Self::with(resolver, false)
    }

    /// The same of a sidecar, whose connections are captured.
    pub fn of_sidecar(resolver: Resolver) -> Arc<Self> {
        Self::with(resolver, true)
    }

    fn with(resolver: Resolver, is_captured: bool) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            lookups: Arc::new(Lookups::new(resolver.clone())),
            resolver,
            pools: ArcSwap::default(),
            permits: Mutex::default(),
            circuits: Mutex::default(),
            checks: Arc::default(),
            state: Mutex::default(),
            own: ArcSwapOption::empty(),
            unanswered: watch::Sender::new(0),
            is_captured,
        })
    }

    /// Who turns names into addresses.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Makes the pools those of `sets`. Endpoints that stay keep their load and health. New DNS names start to be
    /// asked for in the background, one task for each name however many sets use it; names that nobody uses stop.
    ///
    /// Call it inside a tokio runtime: outside, DNS names stay without addresses, which is logged as an error.
    pub fn apply(&self, sets: &BTreeMap<EndpointSetKey, Arc<EndpointSet>>) {
        let mut state = self.state.lock();
        let changed = state.changed(sets);
        let removed: Vec<_> = state.sets.keys().filter(|key| !sets.contains_key(key)).cloned().collect();
        if changed.is_empty() && removed.is_empty() {
            return;
        }
        for key in changed.iter().map(|set| &set.key).chain(&removed) {
            state.forget(key);
        }
        // Requests may hold a pool that is gone; its endpoints are asked no more.
        removed.iter().filter_map(|key| self.pool(key)).for_each(|pool| pool.set_check(None));
        for set in &changed {
            self.ask_for_names(&mut state, set);
            state.sets.insert(set.key.clone(), set.clone());
        }
        state.hosts.retain(|_, host| !host.users.is_empty());
        self.publish_keys(&state.sets);
        for set in &changed {
            self.fill(&state, set);
            if let Some(pool) = self.pool(&set.key) {
                pool.set_asked(Asked::of(set, &self.lookups));
            }
        }
        self.count_unanswered(&state);
    }

    /// Sets where this data plane runs; `None`: it does not know. Pools that go by places are arranged anew.
    pub fn set_locality(&self, own: Option<Locality>) {
        let own = own.filter(|it| !it.is_empty()).map(Arc::new);
        // So that no pool is made by the old word meanwhile.
        let _state = self.state.lock();
        self.own.store(own.clone());
        self.pools.load().values().for_each(|pool| pool.set_own_locality(own.clone()));
    }

    /// Where this data plane runs, if it knows.
    pub fn locality(&self) -> Option<Arc<Locality>> {
        self.own.load_full()
    }

    /// The pool of that key. Costs one hash look-up; keep the result in what is compiled from the snapshot.
    pub fn pool(&self, key: &EndpointSetKey) -> Option<Arc<EndpointPool>> {
        self.pools.load().get(key).cloned()
    }

    /// The permits of a backend, with the limit set anew. The same object as long as anybody holds it, so that
    /// requests in flight stay counted over changes of the snapshot. Takes a lock: not for the request path.
    pub fn permits(&self, key: &BackendKey, limit: u32) -> Arc<Permits> {
        let mut all = self.permits.lock();
        if let Some(permits) = all.get(key).and_then(Weak::upgrade) {
            permits.set_limit(limit);
            return permits;
        }
        all.retain(|_, permits| permits.strong_count() > 0);
        let permits = Permits::new(limit);
        all.insert(key.clone(), Arc::downgrade(&permits));
        permits
    }

    /// The circuit breakers of a backend; `None` without limits. What is on its way stays counted over changes of the
    /// limits. Takes a lock: not for the request path.
    pub fn circuit(&self, backend: &Backend) -> Option<Arc<Circuit>> {
        let policy = backend.policy.as_deref().filter(|it| !it.circuit.is_open());
        let mut all = self.circuits.lock();
        let Some(policy) = policy else {
            all.remove(&backend.key);
            return None;
        };
        let counters = all.entry(backend.key.clone()).or_insert_with(Counters::new);
        Some(counters.with(policy, backend.protocol))
    }

    /// Forgets the circuit breakers of backends that are gone.
    pub fn retain_circuits(&self, is_there: impl Fn(&BackendKey) -> bool) {
        self.circuits.lock().retain(|key, _| is_there(key));
    }

    /// How the endpoints of a backend are asked whether they are well; `None`: they are not. Takes a lock, and builds a
    /// TLS client where one is needed: not for the request path.
    pub fn check(&self, parts: CheckParts<'_>) -> Option<Arc<Check>> {
        self.checks.check(parts)
    }

    /// Waits until every DNS name has had an answer, good or bad; false when `deadline` came first. For readiness: a
    /// name that can't be resolved must not keep a gateway from serving the others.
    pub async fn wait_first(&self, deadline: tokio::time::Instant) -> bool {
        let mut unanswered = self.unanswered.subscribe();
        let all_answered = unanswered.wait_for(|count| *count == 0);
        matches!(tokio::time::timeout_at(deadline, all_answered).await, Ok(Ok(_)))
    }

    /// All pools for `/debug`, by key.
    pub fn snapshot(&self) -> Vec<PoolSnapshot> {
        let mut pools: Vec<_> = self.pools.load().values().map(|pool| pool.snapshot()).collect();
        pools.sort_by(|a, b| a.key.cmp(&b.key));
        pools
    }

    /// Takes an answer for a host: its addresses, or `None` when there was none and the old ones stay.
    fn answered(&self, host: &str, addresses: Option<Vec<IpAddr>>) {
        let mut state = self.state.lock();
        let Some(entry) = state.hosts.get_mut(host) else {
            return;
        };
        let (before, first) = (entry.addresses.take(), entry.first);
        if let Some(addresses) = &addresses {
            entry.first = addresses.first().copied();
        }
        let sorted = addresses.map(|mut it| {
            // A shuffled answer is no change.
            it.sort_unstable();
            it.dedup();
            it
        });
        entry.addresses = sorted.or_else(|| before.clone()).or_else(|| Some(Vec::new()));
        let (has_changed, has_turned) = (entry.addresses != before, entry.first != first);
        if has_changed {
            tracing::info!(host, addresses = ?entry.addresses.as_deref().unwrap_or_default(), "name resolved");
        }
        if has_changed || has_turned {
            let users: Vec<_> = entry.users.iter().cloned().collect();
            let sets = users.iter().filter_map(|key| state.sets.get(key));
            sets.filter(|set| has_changed || set.takes_first).for_each(|set| self.fill(&state, set));
        }
        self.count_unanswered(&state);
    }

    fn ask_for_names(&self, state: &mut State, set: &EndpointSet) {
        if self.is_captured && set.asked.as_ref().is_some_and(|it| it.original) {
            return;
        }
        for name in names(set) {
            if let Some(host) = state.hosts.get_mut(name) {
                host.users.insert(set.key.clone());
                continue;
            }
            let Ok(runtime) = Handle::try_current() else {
                tracing::error!(host = name, "no runtime to resolve a name in: it stays without addresses");
                continue;
            };
            let name: Arc<str> = name.into();
            let (me, asked) = (self.me.clone(), name.clone());
            let report = move |addresses| {
                if let Some(me) = me.upgrade() {
                    me.answered(&asked, addresses);
                }
            };
            let task = runtime.spawn(keep_fresh(name.clone(), self.resolver.clone(), report));
            let users = AHashSet::from_iter([set.key.clone()]);
            let _task = AbortOnDropHandle::new(task);
            state.hosts.insert(name, Host { addresses: None, first: None, users, _task });
        }
    }

    fn publish_keys(&self, sets: &BTreeMap<EndpointSetKey, Arc<EndpointSet>>) {
        let old = self.pools.load();
        if old.len() == sets.len() && sets.keys().all(|key| old.contains_key(key)) {
            return;
        }
        let pool = |key: &EndpointSetKey| old.get(key).cloned().unwrap_or_else(|| self.new_pool(key));
        let new = sets.keys().map(|key| (key.clone(), pool(key))).collect();
        self.pools.store(Arc::new(new));
    }

    fn new_pool(&self, key: &EndpointSetKey) -> Arc<EndpointPool> {
        let pool = EndpointPool::new(key.clone());
        pool.set_own_locality(self.own.load_full());
        pool
    }

    fn fill(&self, state: &State, set: &EndpointSet) {
        if let Some(pool) = self.pool(&set.key) {
            pool.update(&state.members(set));
        }
    }

    fn count_unanswered(&self, state: &State) {
        let count = state.hosts.values().filter(|host| host.addresses.is_none()).count();
        self.unanswered.send_if_modified(|before| std::mem::replace(before, count) != count);
    }
}

impl State {
    fn changed(&self, sets: &BTreeMap<EndpointSetKey, Arc<EndpointSet>>) -> Vec<Arc<EndpointSet>> {
        let same = |old: &Arc<EndpointSet>, new: &Arc<EndpointSet>| Arc::ptr_eq(old, new) || old == new;
        let changed = sets.values().filter(|new| !self.sets.get(&new.key).is_some_and(|old| same(old, new)));
        changed.cloned().collect()
    }

    fn forget(&mut self, key: &EndpointSetKey) {
        if let Some(set) = self.sets.remove(key) {
            for name in names(&set) {
                if let Some(host) = self.hosts.get_mut(name) {
                    host.users.remove(key);
                }
            }
        }
    }

    /// Endpoints with names replaced by their addresses; ready ones first, so that they win over a draining twin.
    fn members(&self, set: &EndpointSet) -> Vec<Member> {
        let mut members = Vec::with_capacity(set.endpoints.len());
        for endpoint in &set.endpoints {
            let mut add = |address| {
                members.push(Member {
                    address,
                    state: endpoint.state,
                    weight: endpoint.weight,
                    topology: endpoint.topology.clone(),
                    workload: endpoint.workload.clone(),
                });
            };
            match &endpoint.address {
                EndpointAddress::Socket(address) => add(*address),
                EndpointAddress::Dns { host, port } => {
                    let Some(known) = self.hosts.get(host.as_str()) else { continue };
                    let guard = Guard { host, is_external: set.is_external, origin: &set.origin };
                    let addresses = match set.takes_first {
                        true => known.first.as_slice(),
                        false => known.addresses.as_deref().unwrap_or_default(),
                    };
                    let addresses = addresses.iter().filter(|ip| guard.lets(**ip));
                    addresses.for_each(|ip| add(SocketAddr::new(*ip, *port)));
                }
            }
        }
        members.sort_by_key(|member| member.state != EndpointState::Ready);
        members
    }
}

fn names(set: &EndpointSet) -> impl Iterator<Item = &str> {
    set.endpoints.iter().filter_map(|endpoint| match &endpoint.address {
        EndpointAddress::Dns { host, .. } => Some(host.as_str()),
        EndpointAddress::Socket(_) => None,
    })
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
