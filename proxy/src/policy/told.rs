//! What answers tell of rate limits (draft-ietf-httpapi-ratelimit-headers-10): how each rule stands, and what the rules are.

use http::{HeaderName, HeaderValue};
use sluice_ir as ir;
use sluice_rate::Decision;
use std::fmt::Write as _;
use std::time::Duration;

/// How each rule stands.
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What the rules are.
pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Fields that tell what is left.
pub(crate) type Told = Vec<(HeaderName, HeaderValue)>;

/// A request that comes too soon.
#[derive(Debug)]
pub(crate) struct Refused {
    /// When it may come again.
    pub(crate) retry_after: Duration,
    pub(crate) told: Told,
}

/// Tells of a list of rules, or of nothing.
pub(super) struct Telling {
    policy: Option<HeaderValue>,
}

impl Telling {
    pub(super) fn new(rules: &[ir::RateRule], tells: bool) -> Self {
        let policy =
            |it: &ir::RateRule| format!("\"{}\";q={};w={}", it.name, it.requests, whole_seconds(it.per));
        let policies: Vec<String> = rules.iter().map(policy).collect();
        Self { policy: HeaderValue::try_from(policies.join(", ")).ok().filter(|_| tells) }
    }

    /// Adds how a rule stands: `"name";r=3;t=7` means that 3 are left, and all of them again in 7 s.
    pub(super) fn add(&self, words: &mut String, name: &str, decision: &Decision) {
        if self.policy.is_none() {
            return;
        }
        let gap = if words.is_empty() { "" } else { ", " };
        let (remaining, reset) = (decision.remaining, whole_seconds(decision.reset));
        // Writing to a String can't fail.
        let _ = write!(words, "{gap}\"{name}\";r={remaining};t={reset}");
    }

    /// The fields with these words.
    pub(super) fn fields(&self, words: String) -> Told {
        match (&self.policy, HeaderValue::try_from(words)) {
            (Some(policy), Ok(words)) => vec![(LIMIT, words), (POLICY, policy.clone())],
            _ => Vec::new(),
        }
    }
}

/// Rounded up: who waits so long is not too early.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
