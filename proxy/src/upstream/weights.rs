//! Choice by weight without chance: the shares are exact, not only on average.
//!
//! In: weights. Out: indexes, one at a time, to any number of threads. A [`Weights`] of sum S gives each index
//! exactly its weight in every S consecutive picks, wherever the window starts; shorter windows differ from the
//! exact share by little, because picks walk the circle of S slots in golden-ratio steps. A [`Sampler`] does the
//! same for "n of m". Both are one atomic counter: no lock, no allocation, and no table that grows with the weights.

use sluice_ir::Ratio;
use std::sync::atomic::{AtomicU64, Ordering};

/// Weighted choice between indexes; see the module. Two words where there is nothing to choose, as in most rules.
#[derive(Debug, Default)]
pub struct Weights(Choice);

#[derive(Debug, Default)]
enum Choice {
    /// Nothing has weight.
    #[default]
    Nothing,
    /// One index has all the weight: nothing to count.
    Single(usize),
    /// Several have some.
    Several(Box<Circle>),
}

/// Slots in a circle, and how far the picks have come.
#[derive(Debug)]
struct Circle {
    /// Weights divided by their greatest common divisor.
    slots: Slots,
    /// How many slots one pick moves on; coprime to the number of slots, so that each is visited once a round.
    stride: u64,
    /// Picks so far.
    cursor: AtomicU64,
}

/// Which index a slot belongs to.
#[derive(Debug)]
enum Slots {
    /// Indexes 0 to n - 1 have the same weight.
    Even(u64),
    /// `ends[i]` is the first slot after those of index i; the last entry is the number of slots.
    Uneven(Box<[u64]>),
}

impl Weights {
    /// Weights by index. 0 gives an index no share.
    pub fn new(weights: &[u32]) -> Self {
        Self::continuing(weights, 0)
    }

    /// As [`Weights::new`], but starts after `picks` picks, so that a changed list does not begin again at its head.
    pub(super) fn continuing(weights: &[u32], picks: u64) -> Self {
        let mut positive = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        Self(match (positive.next(), positive.next()) {
            (None, _) => Choice::Nothing,
            (Some((index, _)), None) => Choice::Single(index),
            (Some(_), Some(_)) => Choice::Several(Box::new(Circle::new(weights, picks))),
        })
    }

    /// The next index; `None` when no weight is above 0. Costs one atomic addition and a binary search.
    pub fn next(&self) -> Option<usize> {
        match &self.0 {
            Choice::Nothing => None,
            Choice::Single(index) => Some(*index),
            Choice::Several(circle) => Some(circle.next()),
        }
    }

    /// An index by chance, by weight.
    pub(super) fn random(&self) -> Option<usize> {
        match &self.0 {
            Choice::Nothing => None,
            Choice::Single(index) => Some(*index),
            Choice::Several(circle) => {
                Some(circle.slots.index_of(super::random::below(circle.slots.count())))
            }
        }
    }

    /// How often [`Weights::next`] chose between several; for [`Weights::continuing`].
    pub(super) fn picks(&self) -> u64 {
        match &self.0 {
            Choice::Nothing | Choice::Single(_) => 0,
            Choice::Several(circle) => circle.cursor.load(Ordering::Relaxed),
        }
    }
}

impl Circle {
    fn new(weights: &[u32], picks: u64) -> Self {
        let slots = Slots::new(weights);
        let stride = match &slots {
            Slots::Even(_) => 1,
            Slots::Uneven(_) => golden_stride(slots.count()),
        };
        Self { slots, stride, cursor: AtomicU64::new(picks) }
    }

    fn next(&self) -> usize {
        let count = u128::from(self.slots.count());
        let tick = u128::from(self.cursor.fetch_add(1, Ordering::Relaxed)) % count;
        let slot = tick * u128::from(self.stride) % count;
        self.slots.index_of(u64::try_from(slot).unwrap_or(0))
    }
}

impl Slots {
    fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |divisor, weight| greatest_common_divisor(divisor, *weight));
        if weights.iter().all(|weight| *weight == divisor) {
            return Self::Even(u64::try_from(weights.len()).unwrap_or(u64::MAX));
        }
        let ends = weights.iter().scan(0_u64, |end, weight| {
            *end = end.saturating_add(u64::from(weight / divisor));
            Some(*end)
        });
        Self::Uneven(ends.collect())
    }

    fn count(&self) -> u64 {
        match self {
            Self::Even(count) => *count,
            Self::Uneven(ends) => ends.last().copied().unwrap_or(1),
        }
    }

    fn index_of(&self, slot: u64) -> usize {
        match self {
            Self::Even(_) => usize::try_from(slot).unwrap_or(0),
            Self::Uneven(ends) => ends.partition_point(|end| *end <= slot),
        }
    }
}

/// Takes exactly `numerator` of every `denominator` consecutive requests, evenly spread.
#[derive(Debug)]
pub struct Sampler {
    fraction: Ratio,
    cursor: AtomicU64,
}

impl Sampler {
    /// A denominator of 0 takes nothing.
    pub fn new(fraction: Ratio) -> Self {
        Self { fraction, cursor: AtomicU64::new(0) }
    }

