//! When a certificate is renewed.

use super::fraction;
use std::time::{Duration, SystemTime};

/// At two thirds of the life, up to a twentieth of the life earlier: the same moment for the same key everywhere.
pub(crate) fn two_thirds(not_before: SystemTime, not_after: SystemTime, key: &str) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life * 2 / 3 - (life / 20).mul_f64(fraction(&["renewal", key]))
}

/// A moment within the window that the authority suggests (RFC 9773 §4.2): the same for the same certificate.
pub(crate) fn within((start, end): (SystemTime, SystemTime), fingerprint: &str) -> SystemTime {
    let width = end.duration_since(start).unwrap_or_default();
    start + width.mul_f64(fraction(&["window", fingerprint]))
}

/// How long the authority's window is believed before it is asked for again (RFC 9773 §4.3.2).
pub(crate) fn ask_again(hint: Duration) -> Duration {
    hint.clamp(Duration::from_secs(60), Duration::from_secs(24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::{two_thirds, within};
    use proptest::prelude::{any, proptest};
    use std::time::{Duration, SystemTime};

    proptest! {
        #[test]
        fn renewal_lies_between_six_and_seven_tenths_of_any_life(seconds in 1_u64..100_000_000, key in any::<String>()) {
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let life = Duration::from_secs(seconds);
            let at = two_thirds(start, start + life, &key).duration_since(start).unwrap();
            assert!(at >= life.mul_f64(0.6) && at <= life.mul_f64(0.67));
            assert_eq!(two_thirds(start, start + life, &key), start + at);
        }

        #[test]
        fn a_suggested_window_is_kept(seconds in 0_u64..100_000_000, fingerprint in any::<String>()) {
            let start = SystemTime::UNIX_EPOCH;
            let end = start + Duration::from_secs(seconds);
            let at = within((start, end), &fingerprint);
            assert!(at >= start && at <= end);
        }
    }

    #[test]
    fn certificates_of_one_moment_are_renewed_at_different_moments() {
        let start = SystemTime::UNIX_EPOCH;
        let end = start + Duration::from_secs(90 * 24 * 3600);
        let mut at: Vec<_> = (0..100).map(|n| two_thirds(start, end, &format!("shop/{n}"))).collect();
        at.sort();
        at.dedup();
        assert_eq!(at.len(), 100);
        let spread = at[99].duration_since(at[0]).unwrap();
        assert!(spread > Duration::from_secs(3 * 24 * 3600), "{spread:?}");
    }
}
