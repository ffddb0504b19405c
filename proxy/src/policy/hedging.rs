//! Which requests may have a further try beside one that is slow, and how many.

use http::Method;
use sluice_ir as ir;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

/// What one further try costs, when each request brings in as much as the policy's percent.
const PRICE: i64 = 100;
/// Further tries that may be saved up, so that a quiet hour is no licence for a storm.
const MOST_SAVED: i64 = 10;

/// Compiled [`ir::Hedging`].
pub(crate) struct Hedging {
    /// How long an answer is waited for before a further try starts.
    pub(crate) delay: Duration,
    /// Further tries of one request.
    pub(crate) extra_tries: u32,
    /// Empty: those that are idempotent.
    methods: Box<[Method]>,
    percent: i64,
    saved: AtomicI64,
}

impl Hedging {
    /// What was saved up stays when the rest changes.
    pub(crate) fn compile(hedging: &ir::Hedging, before: Option<&Self>) -> Self {
        let saved = before.map_or(PRICE * MOST_SAVED, |it| it.saved.load(Relaxed));
        Self {
            delay: hedging.delay,
            extra_tries: hedging.extra_tries,
            methods: hedging.methods.iter().filter_map(|it| it.parse().ok()).collect(),
            percent: i64::from(hedging.percent),
            saved: AtomicI64::new(saved),
        }
    }

    /// Whether a request of this method may be sent twice; one that may is counted.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        let takes =
            if self.methods.is_empty() { method.is_idempotent() } else { self.methods.contains(method) };
        if takes {
            let more = |saved: i64| Some((saved + self.percent).min(PRICE * MOST_SAVED));
            let _ = self.saved.fetch_update(Relaxed, Relaxed, more);
        }
        takes
    }

    /// Whether one more further try is in the budget; it is taken then.
    pub(crate) fn spend(&self) -> bool {
        let less = |saved: i64| (saved >= PRICE).then(|| saved - PRICE);
        self.saved.fetch_update(Relaxed, Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Hedging;
    use http::Method;
    use sluice_ir as ir;
    use std::time::Duration;

    fn hedging(percent: u32, methods: &[&str]) -> Hedging {
        let methods = methods.iter().map(|it| (*it).to_owned()).collect();
        let delay = Duration::from_millis(1);
        Hedging::compile(&ir::Hedging { delay, extra_tries: 1, percent, methods }, None)
    }

    #[test]
    fn further_tries_are_a_share_of_the_requests() {
        let hedging = hedging(20, &[]);
        let at_first = (0..100).filter(|_| hedging.spend()).count();
        assert_eq!(at_first, 10, "what was saved up");
        let spent = (0..1_000).filter(|_| hedging.takes(&Method::GET) && hedging.spend()).count();
        assert_eq!(spent, 200);
        for _ in 0..10_000 {
            hedging.takes(&Method::GET);
        }
        assert_eq!((0..100).filter(|_| hedging.spend()).count(), 10, "no more is saved up");
    }

    #[test]
    fn methods_are_the_idempotent_ones_or_those_that_are_named() {
        let usual = hedging(10, &[]);
        assert!(usual.takes(&Method::GET) && usual.takes(&Method::PUT) && !usual.takes(&Method::POST));
        let named = hedging(10, &["POST"]);
        assert!(named.takes(&Method::POST) && !named.takes(&Method::GET));
    }
}
