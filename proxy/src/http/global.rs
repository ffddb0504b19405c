//! Rate limits that a server counts for all data planes.

use super::context::RequestContext;
use super::policy::{asking, too_often};
use super::request::Next;
use crate::policy::Answer;
use crate::telemetry::Outcome;
use pingora_http::RequestHeader;

/// Asks the server, where the policy has one. `Some`: the request goes no further; what its answer is to tell is noted in
/// the context.
pub(super) async fn ask(header: &RequestHeader, context: &mut RequestContext) -> Option<Next> {
    let policy = context.policy.clone()?;
    let rates = policy.global.as_ref()?;
    let (Some(port), Some(connection)) = (&context.port, &context.connection) else {
        return Some(Next::Answer(Outcome::Internal));
    };
    match rates.check(&asking((port, connection), header, context.claims.as_deref())).await {
        Answer::Passes(told) => {
            context.told.extend(told);
            None
        }
        Answer::Refused(mut refused) => {
            let mut told = std::mem::take(&mut context.told);
            told.append(&mut refused.told);
            refused.told = told;
            Some(too_often(refused))
        }
        Answer::Uncounted => None,
        Answer::Denied => Some(Next::Answer(Outcome::RateUncounted)),
    }
}
