//! Faults on purpose: the delay, then the abort.

use super::context::RequestContext;
use super::request::Next;
use crate::telemetry::Outcome;
use pingora_http::RequestHeader;
use std::time::Instant;

/// Waits, then tells what the request is answered with, if it is.
pub(super) async fn inflict(header: &RequestHeader, context: &RequestContext) -> Option<Next> {
    let faults = context.policy.as_ref()?.faults.as_ref()?;
    if let Some(delay) = faults.delay(&header.headers) {
        // A delay that outlasts the request's own time ends with it.
        let end = context.timeouts().request.and_then(|timeout| context.started.checked_add(timeout));
        let left = RequestContext::remaining(end, Instant::now());
        tokio::time::sleep(left.map_or(delay, |left| delay.min(left))).await;
    }
    let abort = faults.abort(&header.headers)?;
    Some(Next::Refuse {
        outcome: Outcome::FaultAborted,
        status: abort.status,
        grpc_status: abort.grpc_status,
        fields: Vec::new(),
    })
}
