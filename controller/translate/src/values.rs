//! Single values of a policy, with the field named when one can't be used.

use crate::syntax;
use std::time::Duration;

/// A value that can't be used, or hardly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) next_step: String,
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// What can't be used.
    pub(crate) faults: Vec<Fault>,
    /// What is done but probably not meant.
    pub(crate) warnings: Vec<Fault>,
}

impl Values {
    /// Notes a fault; `field` is below `spec`.
    pub(crate) fn fault(
        &mut self,
        field: impl AsRef<str>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.faults.push(told(field.as_ref(), message, next_step));
    }

    /// Notes a warning; `field` is below `spec`.
    pub(crate) fn warn(&mut self, field: &str, message: &str, next_step: &str) {
        self.warnings.push(told(field, message, next_step));
    }

    /// Notes a fault when a setting that is switched off says more.
    pub(crate) fn alone(&mut self, field: &str, is_alone: bool) {
        if !is_alone {
            self.fault(field, "stands beside other fields", "remove them, or disabled");
        }
    }

    /// A whole number within `low` to `high`.
    pub(crate) fn number<T: TryFrom<i64>>(
        &mut self,
        field: &str,
        number: Option<i64>,
        (low, high): (i64, i64),
    ) -> Option<T> {
        let number = number?;
        match T::try_from(number) {
            Ok(value) if (low..=high).contains(&number) => Some(value),
            _ => {
                let next_step = match high {
                    i64::MAX => format!("use {low} or more"),
                    high => format!("use {low} to {high}"),
                };
                self.fault(field, format!("{number} is out of range"), next_step);
                None
            }
        }
    }

    /// A duration (GEP-2257).
    pub(crate) fn duration(&mut self, field: &str, text: Option<&String>) -> Option<Duration> {
        match syntax::duration(text?) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.fault(field, message, "write it as 10s, 1m30s or 500ms");
                None
            }
        }
    }

    /// A duration within `low` to `high`, which are whole seconds or less than one.
    pub(crate) fn duration_within(
        &mut self,
        field: &str,
        text: Option<&String>,
        (low, high): (Duration, Duration),
    ) -> Option<Duration> {
        let time = self.duration(field, text)?;
        if (low..=high).contains(&time) {
            return Some(time);
        }
        self.fault(field, "is out of range", format!("use {low:?} to {}s", high.as_secs()));
        None
    }
}

fn told(field: &str, message: impl Into<String>, next_step: impl Into<String>) -> Fault {
    Fault { field: format!("spec.{field}"), message: message.into(), next_step: next_step.into() }
}
