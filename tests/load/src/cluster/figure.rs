//! A figure beside its goal.

use std::borrow::Cow;
use std::fmt;

/// What was measured, and what it should be at most.
pub(super) struct Figure {
    name: Cow<'static, str>,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
}

impl Figure {
    /// A figure without a goal.
    pub(super) fn new(name: impl Into<Cow<'static, str>>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, goal: None }
    }

    /// A figure that should be at most `goal`.
    pub(super) fn at_most(
        name: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
        goal: f64,
    ) -> Self {
        Self { goal: Some(goal), ..Self::new(name, value, unit) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.value.fract() == 0.0 {
            0
        } else if self.value.abs() < 1.0 {
            4
        } else {
            1
        };
        write!(f, "{:<52} {:>10.digits$} {}", self.name, self.value, self.unit)?;
        match self.goal {
            Some(goal) if self.value <= goal => write!(f, "  (goal {goal}: reached)"),
            Some(goal) => write!(f, "  (goal {goal}: MISSED)"),
            None => Ok(()),
        }
    }
}

/// The smallest value that `share` (0 to 1) of all values do not exceed.
pub(super) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Figure, percentile};

    #[test]
    fn a_missed_goal_is_said_loudly() {
        assert!(Figure::at_most("memory", 41.0, "MiB", 40.0).to_string().contains("MISSED"));
        assert!(Figure::at_most("memory", 40.0, "MiB", 40.0).to_string().contains("reached"));
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((percentile(&mut values, 0.5), percentile(&mut values, 0.99)), (100.0, 198.0));
    }
}
