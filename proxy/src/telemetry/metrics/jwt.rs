//! What became of requests by their tokens.

use crate::policy::Refusal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What came of a request's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwtVerdict {
    /// It has none.
    Anonymous,
    /// They are good.
    Verified,
    /// They are good, and were verified before.
    Known,
    /// One is not.
    Refused(Refusal),
}

/// Requests by verdict.
#[derive(Debug, Default)]
pub(super) struct JwtCounts {
    anonymous: AtomicU64,
    verified: AtomicU64,
    known: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl JwtCounts {
    pub(super) fn count(&self, verdict: JwtVerdict) {
        let count = match verdict {
            JwtVerdict::Anonymous => Some(&self.anonymous),
            JwtVerdict::Verified => Some(&self.verified),
            JwtVerdict::Known => Some(&self.known),
            JwtVerdict::Refused(refusal) => self.refused.get(refusal as usize),
        };
        count.map(|it| it.fetch_add(1, Relaxed));
    }

    /// Each verdict with its label.
    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let good = [("anonymous", &self.anonymous), ("verified", &self.verified), ("known", &self.known)];
        let refused = Refusal::ALL.iter().map(|it| it.word()).zip(&self.refused);
        good.into_iter().chain(refused).map(|(word, count)| (word, count.load(Relaxed)))
    }
}
