//! Lets a request go to its backend, or not: the adaptive limit of a policy.

use super::context::RequestContext;
use crate::telemetry::Outcome;
use std::time::Instant;

/// Takes the right to be on its way to the chosen backend; given back with the context.
pub(super) fn admit(context: &mut RequestContext) -> Result<(), Outcome> {
    let Some(policy) = context.policy.as_ref().filter(|it| it.concurrency.is_some()).cloned() else {
        return Ok(());
    };
    let (Some(concurrency), Some(target), Some(given)) =
        (&policy.concurrency, context.target(), &policy.settings.concurrency)
    else {
        return Ok(());
    };
    let (limiter, is_new) = concurrency.limiter(&target.backend.key);
    if is_new {
        context.metrics().watch_concurrency(&given.policy, &target.backend.key, &limiter);
    }
    context.admitted = Some(limiter.admit().ok_or(Outcome::Overloaded)?);
    Ok(())
}

/// Tells the limit how long the current try has taken: to the head of its answer, or until its time ran out.
pub(super) fn answered(context: &RequestContext, now: Instant) {
    if let (Some(admitted), Some(started)) = (&context.admitted, context.try_started) {
        admitted.answered(now.saturating_duration_since(started), now);
    }
}
