//! Slow start (`warmup` of a DestinationRule): a new endpoint is passed over now and then until it is warm.

use super::random;
use sluice_ir::Warmup;

/// Parts in a whole.
const WHOLE: f64 = 1_000_000.0;

/// The warm-up of a pool at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Warming {
    now_ms: u64,
    time_ms: u64,
    least: f64,
    exponent: f64,
}

impl Warming {
    pub(super) fn new(warmup: &Warmup, now_ms: u64) -> Self {
        Self {
            now_ms,
            time_ms: u64::try_from(warmup.time.as_millis()).unwrap_or(u64::MAX),
            least: f64::from(warmup.least_percent) / 100.0,
            exponent: 100.0 / f64::from(warmup.aggression.max(1)),
        }
    }

    /// Whether an endpoint that came then is not warm yet.
    pub(super) fn is_young(&self, came_ms: u64) -> bool {
        self.now_ms.saturating_sub(came_ms) < self.time_ms
    }

    /// Whether an endpoint that came then takes this request.
    pub(super) fn takes(&self, came_ms: u64) -> bool {
        let share = self.share(came_ms);
        share >= 1.0 || (random::below(WHOLE as u64) as f64) < share * WHOLE
    }

    /// Its part of what a warm one gets.
    fn share(&self, came_ms: u64) -> f64 {
        if !self.is_young(came_ms) {
            return 1.0;
        }
        let age = self.now_ms.saturating_sub(came_ms) as f64 / self.time_ms as f64;
        age.powf(self.exponent).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::Warming;
    use sluice_ir::Warmup;
    use std::time::Duration;

    fn warming(aggression: u32, now_ms: u64) -> Warming {
        Warming::new(&Warmup { time: Duration::from_secs(10), least_percent: 10, aggression }, now_ms)
    }

    #[test]
    fn the_share_grows_with_age() {
        let share = |aggression, age_s: u64| warming(aggression, 50_000 + age_s * 1_000).share(50_000);
        let even: Vec<_> = [0, 1, 5, 9, 10, 99].map(|age| share(100, age)).to_vec();
        assert_eq!(even, [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]);
        assert!((share(200, 4) - 0.632).abs() < 0.01, "more aggression is faster at first");
    }

    #[test]
    fn an_endpoint_takes_its_share_of_requests() {
        let young = warming(100, 52_500);
        let taken = (0..10_000).filter(|_| young.takes(50_000)).count();
        assert!((2_200..2_800).contains(&taken), "{taken}");
        assert!((0..100).all(|_| young.takes(1)));
    }
}
