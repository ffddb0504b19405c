//! Health checks of a pool's endpoints: who asks them, and how many are out.

use super::{EndpointPool, List};
use crate::upstream::health::Check;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EndpointPool {
    /// Sets how endpoints are asked whether they are well; `None`: they are not. What is known of them stays known.
    pub fn set_check(&self, check: Option<Arc<Check>>) {
        let _changing = self.changing.lock();
        let old = self.check.load_full();
        if old.as_ref().map(Arc::as_ptr) == check.as_ref().map(Arc::as_ptr) {
            return;
        }
        self.check.store(check.clone());
        let list = self.list.load();
        list.by_session.values().for_each(|endpoint| endpoint.ask(check.as_ref()));
        self.look(&list);
    }

    /// A check of an endpoint ended; `is_new`: differently than before.
    pub(in crate::upstream) fn checked(&self, is_good: bool, is_new: bool) {
        let count = if is_good { &self.checks_passed } else { &self.checks_failed };
        count.fetch_add(1, Ordering::Relaxed);
        if is_new {
            let _changing = self.changing.lock();
            self.look(&self.list.load());
        }
    }

    /// Whether checks take any endpoint of the list out. Held lock: `changing`.
    pub(super) fn look(&self, list: &List) {
        let some_out = list.by_session.values().any(|endpoint| endpoint.is_out());
        self.some_out.store(some_out, Ordering::Relaxed);
    }

    /// The check, while it takes any endpoint out.
    pub(super) fn check_if_any_is_out(&self) -> Option<Arc<Check>> {
        self.some_out.load(Ordering::Relaxed).then(|| self.check.load_full()).flatten()
    }

    /// How checks ended; `None` where nobody is asked.
    pub(super) fn checks(&self) -> Option<ChecksSnapshot> {
        self.check.load().is_some().then(|| ChecksSnapshot {
            passed: self.checks_passed.load(Ordering::Relaxed),
            failed: self.checks_failed.load(Ordering::Relaxed),
        })
    }
}

/// Health checks of a pool's endpoints.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChecksSnapshot {
    /// Good ones.
    pub passed: u64,
    /// Others.
    pub failed: u64,
}
