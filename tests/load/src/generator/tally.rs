//! What a load found: every latency, and failures by reason.

use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies are kept in steps of 100 ns: 32 bits reach seven minutes.
const STEP_NANOS: u128 = 100;

/// The sum of a load.
#[derive(Default)]
pub(crate) struct Tally {
    latencies: Vec<u32>,
    failures: BTreeMap<String, u64>,
    reconnects: u64,
    refused: u64,
    elapsed: Duration,
}

impl Tally {
    pub(super) fn answer(&mut self, latency: Duration) {
        self.latencies.push(u32::try_from(latency.as_nanos() / STEP_NANOS).unwrap_or(u32::MAX));
    }

    pub(super) fn fail(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }

    pub(super) fn reconnected(&mut self) {
        self.reconnects += 1;
    }

    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    pub(super) fn close(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        self.latencies.sort_unstable();
    }

    /// Adds what another generator measured: latencies in µs, failures by reason.
    pub(crate) fn of(
        latencies_us: impl Iterator<Item = u64>,
        failures: BTreeMap<String, u64>,
        elapsed: Duration,
    ) -> Self {
        let mut tally = Self { failures, ..Self::default() };
        latencies_us.for_each(|latency| tally.answer(Duration::from_micros(latency)));
        tally.close(elapsed);
        tally
    }

    /// Requests answered well.
    pub(crate) fn answered(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Requests that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests sent again because the server had closed a kept connection.
    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Requests that were refused, where that is no failure.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Failures by reason.
    pub(crate) fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The smallest latency that `share` (0 to 1) of all answers did not exceed, in µs; 0 without answers.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        let steps = self.latencies.get(rank.max(1) - 1).copied().unwrap_or(0);
        f64::from(steps) * STEP_NANOS as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let tally = Tally::of((1..=200).rev(), BTreeMap::new(), Duration::from_secs(2));
        assert_eq!(tally.percentile_us(0.5), 100.0);
        assert_eq!(tally.percentile_us(0.99), 198.0);
        assert_eq!(tally.percentile_us(1.0), 200.0);
        assert_eq!(tally.rate(), 100.0);
    }

    #[test]
    fn a_load_without_answers_has_no_latency() {
        assert_eq!(Tally::default().percentile_us(0.99), 0.0);
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let mut tally = Tally::default();
        tally.fail("status 503".to_owned());
        tally.fail("status 503".to_owned());
        tally.fail("answer cut short".to_owned());
        assert_eq!(tally.failed(), 3);
        assert_eq!(tally.failures()["status 503"], 2);
    }
}
