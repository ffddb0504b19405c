//! Durations in fixed buckets: two atomic additions per value.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in microseconds, inclusive; one more bucket takes what is longer.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Number of buckets, the last without bound.
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Counts durations.
#[derive(Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// The values of one or more histograms at some moment.
#[derive(Clone, Default)]
pub(super) struct Reading {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one duration. Beyond 584 years it counts as 584 years.
    pub(super) fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound_us| ns > bound_us * 1_000);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// Adds the present values to a reading.
    pub(super) fn add_to(&self, reading: &mut Reading) {
        for (sum, bucket) in reading.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        reading.sum_ns = reading.sum_ns.wrapping_add(self.sum_ns.load(Relaxed));
    }
}

impl Reading {
    /// Values counted.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in seconds.
    pub(super) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_ns).as_secs_f64()
    }

    /// Upper bounds in seconds, each with the values of its bucket alone (the encoder sums them up); the last bound
    /// is `f64::INFINITY`, which the encoder writes as `+Inf`.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|bound_us| Duration::from_micros(*bound_us).as_secs_f64());
        bounds.chain([f64::INFINITY]).zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, Reading};
    use std::time::Duration;

    fn read(histogram: &Histogram) -> Reading {
        let mut reading = Reading::default();
        histogram.add_to(&mut reading);
        reading
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_longer_goes_to_the_next() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_nanos(500_001));
        histogram.observe(Duration::from_secs(3_600));
        let buckets = read(&histogram).buckets();
        assert_eq!((buckets[0], buckets[1]), ((0.0005, 1), (0.001, 1)));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 1)));
    }

    #[test]
    fn count_and_sum_cover_all_values() {
        let histogram = Histogram::default();
        (0..10).for_each(|_| histogram.observe(Duration::from_nanos(20_300)));
        assert_eq!(read(&histogram).count(), 10);
        assert!((read(&histogram).sum_seconds() - 0.000_203).abs() < 1e-12);
    }

    #[test]
    fn the_longest_duration_is_counted() {
        let histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        assert_eq!(read(&histogram).count(), 1);
    }
}
