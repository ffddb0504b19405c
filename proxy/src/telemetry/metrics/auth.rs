//! How the questions to one authoriser ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one authoriser, named by the key of its backend.
#[derive(Debug, Default)]
pub struct AuthCounts {
    allowed: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
    passed: AtomicU64,
}

impl AuthCounts {
    /// It let a request go on.
    pub fn allowed(&self) {
        self.allowed.fetch_add(1, Relaxed);
    }

    /// It denied a request.
    pub fn denied(&self) {
        self.denied.fetch_add(1, Relaxed);
    }

    /// It could not be asked or understood, and the request was refused.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// It could not be asked, and the request went on as the settings say.
    pub fn passed(&self) {
        self.passed.fetch_add(1, Relaxed);
    }

    /// Each result with its label.
    pub(super) fn results(&self) -> [(&'static str, u64); 4] {
        [
            ("allowed", self.allowed.load(Relaxed)),
            ("denied", self.denied.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
            ("passed", self.passed.load(Relaxed)),
        ]
    }
}
