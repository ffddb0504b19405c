//! The servers that count global rate limits, one for all policies that name the same, and what became of what they were
//! asked, by policy. Here metrics find both.

use crate::redis::{Failure, Redis};
use crate::upstream::Resolver;
use parking_lot::Mutex;
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// All of them. A clone is the same. Holds none alive.
#[derive(Clone)]
pub(crate) struct RateServers {
    resolver: Resolver,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    servers: Vec<(ir::RateServer, Weak<Redis>)>,
    counts: BTreeMap<String, Weak<RateCounts>>,
}

/// What became of the requests of one policy.
#[derive(Default)]
pub(crate) struct RateCounts {
    allowed: AtomicU64,
    refused: AtomicU64,
    let_through: AtomicU64,
    denied: AtomicU64,
    down: AtomicU64,
    overflow: AtomicU64,
    timeout: AtomicU64,
    broken: AtomicU64,
    error: AtomicU64,
}

impl Default for RateServers {
    /// Names are resolved as the system does it.
    fn default() -> Self {
        Self::new(Resolver::system())
    }
}

impl RateServers {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, state: Arc::default() }
    }

    /// The server with exactly these settings; it begins to connect when it is new. Takes a lock: not for the request path.
    pub(super) fn server(&self, wanted: &ir::RateServer) -> Arc<Redis> {
        let mut state = self.state.lock();
        state.servers.retain(|(_, server)| server.strong_count() > 0);
        let known = state.servers.iter().find(|(known, _)| known == wanted);
        if let Some(server) = known.and_then(|(_, server)| server.upgrade()) {
            return server;
        }
        let server = Arc::new(Redis::new(wanted, self.resolver.clone()));
        state.servers.push((wanted.clone(), Arc::downgrade(&server)));
        server
    }

    /// The counts of a policy, by its `NAMESPACE/NAME`; the same as long as anybody holds them.
    pub(super) fn counts(&self, policy: String) -> Arc<RateCounts> {
        let mut state = self.state.lock();
        state.counts.retain(|_, counts| counts.strong_count() > 0);
        if let Some(counts) = state.counts.get(&policy).and_then(Weak::upgrade) {
            return counts;
        }
        let counts = Arc::new(RateCounts::default());
        state.counts.insert(policy, Arc::downgrade(&counts));
        counts
    }

    /// Each policy and its counts.
    pub(crate) fn all_counts(&self) -> Vec<(String, Arc<RateCounts>)> {
        let state = self.state.lock();
        let all = state.counts.iter();
        all.filter_map(|(policy, counts)| Some((policy.clone(), counts.upgrade()?))).collect()
    }

    /// Each server, and whether it counts; one that is named with several passwords does when all of them serve.
    pub(crate) fn all_servers(&self) -> BTreeMap<String, bool> {
        let state = self.state.lock();
        let mut all = BTreeMap::new();
        for server in state.servers.iter().filter_map(|(_, server)| server.upgrade()) {
            let is_up = all.entry(server.name().to_owned()).or_insert(true);
            *is_up &= server.is_up();
        }
        all
    }
}

impl RateCounts {
    pub(super) fn decided(&self, is_allowed: bool) {
        let count = if is_allowed { &self.allowed } else { &self.refused };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, why: Failure, is_let_through: bool) {
        let count = if is_let_through { &self.let_through } else { &self.denied };
        count.fetch_add(1, Relaxed);
        let count = match why {
            Failure::Down => &self.down,
            Failure::Overflow => &self.overflow,
            Failure::Timeout => &self.timeout,
            Failure::Broken => &self.broken,
            Failure::Error => &self.error,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Requests by what became of them.
    pub(crate) fn decisions(&self) -> [(&'static str, u64); 4] {
        [
            ("allowed", self.allowed.load(Relaxed)),
            ("refused", self.refused.load(Relaxed)),
            ("failed_allowed", self.let_through.load(Relaxed)),
            ("failed_denied", self.denied.load(Relaxed)),
        ]
    }

    /// Requests without an answer, by why there was none.
    pub(crate) fn failures(&self) -> [(&'static str, u64); 5] {
        [
            ("down", self.down.load(Relaxed)),
            ("overflow", self.overflow.load(Relaxed)),
            ("timeout", self.timeout.load(Relaxed)),
            ("broken", self.broken.load(Relaxed)),
            ("error", self.error.load(Relaxed)),
        ]
    }
}
