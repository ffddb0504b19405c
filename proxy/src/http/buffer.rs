//! Reads a request whole before an endpoint is chosen, and hands it to Pingora at each try.

use super::context::RequestContext;
use super::request::Next;
use super::stand_in::StandIn;
use crate::policy::{BufferRoom, Filling, NoRoom};
use crate::telemetry::Outcome;
use http::header::{self, HeaderValue};
use pingora_core::protocols::http::server::Session as Downstream;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// Reads the body, where the policy says so and there is one; `Some`: the request goes no further. Dropping it gives back
/// what was read.
pub(super) async fn wait(
    room: &Arc<BufferRoom>,
    session: &mut Session,
    context: &mut RequestContext,
) -> Option<Next> {
    let most = context.policy.as_ref()?.buffer()?;
    if session.is_upgrade_req() || session.is_body_empty() {
        return None;
    }
    let most = context.body_limit.map_or(most, |limit| limit.min(most));
    if let Some(length) = context.shown {
        // An authoriser was shown it: it is whole, and short enough for Pingora to keep.
        return (length as u64 > most).then_some(Next::Answer(Outcome::BodyTooLarge));
    }
    let outcome = match read(room, most, session, context).await {
        Ok(()) => return None,
        Err(outcome) => outcome,
    };
    // What is left of the body would be taken for the next request.
    session.set_keepalive(None);
    Some(Next::Answer(outcome))
}

async fn read(
    room: &Arc<BufferRoom>,
    most: u64,
    session: &mut Session,
    context: &mut RequestContext,
) -> std::result::Result<(), Outcome> {
    if announced(session.req_header()).is_some_and(|length| length > most) {
        return Err(Outcome::BodyTooLarge);
    }
    let expects = session.req_header().headers.get(header::EXPECT);
    if expects.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue")) && !session.is_http2() {
        // RFC 9110 §10.1.1: the client waits for it before it sends the body. Pingora takes every head that is written
        // before the end of the body for an early answer, after which the connection is of no use.
        session.set_close_on_response_before_downstream_finish(false);
        let written = session.write_continue_response().await;
        session.set_close_on_response_before_downstream_finish(true);
        written.map_err(|_| Outcome::ClientGone)?;
    }
    let stall = context.port.as_ref().map(|port| port.gateway.settings.limits.stream_idle_timeout);
    let end = context.timeouts().request.and_then(|timeout| context.started.checked_add(timeout));
    let mut filling = Filling::new(room, most);
    loop {
        let left = RequestContext::remaining(end, Instant::now());
        let patience = stall.into_iter().chain(left).min().unwrap_or(std::time::Duration::MAX);
        let piece = match tokio::time::timeout(patience, session.downstream_session.read_request_body()).await
        {
            Ok(piece) => piece.map_err(|error| broken(&error))?,
            Err(_) if left.is_some_and(|left| left <= patience) => return Err(Outcome::RequestTimeout),
            Err(_) => return Err(Outcome::BodyTimeout),
        };
        let Some(piece) = piece else { break };
        filling.add(&piece).map_err(|why| match why {
            NoRoom::TooLarge => Outcome::BodyTooLarge,
            NoRoom::Full => Outcome::Overloaded,
        })?;
    }
    context.whole = Some(filling.finish());
    Ok(())
}

fn announced(header: &RequestHeader) -> Option<u64> {
    header.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn broken(error: &Error) -> Outcome {
    match error.etype() {
        ErrorType::ReadTimedout => Outcome::BodyTimeout,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error => Outcome::ClientGone,
        _ => Outcome::BadRequest,
    }
}

/// Tells the backend how long a body is that was read whole; it needs no leave to come.
pub(super) fn describe(header: &mut RequestHeader, context: &RequestContext) -> Result<()> {
    let Some(whole) = &context.whole else { return Ok(()) };
    header.remove_header(&header::EXPECT);
    header.remove_header(&header::TRANSFER_ENCODING);
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(whole.bytes.len()))
}

/// Puts a session in place of the client's that gives the whole body, for the moment in which Pingora asks for it. Its own
/// buffer ends at 64 KiB.
pub(super) fn offer(session: &mut Session, context: &mut RequestContext) {
    let Some(whole) = &context.whole else { return };
    if context.client.is_some() {
        return;
    }
    let body = whole.bytes.clone();
    let header = session.req_header().clone();
    // Pingora's own protocols take an empty body for none.
    let body = (context.is_custom || !body.is_empty()).then_some(body);
    let stand_in = Box::new(Downstream::Custom(Box::new(StandIn::new(header, body))));
    context.client = Some(std::mem::replace(&mut session.downstream_session, stand_in));
}

/// Puts the client's session back. Every phase that follows a try's begin does so first.
pub(super) fn take_back(session: &mut Session, context: &mut RequestContext) {
    if let Some(client) = context.client.take() {
        session.downstream_session = client;
    }
}
