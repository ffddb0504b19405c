//! A limit on the requests that a backend works on at one time, found from how long it takes to answer.
//!
//! [`Concurrency`] is the setting of a policy, with a [`Limiter`] for each backend that its requests go to. A request
//! takes an [`Admitted`] or is refused at once: no queue. What the limit should be is for [`law`] to say, ten times a
//! second and by one thread; everybody else reads and writes a few atomics.

mod law;

use ahash::AHashMap;
use arc_swap::ArcSwap;
use law::{Law, Window};
use parking_lot::Mutex;
use sluice_ir::{AdaptiveConcurrency, BackendKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Backends whose limits are kept, at least; what nobody uses is forgotten when there are twice as many as were used.
const FEW: usize = 64;

/// Compiled [`AdaptiveConcurrency`].
pub(crate) struct Concurrency {
    settings: AdaptiveConcurrency,
    limiters: ArcSwap<AHashMap<BackendKey, Arc<Limiter>>>,
    /// Held by who adds one.
    adding: Mutex<usize>,
}

impl Concurrency {
    pub(crate) fn compile(settings: &AdaptiveConcurrency) -> Self {
        Self { settings: settings.clone(), limiters: ArcSwap::default(), adding: Mutex::new(FEW) }
    }

    /// The limiter of a backend, and whether it was made just now. Costs a look-up.
    pub(crate) fn limiter(&self, backend: &BackendKey) -> (Arc<Limiter>, bool) {
        if let Some(known) = self.limiters.load().get(backend) {
            return (known.clone(), false);
        }
        let mut sweep_at = self.adding.lock();
        let mut limiters = AHashMap::clone(&self.limiters.load());
        if let Some(known) = limiters.get(backend) {
            return (known.clone(), false);
        }
        if limiters.len() >= *sweep_at {
            limiters.retain(|_, it| it.in_flight() > 0);
            *sweep_at = FEW.max(2 * limiters.len());
        }
        let made = Arc::new(Limiter::new(&self.settings, Instant::now()));
        limiters.insert(backend.clone(), made.clone());
        self.limiters.store(Arc::new(limiters));
        (made, true)
    }
}

/// Counts the requests of one policy to one backend against a limit that follows the backend.
pub struct Limiter {
    epoch: Instant,
    limit: AtomicU32,
    in_flight: AtomicU32,
    refused: AtomicU64,
    /// Counts the windows whose answers are not to be mixed: requests that began in an earlier one tell nothing.
    phase: AtomicU32,
    answers: AtomicU32,
    sum_us: AtomicU64,
    peak: AtomicU32,
    /// When the window may end, in microseconds since `epoch`.
    due_us: AtomicU64,
    law: Mutex<Law>,
}

impl Limiter {
    fn new(settings: &AdaptiveConcurrency, now: Instant) -> Self {
        let law = Law::new(settings, now);
        Self {
            epoch: now,
            limit: AtomicU32::new(law.limit()),
            in_flight: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            phase: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            sum_us: AtomicU64::new(0),
            peak: AtomicU32::new(0),
            due_us: AtomicU64::new(micros(law::WINDOW)),
            law: Mutex::new(law),
        }
    }

    /// A request begins; `None`: there are enough. Never waits, never allocates.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let limit = self.limit.load(Relaxed);
        let below = |now: u32| (now < limit).then(|| now + 1);
        let Ok(before) = self.in_flight.fetch_update(Relaxed, Relaxed, below) else {
            self.refused.fetch_add(1, Relaxed);
            return None;
        };
        self.peak.fetch_max(before + 1, Relaxed);
        Some(Admitted { limiter: self.clone(), phase: self.phase.load(Relaxed) })
    }

    fn answered(&self, phase: u32, took: Duration, now: Instant) {
        if phase == self.phase.load(Relaxed) {
            self.sum_us.fetch_add(micros(took), Relaxed);
            self.answers.fetch_add(1, Relaxed);
        }
        if micros(now.saturating_duration_since(self.epoch)) >= self.due_us.load(Relaxed) {
            self.end_window(now);
        }
    }

    /// Lets the law look at the window. Who finds somebody else at it goes on.
    fn end_window(&self, now: Instant) {
        let Some(mut law) = self.law.try_lock() else { return };
        let window = Window {
            answers: self.answers.load(Relaxed),
            sum_us: self.sum_us.load(Relaxed),
            peak: self.peak.load(Relaxed),
        };
        let Some(mixes) = law.judge(window, now) else { return };
        self.limit.store(law.limit(), Relaxed);
        if !mixes {
            self.phase.fetch_add(1, Relaxed);
        }
        self.answers.store(0, Relaxed);
        self.sum_us.store(0, Relaxed);
        self.peak.store(self.in_flight.load(Relaxed), Relaxed);
        let due = now.saturating_duration_since(self.epoch).saturating_add(law::WINDOW);
        self.due_us.store(micros(due), Relaxed);
    }

    /// The limit now.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// Requests on their way now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Requests that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// A request on its way; dropping it makes room for another.
pub(crate) struct Admitted {
    limiter: Arc<Limiter>,
    phase: u32,
}

impl Admitted {
    /// The backend needed so long for an answer, or did not give one in so long.
    pub(crate) fn answered(&self, took: Duration, now: Instant) {
        self.limiter.answered(self.phase, took, now);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.limiter.in_flight.fetch_sub(1, Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Concurrency, FEW};
    use sluice_ir::{AdaptiveConcurrency, BackendKey};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn settings(min_requests: u32, max_requests: u32) -> AdaptiveConcurrency {
        AdaptiveConcurrency {
            min_requests,
            max_requests,
            latency_increase_percent: 25,
            probe_interval: Duration::from_secs(30),
        }
    }

    #[test]
    fn a_fixed_limit_is_exact_also_for_many_threads() {
        let concurrency = Concurrency::compile(&settings(7, 7));
        let (limiter, _) = concurrency.limiter(&BackendKey::new("a"));
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads =
                (0..4).map(|_| scope.spawn(|| (0..100).filter_map(|_| limiter.admit()).collect::<Vec<_>>()));
            threads.collect::<Vec<_>>().into_iter().flat_map(|it| it.join().unwrap()).collect()
        });
        assert_eq!((held.len(), limiter.in_flight(), limiter.refused()), (7, 7, 393));
        drop(held);
        assert_eq!(limiter.in_flight(), 0);
        assert!(limiter.admit().is_some());
    }

    #[test]
    fn backends_have_limits_of_their_own_and_the_unused_are_forgotten() {
        let concurrency = Concurrency::compile(&settings(1, 10));
        let (first, is_new) = concurrency.limiter(&BackendKey::new("first"));
        assert!(is_new);
        let _held = first.admit();
        for number in 0..10 * FEW {
            concurrency.limiter(&BackendKey::new(number.to_string()));
        }
        assert!(concurrency.limiters.load().len() <= 2 * FEW);
        let (again, is_new) = concurrency.limiter(&BackendKey::new("first"));
        assert!(Arc::ptr_eq(&first, &again) && !is_new);
    }

    /// Answers that come at once let the limit grow as far as requests need it.
    #[test]
    fn the_limit_follows_what_answers_tell() {
        let concurrency = Concurrency::compile(&settings(4, 1_000));
        let (limiter, _) = concurrency.limiter(&BackendKey::new("a"));
        let begin = limiter.limit();
        let mut now = Instant::now();
        for _ in 0..50 {
            let admitted: Vec<_> = std::iter::from_fn(|| limiter.admit()).collect();
            now += Duration::from_millis(110);
            for it in &admitted {
                it.answered(Duration::from_millis(10), now);
            }
        }
        assert!(limiter.limit() > 2 * begin, "{} after {begin}", limiter.limit());
    }
}
