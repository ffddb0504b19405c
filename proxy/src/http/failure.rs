//! Between Pingora's errors and our outcomes, both ways.

use super::context::RequestContext;
use super::guard::PANIC;
use crate::telemetry::Outcome;
use pingora_error::{Error, ErrorSource, ErrorType};
use std::time::Instant;

/// How a request with this error ended. What a phase has decided before stands.
pub(super) fn outcome_of(error: &Error, context: &RequestContext, now: Instant) -> Outcome {
    if let Some(outcome) = context.outcome {
        return outcome;
    }
    if matches!(error.etype(), ErrorType::Custom(PANIC)) {
        return Outcome::Internal;
    }
    match error.esource() {
        ErrorSource::Upstream => upstream(error.etype(), context, now),
        ErrorSource::Downstream => downstream(error.etype()),
        ErrorSource::Internal | ErrorSource::Unset => Outcome::Internal,
    }
}

fn upstream(kind: &ErrorType, context: &RequestContext, now: Instant) -> Outcome {
    match kind {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::ConnectProxyFailure
        | ErrorType::BindError
        | ErrorType::SocketError
        | ErrorType::TLSHandshakeTimedout => context.overdue(now).unwrap_or(Outcome::ConnectFailed),
        ErrorType::TLSHandshakeFailure => Outcome::UpstreamTls,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            context.overdue(now).unwrap_or(Outcome::BackendTimeout)
        }
        ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 | ErrorType::HTTPStatus(_) => {
            Outcome::UpstreamInvalid
        }
        _ => Outcome::UpstreamReset,
    }
}

fn downstream(kind: &ErrorType) -> Outcome {
    match kind {
        ErrorType::ReadTimedout => Outcome::BodyTimeout,
        ErrorType::ConnectionClosed
        | ErrorType::ReadError
        | ErrorType::WriteError
        | ErrorType::WriteTimedout
        | ErrorType::H2Error => Outcome::ClientGone,
        _ => Outcome::BadRequest,
    }
}

/// An error that stands for one of our outcomes.
pub(super) fn failure(context: &mut RequestContext, outcome: Outcome) -> Box<Error> {
    context.outcome = Some(outcome);
    Error::explain(ErrorType::HTTPStatus(outcome.status().unwrap_or(500)), outcome.word())
}
