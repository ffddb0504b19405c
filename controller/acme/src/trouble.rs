//! What is in the way of a certificate, and when to try again.

use crate::{ChallengeError, Reason, StoreError};
use std::time::SystemTime;

/// Something is in the way.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) reason: Reason,
    /// One sentence, with the next step where there is one.
    pub(crate) message: String,
    pub(crate) retry: Retry,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// At once: another engine wrote first.
    Now,
    /// After a short pause: nothing was asked of the authority.
    Soon,
    /// After a pause that doubles.
    Backoff,
    /// Not before this time, which the authority or a budget named.
    At(SystemTime),
    /// After a short pause, with the account registered anew: the authority does not know it.
    Account,
}

impl Trouble {
    pub(crate) fn new(reason: Reason, retry: Retry, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        let retry = match &error {
            StoreError::Conflict => Retry::Now,
            StoreError::Forbidden(_) => Retry::Backoff,
            StoreError::Unavailable(_) => Retry::Soon,
        };
        Self::new(Reason::Secret, retry, error.to_string())
    }
}

impl From<ChallengeError> for Trouble {
    fn from(error: ChallengeError) -> Self {
        Self::new(Reason::Challenge, Retry::Soon, error.to_string())
    }
}
