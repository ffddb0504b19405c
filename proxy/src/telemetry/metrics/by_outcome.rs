//! A counter, or several, for each outcome.

use crate::telemetry::Outcome;
use std::ops::Index;

const OUTCOMES: usize = Outcome::ALL.len();

/// One value for each outcome.
pub(super) struct ByOutcome<T>([T; OUTCOMES]);

impl<T> ByOutcome<T> {
    /// Outcomes with their values, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Outcome, &T)> {
        Outcome::ALL.into_iter().zip(&self.0)
    }
}

impl<T: Default> Default for ByOutcome<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

impl<T> Index<Outcome> for ByOutcome<T> {
    type Output = T;

    fn index(&self, outcome: Outcome) -> &T {
        &self.0[outcome as usize]
    }
}
