//! Spreading hot counters over threads.
//!
//! Two threads that write one cache line pay for it on every request. Each thread gets a number when it first asks;
//! what is written often is held several times, and a thread writes the copy that its number selects. Readers add
//! the copies up. Costs one thread-local read.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

/// Copies of a hot counter. More threads than this share copies, which is slower but as correct.
pub(crate) const STRIPES: usize = 8;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A small number of this thread, the same for its whole life, counted up from 0 over the process.
pub(crate) fn thread_number() -> usize {
    NUMBER
        .try_with(|number| {
            if number.get() == usize::MAX {
                number.set(NEXT.fetch_add(1, Relaxed));
            }
            number.get()
        })
        .unwrap_or(0)
}

/// Which copy this thread writes: below [`STRIPES`].
pub(crate) fn stripe() -> usize {
    thread_number() % STRIPES
}

#[derive(Default)]
#[repr(align(128))]
struct Padded(AtomicI64);

/// A number that many threads move up and down. It may go up on one thread and down on another.
#[derive(Default)]
pub(crate) struct StripedGauge([Padded; STRIPES]);

impl StripedGauge {
    /// Adds, or subtracts when negative.
    pub(crate) fn add(&self, difference: i64) {
        self.0[stripe()].0.fetch_add(difference, Relaxed);
    }

    /// The sum: exact when nobody writes, else some value of the moment, never below 0.
    pub(crate) fn get(&self) -> i64 {
        self.0.iter().map(|copy| copy.0.load(Relaxed)).sum::<i64>().max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{StripedGauge, thread_number};

    #[test]
    fn a_thread_keeps_its_number_and_shares_it_with_no_other() {
        let here = thread_number();
        assert_eq!(here, thread_number());
        let there = std::thread::spawn(thread_number).join();
        assert!(there.is_ok_and(|there| there != here));
    }

    #[test]
    fn a_gauge_that_moves_on_many_threads_returns_to_zero() {
        let gauge = StripedGauge::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * super::STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| gauge.add(1)));
            }
        });
        assert_eq!(gauge.get(), 16_000);
        gauge.add(-16_000);
        assert_eq!(gauge.get(), 0);
    }
}
