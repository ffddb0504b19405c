//! What became of requests that a cache was asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of such a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// A fresh answer was there.
    Hit,
    /// A stale one was given, as it allowed.
    Stale,
    /// The backend said that what is there is still right.
    Revalidated,
    /// The backend's answer was given and kept.
    Stored,
    /// The backend's answer was given and not kept.
    Passed,
}

impl CacheResult {
    const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Revalidated, Self::Stored, Self::Passed];

    const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Stored => "stored",
            Self::Passed => "passed",
        }
    }
}

/// Counters of the whole process.
#[derive(Default)]
pub(super) struct CacheMetrics([AtomicU64; 5]);

impl CacheMetrics {
    pub(super) fn count(&self, result: CacheResult) {
        let [hit, stale, revalidated, stored, passed] = &self.0;
        match result {
            CacheResult::Hit => hit,
            CacheResult::Stale => stale,
            CacheResult::Revalidated => revalidated,
            CacheResult::Stored => stored,
            CacheResult::Passed => passed,
        }
        .fetch_add(1, Relaxed);
    }

    /// Words and numbers: only what occurred.
    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let numbers = self.0.iter().map(|it| it.load(Relaxed));
        CacheResult::ALL.iter().map(|it| it.word()).zip(numbers).filter(|(_, number)| *number > 0)
    }
}
