//! Adaptive limits that are shown: one for each policy and backend, as long as it lives.

use crate::policy::Limiter;
use parking_lot::Mutex;
use sluice_ir::{BackendKey, Origin};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Policy and backend.
type Names = (String, String);

/// Holds none alive.
#[derive(Default)]
pub(super) struct Limiters(Mutex<BTreeMap<Names, Weak<Limiter>>>);

impl Limiters {
    /// Shows a limit in place of the one before. Costs a look at all: the first request of a backend pays it.
    pub(super) fn watch(&self, policy: &Origin, backend: &BackendKey, limiter: &Arc<Limiter>) {
        let mut limiters = self.0.lock();
        limiters.retain(|_, it| it.strong_count() > 0);
        let policy = format!("{}/{}", policy.namespace, policy.name);
        limiters.insert((policy, backend.as_str().to_owned()), Arc::downgrade(limiter));
    }

    /// Those that live.
    pub(super) fn list(&self) -> Vec<(Names, Arc<Limiter>)> {
        let limiters = self.0.lock();
        limiters.iter().filter_map(|(names, it)| Some((names.clone(), it.upgrade()?))).collect()
    }
}
