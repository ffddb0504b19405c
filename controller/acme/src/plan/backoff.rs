//! How long a failed certificate rests.

use super::fraction;
use std::time::Duration;

/// Longest pause when nothing was asked of the authority, so that a repaired DNS record is soon seen.
const SOON: Duration = Duration::from_secs(600);

/// Pause after the `failures`-th failure in a row: doubles, up to the longest; up to a quarter shorter, so that names
/// that failed together don't come back together.
pub(crate) fn pause(failures: u32, (shortest, longest): (Duration, Duration), key: &str) -> Duration {
    let doubled = shortest.saturating_mul(1_u32 << failures.saturating_sub(1).min(20));
    let jitter = fraction(&["pause", key, &failures.to_string()]) / 4.0;
    doubled.min(longest).mul_f64(1.0 - jitter)
}

/// As [`pause`], never longer than ten minutes.
pub(crate) fn short_pause(failures: u32, (shortest, longest): (Duration, Duration), key: &str) -> Duration {
    pause(failures, (shortest.min(SOON), longest.min(SOON)), key)
}

#[cfg(test)]
mod tests {
    use super::{SOON, pause, short_pause};
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_within_a_quarter() {
        let bounds = (Duration::from_secs(60), Duration::from_secs(86_400));
        for failures in 1..100 {
            let whole = (60_u64 << (failures - 1).min(20)).min(86_400);
            let whole = Duration::from_secs(whole);
            let pause = pause(failures, bounds, "a/b");
            assert!(pause <= whole && pause >= whole.mul_f64(0.75), "{failures}: {pause:?}");
            assert!(short_pause(failures, bounds, "a/b") <= SOON);
        }
        assert!(pause(u32::MAX, bounds, "a/b") <= bounds.1);
        assert_ne!(pause(3, bounds, "a/b"), pause(3, bounds, "a/c"));
    }
}