    /// Whether this request is taken. Costs one atomic addition; none when all or nothing is taken.
    pub fn take(&self) -> bool {
        let Ratio { numerator, denominator } = self.fraction;
        if numerator == 0 || denominator == 0 {
            return false;
        }
        if numerator >= denominator {
            return true;
        }
        let (numerator, denominator) = (u64::from(numerator), u64::from(denominator));
        let tick = self.cursor.fetch_add(1, Ordering::Relaxed) % denominator;
        // Bresenham's line: taken where the rounded-down share steps up. Below 2^32 * 2^32, so it can't overflow.
        (tick + 1) * numerator / denominator > tick * numerator / denominator
    }
}

/// The number nearest to `count` / golden ratio that has no divisor in common with `count`.
fn golden_stride(count: u64) -> u64 {
    let ideal = u64::try_from(u128::from(count) * 618_033_988 / 1_000_000_000).unwrap_or(1).max(1);
    let coprime =
        |stride: &u64| *stride > 0 && *stride < count && greatest_common_divisor(*stride, count) == 1;
    (0..count)
        .flat_map(|away| [ideal.saturating_add(away), ideal.saturating_sub(away)])
        .find(coprime)
        .unwrap_or(1)
}

fn greatest_common_divisor<N: Copy + PartialEq + Default + std::ops::Rem<Output = N>>(a: N, b: N) -> N {
    if b == N::default() { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Sampler, Weights};
    use proptest::prelude::*;
    use sluice_ir::Ratio;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn reduced_sum(weights: &[u32]) -> usize {
        let divisor = weights.iter().fold(0, |a, b| super::greatest_common_divisor(a, *b));
        weights.iter().map(|weight| (weight / divisor) as usize).sum()
    }

    #[test]
    fn no_weight_gives_no_index() {
        assert_eq!(Weights::new(&[]).next(), None);
        assert_eq!(Weights::new(&[0, 0]).next(), None);
    }

    #[test]
    fn the_only_weight_gets_everything() {
        let weights = Weights::new(&[0, 7, 0]);
        assert!((0..10).all(|_| weights.next() == Some(1)));
    }

    #[test]
    fn equal_weights_take_turns_in_order() {
        let weights = Weights::new(&[5, 5, 5]);
        let picks: Vec<_> = (0..6).filter_map(|_| weights.next()).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn the_heavy_one_does_not_come_in_one_block() {
        let weights = Weights::new(&[90, 10]);
        let picks: Vec<_> = (0..100).filter_map(|_| weights.next()).collect();
        let longest = picks.split(|index| *index == 1).map(<[usize]>::len).max().unwrap();
        assert!(longest < 20, "{longest} picks of the heavy one in a row: {picks:?}");
    }

    #[test]
    fn huge_weights_are_exact_without_a_table() {
        let weights = Weights::new(&[999_999, 1]);
        let light = (0..1_000_000).filter(|_| weights.next() == Some(1)).count();
        assert_eq!(light, 1);
    }

    #[test]
    fn threads_share_the_weights_exactly() {
        let weights = Weights::new(&[3, 2, 0, 1]);
        let counts: [AtomicUsize; 4] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..6_000 {
                        counts[weights.next().unwrap()].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(|count| count.into_inner()), [12_000, 8_000, 0, 4_000]);
    }

    proptest! {
        #[test]
        fn every_window_of_the_sum_has_exact_counts(
            weights in prop::collection::vec(0_u32..60, 1..8),
            skip in 0_usize..500,
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let chooser = Weights::new(&weights);
            for _ in 0..skip {
                chooser.next();
            }
            let sum = reduced_sum(&weights);
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..sum {
                counts[chooser.next().unwrap()] += 1;
            }
            let divisor = weights.iter().fold(0, |a, b| super::greatest_common_divisor(a, *b));
            let expected: Vec<_> = weights.iter().map(|weight| weight / divisor).collect();
            prop_assert_eq!(counts, expected);
        }

        #[test]
        fn weights_up_to_the_largest_never_panic(weights in prop::collection::vec(any::<u32>(), 0..20)) {
            let chooser = Weights::new(&weights);
            for _ in 0..10 {
                let index = chooser.next();
                prop_assert_eq!(index.is_some(), weights.iter().any(|weight| *weight > 0));
                prop_assert!(index.is_none_or(|index| weights[index] > 0));
                prop_assert!(chooser.random().is_none_or(|index| weights[index] > 0));
            }
        }

        #[test]
        fn a_sampler_takes_exactly_its_fraction(
            (denominator, numerator) in (1_u32..300).prop_flat_map(|d| (Just(d), 0..=d)),
            skip in 0_usize..500,
        ) {
            let sampler = Sampler::new(Ratio { numerator, denominator });
            for _ in 0..skip {
                sampler.take();
            }
            let taken = (0..denominator).filter(|_| sampler.take()).count();
            prop_assert_eq!(taken, numerator as usize);
        }
    }

    #[test]
    fn a_sampler_without_denominator_takes_nothing() {
        assert!(!Sampler::new(Ratio { numerator: 1, denominator: 0 }).take());
        assert!(Sampler::new(Ratio::ALL).take());
    }
}
