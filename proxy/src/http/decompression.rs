//! Request bodies are unpacked before the backend sees them.

use super::context::RequestContext;
use super::failure::failure;
use super::request::Next;
use crate::policy::{Decoder, OF_THE_BYTES, Plan, PolicyRuntime, Undecodable};
use crate::telemetry::Outcome;
use crate::upstream::Permit;
use bytes::Bytes;
use http::header;
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

/// A body that is being unpacked.
pub(super) struct Unpacking {
    decoder: Decoder,
    permit: Permit,
}

/// Why a request goes no further: its body has a coding, or several, that are not taken.
pub(super) fn refusal(
    policy: &PolicyRuntime,
    header: &RequestHeader,
    context: &RequestContext,
) -> Option<Next> {
    let it = policy.decompression.as_ref().filter(|_| !context.grpc)?;
    if it.plan(&header.headers) != Plan::Refuse {
        return None;
    }
    let outcome = Outcome::UnsupportedEncoding;
    // RFC 9110 §15.5.16: the client is told what it may use.
    let fields = vec![(header::ACCEPT_ENCODING, it.accepted.clone())];
    Some(Next::Refuse { outcome, status: 415, grpc_status: outcome.grpc_status(), fields })
}

/// Begins with the body and makes the head true, for each try anew: a further try sends the body from its first byte.
pub(super) fn begin(
    session: &mut Session,
    header: &mut RequestHeader,
    context: &mut RequestContext,
) -> Result<()> {
    let Some(it) = context.policy.as_ref().and_then(|it| it.decompression.clone()) else { return Ok(()) };
    let Plan::Unpack(coding) = it.plan(&session.req_header().headers) else { return Ok(()) };
    if context.grpc || session.is_upgrade_req() || session.is_body_empty() {
        return Ok(());
    }
    let held = context.unpacking.take().map(|before| before.permit);
    let is_first = held.is_none();
    let Some(permit) = held.or_else(|| it.permit()) else {
        return Err(failure(context, Outcome::Overloaded));
    };
    let Some(decoder) = it.decoder(coding, context.body_limit) else {
        return Err(failure(context, Outcome::Overloaded));
    };
    context.unpacking = Some(Box::new(Unpacking { decoder, permit }));
    if is_first {
        context.metrics().bodies().unpacked(coding);
    }
    header.remove_header(&header::CONTENT_ENCODING);
    header.remove_header(&header::CONTENT_LENGTH);
    for name in OF_THE_BYTES {
        header.remove_header(&name);
    }
    Ok(())
}

/// Unpacks a piece of the body. Costs one comparison where nothing is unpacked.
pub(super) fn body(body: &mut Option<Bytes>, is_last: bool, context: &mut RequestContext) -> Result<()> {
    let Some(running) = context.unpacking.as_mut() else { return Ok(()) };
    let piece = body.take().unwrap_or_default();
    match running.decoder.decode(&piece, is_last) {
        // No piece at all would be taken for the end.
        Ok(out) => *body = Some(out).filter(|out| !is_last || !out.is_empty()),
        Err(Undecodable::Broken) => return Err(failure(context, Outcome::BodyUndecodable)),
        Err(Undecodable::TooLarge) => return Err(failure(context, Outcome::BodyTooLarge)),
    }
    Ok(())
}
