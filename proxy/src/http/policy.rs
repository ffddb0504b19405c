//! What TrafficPolicies ask of a request before it is answered or forwarded, in the documented order: who may come in,
//! how often, how large a head; then what it may have to wait for: a count for all data planes, what an authoriser says,
//! faults on purpose, the rest of its body.

use super::context::RequestContext;
use super::request::Next;
use super::{buffer, decompression, ext_auth, faults, forwarded, global};
use crate::listen::ConnInfo;
use crate::policy::{Asking, BufferRoom, Claims, PolicyRuntime, Refused, whole_seconds};
use crate::snapshot::Port;
use crate::telemetry::Outcome;
use crate::upstream::Calls;
use http::header::{self, HeaderValue};
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use sluice_ir as ir;
use std::sync::Arc;

/// Why a request goes no further; what its answer is to tell is noted in the context.
pub(super) fn refusal(
    policy: &PolicyRuntime,
    (port, connection): (&Port, &ConnInfo),
    header: &RequestHeader,
    context: &mut RequestContext,
) -> Option<Next> {
    let client = || forwarded::client(header, connection.peer.ip(), port.gateway.settings.trusted_hops);
    if policy.clients.as_ref().is_some_and(|clients| !clients.lets_in(client())) {
        return Some(Next::Answer(Outcome::ClientDenied));
    }
    if let Some(rates) = &policy.rates {
        match rates.check(&asking((port, connection), header, context.claims.as_deref()), context.started) {
            Ok(told) => context.told = told,
            Err(refused) => return Some(too_often(refused)),
        }
    }
    let too_large = policy.limits().is_some_and(|limits| head_too_large(limits, header));
    if too_large {
        return Some(Next::Answer(Outcome::HeadTooLarge));
    }
    decompression::refusal(policy, header, context)
}

/// The answer to who comes too soon.
pub(super) fn too_often(refused: Refused) -> Next {
    let mut fields = refused.told;
    fields.push((header::RETRY_AFTER, HeaderValue::from(whole_seconds(refused.retry_after).max(1))));
    let outcome = Outcome::RateLimited;
    Next::Refuse { outcome, status: 429, grpc_status: outcome.grpc_status(), fields }
}

fn head_too_large(limits: &ir::RequestLimits, header: &RequestHeader) -> bool {
    let fields = &header.headers;
    if limits.request_headers.is_some_and(|limit| fields.len() > limit as usize) {
        return true;
    }
    let bytes = || fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    limits.request_header_bytes.is_some_and(|limit| bytes() > limit as usize)
}

/// What of a request keys are made of.
pub(super) fn asking<'a>(
    (port, connection): (&Port, &ConnInfo),
    header: &'a RequestHeader,
    claims: Option<&'a Claims>,
) -> Asking<'a> {
    Asking {
        client: forwarded::client(header, connection.peer.ip(), port.gateway.settings.trusted_hops),
        headers: &header.headers,
        path: header.uri.path(),
        method: header.method.as_str(),
        claims,
    }
}

/// Does what a request may have to wait for, in the documented order; `Some`: it goes no further. Dropping it does no
/// harm.
///
/// # Errors
/// When the client is gone.
pub(super) async fn wait(
    (calls, room): (&Calls, &Arc<BufferRoom>),
    session: &mut Session,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    if let Some(next) = global::ask(session.req_header(), context).await {
        return Ok(Some(next));
    }
    if let Some(next) = ext_auth::check(calls, session, context).await? {
        return Ok(Some(next));
    }
    if let Some(next) = faults::inflict(session.req_header(), context).await {
        return Ok(Some(next));
    }
    Ok(buffer::wait(room, session, context).await)
}
