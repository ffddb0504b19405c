//! Settings that are compiled already, by the policy that gives them: what inherits a setting shares its compiled form,
//! and a setting that did not change keeps it, with whatever it has counted.

use super::{
    Cache, Clients, Compression, Concurrency, Decompression, Faults, GlobalRates, Hedging, LocalRates,
    RateServers,
};
use ahash::AHashMap;
use sluice_ir::{self as ir, Given, Origin};
use std::sync::{Arc, Weak};

/// Compiled settings of every kind that is shared.
#[derive(Default)]
pub(crate) struct Kept {
    rate_servers: RateServers,
    pub(super) clients: KeptOf<ir::ClientRules, Clients>,
    pub(super) rates: KeptOf<ir::RateLimits, LocalRates>,
    global: KeptOf<ir::RateLimits, GlobalRates>,
    pub(super) faults: KeptOf<ir::Faults, Faults>,
    pub(super) decompression: KeptOf<ir::Decompression, Decompression>,
    pub(super) cache: KeptOf<ir::Cache, Cache>,
    pub(super) compression: KeptOf<ir::Compression, Compression>,
    pub(super) hedging: KeptOf<ir::Hedging, Hedging>,
    pub(super) concurrency: KeptOf<ir::AdaptiveConcurrency, Concurrency>,
}

impl Kept {
    pub(crate) fn new(rate_servers: RateServers) -> Self {
        Self { rate_servers, ..Self::default() }
    }

    /// Limits that a server counts, if there are any.
    pub(super) fn global(&mut self, given: &Arc<Given<ir::RateLimits>>) -> Option<Arc<GlobalRates>> {
        let limits = given.value.global.as_ref()?;
        let servers = &self.rate_servers;
        let compile = |all: &ir::RateLimits, _: Option<&GlobalRates>| {
            GlobalRates::compile(&given.policy, limits, all.tells, servers)
        };
        Some(self.global.get(given, compile))
    }
}

/// Compiled settings of one kind. Holds none alive; what nobody uses any more is forgotten when the table has doubled.
pub(super) struct KeptOf<T, R> {
    by_policy: AHashMap<Origin, (Arc<Given<T>>, Weak<R>)>,
    sweep_at: usize,
}

/// Not worth a sweep below this.
const FEW: usize = 64;

impl<T, R> Default for KeptOf<T, R> {
    fn default() -> Self {
        Self { by_policy: AHashMap::new(), sweep_at: FEW }
    }
}

impl<T: PartialEq, R> KeptOf<T, R> {
    /// The compiled form of a setting. What it was before, if it is in use, is given along to whoever compiles it.
    pub(super) fn get(&mut self, given: &Arc<Given<T>>, compile: impl FnOnce(&T, Option<&R>) -> R) -> Arc<R> {
        let mut before = None;
        if let Some((known, compiled)) = self.by_policy.get(&given.policy) {
            before = compiled.upgrade();
            if let Some(same) = before.as_ref().filter(|_| known.value == given.value) {
                return same.clone();
            }
        }
        if self.by_policy.len() >= self.sweep_at {
            self.by_policy.retain(|_, (_, compiled)| compiled.strong_count() > 0);
            self.sweep_at = FEW.max(2 * self.by_policy.len());
        }
        let compiled = Arc::new(compile(&given.value, before.as_deref()));
        self.by_policy.insert(given.policy.clone(), (given.clone(), Arc::downgrade(&compiled)));
        compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_compiled_again_only_when_it_changed() {
        let mut kept = KeptOf::<u8, u8>::default();
        let given = |value| Arc::new(Given { policy: Origin::new("TrafficPolicy", "shop", "a"), value });
        let first = kept.get(&given(1), |value, _| *value);
        assert!(Arc::ptr_eq(&first, &kept.get(&given(1), |_, _| 9)));
        assert_eq!(*kept.get(&given(2), |value, before| *value + before.copied().unwrap_or(9)), 3);
        assert_eq!(*first, 1);
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let mut kept = KeptOf::<u8, u8>::default();
        for number in 0..10 * FEW {
            let policy = Origin::new("TrafficPolicy", "shop", number.to_string());
            kept.get(&Arc::new(Given { policy, value: 1 }), |value, _| *value);
        }
        assert!(kept.by_policy.len() <= FEW, "{}", kept.by_policy.len());
    }
}
