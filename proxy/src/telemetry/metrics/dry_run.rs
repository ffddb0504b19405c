//! What AuthorizationPolicies in a dry run would have done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one Gateway.
#[derive(Debug, Default)]
pub struct DryRunCounts {
    /// By action (allow, deny) and result (allowed, denied).
    counts: [AtomicU64; 4],
}

/// Label values of each count: action and result.
const LABELS: [(&str, &str); 4] =
    [("allow", "allowed"), ("allow", "denied"), ("deny", "allowed"), ("deny", "denied")];

impl DryRunCounts {
    /// Policies of this action, `allow` or `deny`, would have let a request go on, or not.
    pub fn count(&self, action: &str, is_allowed: bool) {
        let wanted = (action, if is_allowed { "allowed" } else { "denied" });
        let place = LABELS.iter().position(|it| *it == wanted);
        if let Some(count) = place.and_then(|it| self.counts.get(it)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Each count with its labels.
    pub(super) fn results(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        LABELS.into_iter().zip(&self.counts).map(|(labels, count)| (labels, count.load(Relaxed)))
    }
}
