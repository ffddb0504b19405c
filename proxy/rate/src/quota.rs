//! The arithmetic of one key: GCRA.
//!
//! A key is one number, its *theoretical arrival time*: when it would have come if all it did so far had been spread
//! evenly. A request moves it on by one interval; it may run ahead of the clock by the burst, and no further. So a
//! key's allowance refills steadily instead of jumping at the edge of a window, and twice the limit can't pass by
//! asking on both sides of an edge.

use std::time::Duration;

/// How many requests in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    interval_ns: u64,
    burst: u32,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is let through.
    pub is_allowed: bool,
    /// Requests that would be let through at once now.
    pub remaining: u32,
    /// Until the whole burst is there again.
    pub reset: Duration,
    /// Until one request is let through; zero when one would be now.
    pub retry_after: Duration,
}

impl Quota {
    /// `requests` in every `per`, of which `burst` may come at once. All of them are taken as at least 1, `per` as at
    /// least one nanosecond for each request.
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let per_ns = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        Self { interval_ns: (per_ns / u64::from(requests.max(1))).max(1), burst: burst.max(1) }
    }

    /// Requests that may come at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// The burst as time.
    fn burst_ns(&self) -> u64 {
        self.interval_ns.saturating_mul(u64::from(self.burst))
    }

    /// Whether a key with this arrival time may come now, and its arrival time when it does.
    #[inline]
    pub(crate) fn next(&self, arrival_ns: u64, now_ns: u64) -> Option<u64> {
        let next = arrival_ns.max(now_ns).saturating_add(self.interval_ns);
        (next - now_ns <= self.burst_ns()).then_some(next)
    }

    /// How a key with this arrival time stands, after it was or was not let through.
    #[inline]
    pub(crate) fn decision(&self, is_allowed: bool, arrival_ns: u64, now_ns: u64) -> Decision {
        let ahead_ns = arrival_ns.saturating_sub(now_ns);
        let room_ns = self.burst_ns().saturating_sub(ahead_ns);
        let remaining = u32::try_from(room_ns / self.interval_ns).unwrap_or(self.burst);
        let retry_after = self.interval_ns.saturating_sub(room_ns);
        Decision {
            is_allowed,
            remaining: remaining.min(self.burst),
            reset: Duration::from_nanos(ahead_ns),
            retry_after: Duration::from_nanos(retry_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quota;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    /// Asks at these times; which of them are let through.
    fn run(quota: Quota, times_ns: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let mut arrival = 0;
        let one = |now| {
            let next = quota.next(arrival, now);
            arrival = next.unwrap_or(arrival);
            next.is_some()
        };
        times_ns.into_iter().map(one).collect()
    }

    #[test]
    fn a_burst_comes_at_once_and_refills_steadily() {
        let quota = Quota::new(10, Duration::from_secs(1), 3);
        let start = SECOND;
        assert_eq!(run(quota, [start; 4]), [true, true, true, false]);
        let tenth = SECOND / 10;
        assert_eq!(
            run(quota, [start, start, start, start + tenth - 1, start + tenth, start + tenth]),
            [true, true, true, false, true, false]
        );
    }

    #[test]
    fn a_refused_key_is_told_when_to_come_again() {
        let quota = Quota::new(10, Duration::from_secs(1), 1);
        let arrival = quota.next(0, SECOND).unwrap_or_default();
        let refused = quota.decision(false, arrival, SECOND + 40_000_000);
        assert_eq!((refused.remaining, refused.retry_after), (0, Duration::from_millis(60)));
        assert_eq!(refused.reset, Duration::from_millis(60));
        let free = quota.decision(true, 0, SECOND);
        assert_eq!((free.remaining, free.retry_after, free.reset), (1, Duration::ZERO, Duration::ZERO));
    }

    proptest! {
        /// In no stretch of time pass more than the burst and what refills meanwhile: an edge of a window helps nobody.
        #[test]
        fn no_stretch_of_time_lets_more_pass(
            requests in 1..50_u32,
            burst in 1..20_u32,
            steps in proptest::collection::vec(0..400_000_000_u64, 1..200),
        ) {
            let quota = Quota::new(requests, Duration::from_secs(1), burst);
            let times: Vec<u64> = steps.iter().scan(SECOND, |now, step| { *now += step; Some(*now) }).collect();
            let passed: Vec<u64> =
                times.iter().zip(run(quota, times.iter().copied())).filter(|it| it.1).map(|it| *it.0).collect();
            for (from, first) in passed.iter().enumerate() {
                for (to, last) in passed.iter().enumerate().skip(from) {
                    let most = u64::from(burst) + (last - first) / (SECOND / u64::from(requests));
                    prop_assert!((to - from + 1) as u64 <= most);
                }
            }
        }
    }
}
