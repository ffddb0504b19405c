//! A bound on requests that wait for or are served by one backend.
//!
//! A [`Permit`] is taken before an endpoint is chosen and given back by dropping it, over all tries of a request. No
//! queue: who gets none is answered 503 at once, so that overload never turns into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts permits against a limit that may change at any time.
#[derive(Debug)]
pub struct Permits {
    limit: AtomicU32,
    in_use: AtomicU32,
}

impl Permits {
    /// At most `limit` permits at a time.
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU32::new(limit), in_use: AtomicU32::new(0) })
    }

    /// Changes the limit. Lowering it takes no permit back: new ones are refused until enough were dropped.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A permit, or `None` at the limit. Never waits, never allocates.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.try_acquire_within(self.limit.load(Ordering::Relaxed))
    }

    /// The same with a limit of the caller's.
    pub fn try_acquire_within(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        self.in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < limit).then(|| used.saturating_add(1))
            })
            .ok()
            .map(|_| Permit { owner: self.clone() })
    }

    /// Permits that are held now.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }
}

/// The right to have one request on its way; dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    owner: Arc<Permits>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.owner.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Permits;

    #[test]
    fn the_limit_holds_and_a_dropped_permit_is_free_again() {
        let permits = Permits::new(2);
        let first = permits.try_acquire().unwrap();
        let _second = permits.try_acquire().unwrap();
        assert!(permits.try_acquire().is_none());
        drop(first);
        assert!(permits.try_acquire().is_some());
        assert_eq!(permits.in_use(), 1);
    }

    #[test]
    fn a_lowered_limit_refuses_until_enough_are_dropped() {
        let permits = Permits::new(3);
        let mut held: Vec<_> = (0..3).map(|_| permits.try_acquire().unwrap()).collect();
        permits.set_limit(1);
        held.pop();
        assert!(permits.try_acquire().is_none());
        held.clear();
        assert!(permits.try_acquire().is_some());
        permits.set_limit(0);
        assert!(permits.try_acquire().is_none());
    }

    #[test]
    fn threads_never_exceed_the_limit_and_all_permits_come_back() {
        let permits = Permits::new(5);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let permit = permits.try_acquire();
                        assert!(permits.in_use() <= 5);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(permits.in_use(), 0);
    }
}
