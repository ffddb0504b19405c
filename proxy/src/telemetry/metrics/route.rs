//! What is counted for each route: the only metrics that every request writes.

use super::by_outcome::ByOutcome;
use super::histogram::{Histogram, Reading};
use crate::telemetry::Outcome;
use crate::telemetry::stripe::{STRIPES, stripe};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const OUTCOMES: usize = Outcome::ALL.len();

/// Values of the label `code_class`; `none` where the client got no status.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

type ByClass = [AtomicU64; CLASSES.len()];

/// Counters of one route of one Gateway.
///
/// Each stripe adds 192 bytes when a thread first uses it, and the first request that is not served adds one table for
/// the whole route.
#[derive(Default)]
pub struct RouteMetrics {
    name: Box<str>,
    stripes: [OnceLock<Box<Stripe>>; STRIPES],
    rare: OnceLock<Box<ByOutcome<ByClass>>>,
    retries: AtomicU64,
    hedges: OnceLock<Box<Hedges>>,
}

/// Tries beside slow ones: few routes have any.
#[derive(Default)]
struct Hedges {
    won: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
}

/// What one group of threads counts: whole cache lines that no other group writes.
#[derive(Default)]
#[repr(align(64))]
struct Stripe {
    served: ByClass,
    duration: Histogram,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

impl RouteMetrics {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// `HTTPRoute shop/cart`, as metrics and log have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request that ended; `status` is what the client got, 0 for nothing.
    ///
    /// Cost: three to five atomic additions on lines that this thread's stripe owns; no look-up, no allocation but
    /// the first time.
    pub fn finished(
        &self,
        outcome: Outcome,
        status: u16,
        duration: Duration,
        request_bytes: u64,
        response_bytes: u64,
    ) {
        let stripe = self.stripes[stripe()].get_or_init(Box::default);
        let by_class = match outcome {
            Outcome::Served => &stripe.served,
            _ => &self.rare.get_or_init(Box::default)[outcome],
        };
        by_class[class(status)].fetch_add(1, Relaxed);
        stripe.duration.observe(duration);
        if request_bytes > 0 {
            stripe.request_bytes.fetch_add(request_bytes, Relaxed);
        }
        if response_bytes > 0 {
            stripe.response_bytes.fetch_add(response_bytes, Relaxed);
        }
    }

    /// Counts one further try of a request.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Outcome, class and number of the requests that ended: only what occurred.
    pub(super) fn requests(&self) -> Vec<(Outcome, &'static str, u64)> {
        let mut counts = [[0_u64; CLASSES.len()]; OUTCOMES];
        for stripe in self.used_stripes() {
            add(&mut counts[Outcome::Served as usize], &stripe.served);
        }
        for (outcome, by_class) in self.rare.get().into_iter().flat_map(|rare| rare.iter()) {
            add(&mut counts[outcome as usize], by_class);
        }
        let all = Outcome::ALL.into_iter().zip(counts);
        all.flat_map(|(outcome, counts)| {
            CLASSES.into_iter().zip(counts).map(move |(class, n)| (outcome, class, n))
        })
        .filter(|(_, _, number)| *number > 0)
        .collect()
    }

    /// Durations of the requests that ended.
    pub(super) fn durations(&self) -> Reading {
        let mut reading = Reading::default();
        self.used_stripes().for_each(|stripe| stripe.duration.add_to(&mut reading));
        reading
    }

    pub(super) fn request_bytes(&self) -> u64 {
        self.used_stripes().map(|stripe| stripe.request_bytes.load(Relaxed)).sum()
    }

    pub(super) fn response_bytes(&self) -> u64 {
        self.used_stripes().map(|stripe| stripe.response_bytes.load(Relaxed)).sum()
    }

    /// The answer of a try was used that was begun beside a slow one.
    pub fn hedge_won(&self) {
        self.hedges.get_or_init(Box::default).won.fetch_add(1, Relaxed);
    }

    /// So many tries ended that were begun beside a slow one, and whose answers were not used.
    pub fn hedges_lost(&self, number: u64) {
        if number > 0 {
            self.hedges.get_or_init(Box::default).lost.fetch_add(number, Relaxed);
        }
    }

    /// The budget had no room for a try beside a slow one.
    pub fn hedge_refused(&self) {
        self.hedges.get_or_init(Box::default).refused.fetch_add(1, Relaxed);
    }

    /// Tries beside slow ones by result; nothing while there were none.
    pub(super) fn hedges(&self) -> Vec<(&'static str, u64)> {
        let Some(hedges) = self.hedges.get() else { return Vec::new() };
        let results = [("won", &hedges.won), ("lost", &hedges.lost), ("refused", &hedges.refused)];
        results.into_iter().map(|(result, number)| (result, number.load(Relaxed))).collect()
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    fn used_stripes(&self) -> impl Iterator<Item = &Stripe> {
        self.stripes.iter().filter_map(OnceLock::get).map(AsRef::as_ref)
    }
}

/// Position in [`CLASSES`].
fn class(status: u16) -> usize {
    match status {
        100..600 => usize::from(status / 100),
        _ => 0,
    }
}

fn add(sums: &mut [u64], counts: &[AtomicU64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count.load(Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::RouteMetrics;
    use crate::telemetry::Outcome;
    use std::time::Duration;

    #[test]
    fn the_position_in_all_is_the_index_of_the_outcome() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{outcome:?}");
        }
    }

    #[test]
    fn only_what_occurred_is_shown() {
        let route = RouteMetrics::default();
        assert!(route.requests().is_empty());
        route.finished(Outcome::Served, 204, Duration::ZERO, 0, 0);
        route.finished(Outcome::NoEndpoint, 503, Duration::ZERO, 0, 0);
        route.finished(Outcome::ClientGone, 0, Duration::ZERO, 0, 0);
        let seen = route.requests();
        let expected =
            [(Outcome::Served, "2xx", 1), (Outcome::NoEndpoint, "5xx", 1), (Outcome::ClientGone, "none", 1)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_status_out_of_range_has_no_class() {
        let route = RouteMetrics::default();
        for status in [0, 99, 600, u16::MAX] {
            route.finished(Outcome::Served, status, Duration::ZERO, 0, 0);
        }
        assert_eq!(route.requests(), [(Outcome::Served, "none", 4)]);
    }

    #[test]
    fn many_threads_lose_no_count() {
        let route = RouteMetrics::default();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for n in 0..1_000_u64 {
                        let outcome = if n % 10 == 0 { Outcome::Overloaded } else { Outcome::Served };
                        route.finished(outcome, 200, Duration::from_micros(n), 2, 3);
                    }
                });
            }
        });
        assert_eq!(route.requests(), [(Outcome::Served, "2xx", 10_800), (Outcome::Overloaded, "2xx", 1_200)]);
        assert_eq!(route.durations().count(), 12_000);
        assert_eq!((route.request_bytes(), route.response_bytes()), (24_000, 36_000));
    }
}
