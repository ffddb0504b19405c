//! What became of a call, as far as it tells what somebody needs.

use crate::telemetry::Outcome;
use serde::{Deserialize, Serialize};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// Whoever was called has answered, or the connection was carried.
    Answered,
    /// Whoever was called says that the caller got it wrong, or has no right to it.
    Mistaken,
    /// It was refused here, or met nobody.
    Refused,
}

impl CallResult {
    /// Of a call that ended so. `status` is what the client got; 0: none.
    pub fn of(outcome: Outcome, status: u16) -> Self {
        match outcome {
            Outcome::Served
            | Outcome::Cached
            | Outcome::UpstreamReset
            | Outcome::ClientGone
            | Outcome::Idle
            | Outcome::Aged
            | Outcome::Cut => Self::of_status(status),
            _ => Self::Refused,
        }
    }

    /// Of a call that somebody answered. Of statuses between 400 and 499 those that tell of a state and not of the request
    /// itself are answers as any other: 408, 409, 412, 422, 425, 428, 429.
    pub fn of_status(status: u16) -> Self {
        let is_mistake =
            (400..500).contains(&status) && !matches!(status, 408 | 409 | 412 | 422 | 425 | 428 | 429);
        if is_mistake { Self::Mistaken } else { Self::Answered }
    }
}

#[cfg(test)]
mod tests {
    use super::CallResult;
    use crate::telemetry::Outcome;

    #[test]
    fn only_what_was_answered_is_what_somebody_needs() {
        for (outcome, status, result) in [
            (Outcome::Served, 200, CallResult::Answered),
            (Outcome::Served, 503, CallResult::Answered),
            (Outcome::Served, 409, CallResult::Answered),
            (Outcome::Served, 0, CallResult::Answered),
            (Outcome::ClientGone, 0, CallResult::Answered),
            (Outcome::Served, 404, CallResult::Mistaken),
            (Outcome::Served, 403, CallResult::Mistaken),
            (Outcome::Forbidden, 403, CallResult::Refused),
            (Outcome::PlaintextRefused, 0, CallResult::Refused),
            (Outcome::NoEndpoint, 503, CallResult::Refused),
        ] {
            assert_eq!(CallResult::of(outcome, status), result, "{outcome:?} {status}");
        }
    }
}
