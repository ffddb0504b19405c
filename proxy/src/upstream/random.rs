//! Random numbers for spreading load: one small generator per thread, no lock, no system call after the first use.
//!
//! Nothing here is fit for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u64));
}

/// A number in `0..bound`; 0 when `bound` is 0. Costs a few nanoseconds. The bias is below `bound / 2^64`.
pub(crate) fn below(bound: u64) -> u64 {
    let product = u128::from(next()) * u128::from(bound);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// Any number.
pub(crate) fn number() -> u64 {
    next()
}

/// As [`below`], for indexes.
pub(super) fn index(len: usize) -> usize {
    usize::try_from(below(u64::try_from(len).unwrap_or(u64::MAX))).unwrap_or(0)
}

/// SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixing function, full period of 2^64.
fn next() -> u64 {
    STATE.with(|state| {
        let counter = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(counter);
        let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::{below, index};

    #[test]
    fn every_number_below_the_bound_appears_about_equally_often() {
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[index(10)] += 1;
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn bounds_of_zero_and_one_give_zero() {
        assert_eq!((below(0), below(1), index(0)), (0, 0, 0));
    }
}
