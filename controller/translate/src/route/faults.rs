//! Collects what is wrong with a route by itself, with the field where it is.

use crate::model::{Fault, FaultReason};

/// The faults of one route while it is read.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) list: Vec<Fault>,
    /// The rule that is being read.
    pub(crate) rule: Option<u32>,
}

impl Faults {
    /// A value that can't be used.
    pub(crate) fn value(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.add(FaultReason::UnsupportedValue, field, message, next_step);
    }

    pub(crate) fn add(
        &mut self,
        reason: FaultReason,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.list.push(Fault {
            rule: self.rule,
            field: field.into(),
            reason,
            message: message.into(),
            next_step: next_step.into(),
        });
    }

    /// Notes a failed check; whether it held.
    pub(crate) fn check(&mut self, field: impl Into<String>, result: Result<(), String>) -> bool {
        match result {
            Ok(()) => true,
            Err(message) => {
                self.value(field, message, "");
                false
            }
        }
    }

    /// How many faults so far make a rule unusable.
    pub(crate) fn hard_count(&self) -> usize {
        let is_hard = |it: &&Fault| {
            matches!(it.reason, FaultReason::UnsupportedValue | FaultReason::IncompatibleFilters)
        };
        self.list.iter().filter(is_hard).count()
    }

    /// The latest fault that makes a rule unusable, in words.
    pub(crate) fn latest_hard(&self, since: usize) -> Option<String> {
        if self.hard_count() <= since {
            return None;
        }
        let is_hard = |it: &&Fault| {
            matches!(it.reason, FaultReason::UnsupportedValue | FaultReason::IncompatibleFilters)
        };
        self.list.iter().filter(is_hard).nth(since).map(|it| format!("{}: {}", it.field, it.message))
    }
}
