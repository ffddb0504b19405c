//! Single values of a policy, with the field named when one can't be used.

use crate::model::TrafficFault;
use crate::syntax;
use std::time::Duration;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) faults: Vec<TrafficFault>,
}

impl Values {
    /// Notes a fault; `field` is below `spec`.
    pub(super) fn fault(
        &mut self,
        field: impl AsRef<str>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.faults.push(TrafficFault {
            field: format!("spec.{}", field.as_ref()),
            message: message.into(),
            next_step: next_step.into(),
        });
    }

    /// Notes a fault when a setting that is switched off says more.
    pub(super) fn alone(&mut self, field: &str, is_alone: bool) {
        if !is_alone {
            self.fault(field, "stands beside other fields", "remove them, or disabled");
        }
    }

    /// A whole number within `low` to `high`.
    pub(super) fn number<T: TryFrom<i64>>(
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
    pub(super) fn duration(&mut self, field: &str, text: Option<&String>) -> Option<Duration> {
        match syntax::duration(text?) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.fault(field, message, "write it as 10s, 1m30s or 500ms");
                None
            }
        }
    }
}
