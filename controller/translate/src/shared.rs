//! Keeping thousands of routes in little memory: equal values once, since many name the same parent and the same
//! backends, and maps without half-empty nodes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// Values that were seen already. What nobody else holds any more is let go when the set has doubled since the last
/// look, so it stays within twice what is in use and a new value costs one look-up on average.
#[derive(Debug)]
pub(crate) struct Shared<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

/// Not worth a sweep below this.
const FEW: usize = 64;

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), sweep_at: FEW }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    /// The copy that everybody shares.
    pub(crate) fn get(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(same) = self.values.get(&value) {
            return same.clone();
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|it| Arc::strong_count(it) > 1);
            self.sweep_at = FEW.max(2 * self.values.len());
        }
        self.values.insert(value.clone());
        value
    }
}

/// Fills the nodes of a map. One that was filled key by key in order has nodes that are half empty, as a first load
/// leaves it; building it from its entries packs them.
pub(crate) fn compact_map<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

/// As [`compact_map`].
pub(crate) fn compact_set<K: Ord>(set: &mut BTreeSet<K>) {
    *set = std::mem::take(set).into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::{FEW, Shared};
    use std::sync::Arc;

    #[test]
    fn equal_values_are_one_and_unused_ones_go() {
        let mut shared = Shared::<str>::default();
        let kept = shared.get("kept".into());
        assert!(Arc::ptr_eq(&kept, &shared.get("kept".into())));
        for number in 0..10 * FEW {
            shared.get(number.to_string().into());
        }
        assert!(shared.values.len() <= 2 * FEW, "{}", shared.values.len());
        assert!(Arc::ptr_eq(&kept, &shared.get("kept".into())));
    }
}
