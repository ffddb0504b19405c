//! Outlier detection (`outlierDetection` of a DestinationRule): what is counted, when an endpoint is left out, for how
//! long, and how many may be. Time comes as an argument; nothing here waits.

use sluice_ir::Ejection;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Longest ejection, unless the base is longer.
const LONGEST: Duration = Duration::from_secs(300);

/// How a try at an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With an answer of this status; a connection that was made counts as 200 where there are no statuses.
    Answered(u16),
    /// Without one: no connection, a reset, or time that ran out.
    Failed,
}

impl Verdict {
    /// Whether a Gateway's own detection counts it as a failure.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Answered(502..=504))
    }
}

/// Failures in a row, by kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    server_errors: AtomicU32,
    gateway_errors: AtomicU32,
    failures: AtomicU32,
}

impl Tally {
    /// Counts a verdict; whether the endpoint is to be left out now.
    pub(super) fn note(&self, verdict: Verdict, policy: &Ejection) -> bool {
        let (server, gateway, failed) = match (verdict, policy.failures) {
            (Verdict::Failed, Some(limit)) => (Count::Stays, Count::Stays, Count::More(limit)),
            (Verdict::Failed, None) => {
                (Count::More(policy.server_errors), Count::More(policy.gateway_errors), Count::Stays)
            }
            (Verdict::Answered(502..=504), _) => {
                (Count::More(policy.server_errors), Count::More(policy.gateway_errors), Count::Ends)
            }
            (Verdict::Answered(500..=599), _) => {
                (Count::More(policy.server_errors), Count::Ends, Count::Ends)
            }
            (Verdict::Answered(_), _) => (Count::Ends, Count::Ends, Count::Ends),
        };
        let counted =
            [(&self.server_errors, server), (&self.gateway_errors, gateway), (&self.failures, failed)];
        counted.map(|(count, how)| how.apply(count)).contains(&true)
    }

    pub(super) fn clear(&self) {
        for count in [&self.server_errors, &self.gateway_errors, &self.failures] {
            count.store(0, Relaxed);
        }
    }
}

/// What becomes of a count.
#[derive(Clone, Copy)]
enum Count {
    /// One more; at this many it is enough (0: never).
    More(u32),
    Ends,
    Stays,
}

impl Count {
    fn apply(self, count: &AtomicU32) -> bool {
        match self {
            Self::More(0) | Self::Stays => false,
            Self::More(limit) => count.fetch_add(1, Relaxed).saturating_add(1) >= limit,
            Self::Ends => {
                // Read before write: healthy endpoints keep their cache line shared between threads.
                if count.load(Relaxed) != 0 {
                    count.store(0, Relaxed);
                }
                false
            }
        }
    }
}

/// The ejection that follows `before` earlier ones, of which the last ended at `ended_ms`: its number, which is how many
/// times the base it lasts, and its end. Each interval of health since then has taken one from the number.
pub(super) fn next(policy: &Ejection, before: u32, ended_ms: u64, now_ms: u64) -> (u32, u64) {
    let healthy = now_ms.saturating_sub(ended_ms) / millis(policy.interval).max(1);
    let forgotten = u32::try_from(healthy).unwrap_or(u32::MAX);
    let number = before.saturating_sub(forgotten).saturating_add(1);
    let base = millis(policy.base);
    let longest = millis(LONGEST).max(base);
    let length = base.saturating_mul(u64::from(number)).min(longest);
    (number, now_ms.saturating_add(length))
}

/// Whether one more of `all` endpoints may be left out when `ejected` are.
pub(super) fn may_eject(policy: &Ejection, ejected: usize, all: usize) -> bool {
    let percent = usize::from(policy.most_percent);
    let most = if percent == 0 { 0 } else { (all * percent / 100).max(1) };
    ejected < most && (ejected + 1 < all || percent >= 100)
}

/// Whether so few endpoints are healthy that all are used.
pub(super) fn uses_all(policy: &Ejection, healthy: usize, all: usize) -> bool {
    healthy * 100 < usize::from(policy.health_percent) * all
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
