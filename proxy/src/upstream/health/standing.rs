//! What answers come to: pure.

use serde::Serialize;
use sluice_ir::HealthCheck;

/// What is thought of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthState {
    /// Nothing is known yet; it gets requests.
    Unchecked,
    /// Nothing is known yet; it gets none.
    Pending,
    /// It gets requests.
    Healthy,
    /// It gets none.
    Unhealthy,
}

impl HealthState {
    /// Whether it gets no requests.
    pub fn is_out(self) -> bool {
        matches!(self, Self::Pending | Self::Unhealthy)
    }
}

/// State and what speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: HealthState,
    /// Checks in a row that ended otherwise than the state says.
    against: u32,
}

impl Standing {
    /// Of an endpoint that nobody has asked.
    pub(super) fn new(check: &HealthCheck) -> Self {
        let state = if check.starts_pending { HealthState::Pending } else { HealthState::Unchecked };
        Self { state, against: 0 }
    }

    /// Takes a check in. The first decides alone, whatever the thresholds.
    pub(super) fn note(&mut self, is_good: bool, check: &HealthCheck) {
        let (state, limit) = match (self.state, is_good) {
            (HealthState::Unchecked | HealthState::Pending, true) => (HealthState::Healthy, 1),
            (HealthState::Unchecked | HealthState::Pending, false) => (HealthState::Unhealthy, 1),
            (HealthState::Healthy, true) | (HealthState::Unhealthy, false) => {
                self.against = 0;
                return;
            }
            (HealthState::Healthy, false) => (HealthState::Unhealthy, check.unhealthy_after),
            (HealthState::Unhealthy, true) => (HealthState::Healthy, check.healthy_after),
        };
        self.against = self.against.saturating_add(1);
        if self.against >= limit {
            *self = Self { state, against: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{HealthState, Standing};
    use crate::upstream::health::tests::check;

    fn states(start: &mut Standing, checks: &str) -> Vec<bool> {
        let spec = check();
        let note = |it: char| {
            start.note(it == '+', &spec);
            start.state.is_out()
        };
        checks.chars().map(note).collect()
    }

    #[test]
    fn thresholds_count_checks_in_a_row() {
        // Three bad ones take out, two good ones take in.
        let mut standing = Standing { state: HealthState::Healthy, against: 0 };
        assert_eq!(states(&mut standing, "--+--"), [false; 5]);
        assert_eq!(states(&mut standing, "-"), [true]);
        assert_eq!(states(&mut standing, "+-+"), [true; 3]);
        assert_eq!(states(&mut standing, "+--"), [false; 3]);
    }

    #[test]
    fn the_first_check_decides_alone() {
        let mut spec = check();
        for (starts_pending, is_good) in [(false, true), (false, false), (true, true), (true, false)] {
            spec.starts_pending = starts_pending;
            let mut standing = Standing::new(&spec);
            assert_eq!(standing.state.is_out(), starts_pending);
            standing.note(is_good, &spec);
            let state = if is_good { HealthState::Healthy } else { HealthState::Unhealthy };
            assert_eq!(standing.state, state);
        }
    }
}
