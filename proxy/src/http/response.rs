//! The way back: hop-by-hop fields go, filters apply, the session's token is set.

use super::cache;
use super::compression;
use super::context::RequestContext;
use super::ext_auth;
use super::failure::failure;
use super::observe;
use http::header::{self, HeaderName};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::time::{Instant, SystemTime};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Prepares the head that the client sees.
pub(super) fn filter(
    session: &mut Session,
    header: &mut ResponseHeader,
    context: &mut RequestContext,
) -> Result<()> {
    if header.status.is_informational() && header.status.as_u16() != 101 {
        return Ok(());
    }
    context.response_status = header.status.as_u16();
    if header.status.as_u16() != 101 {
        strip_hop_by_hop(header);
    }
    if session.is_process_shutting_down() {
        session.set_keepalive(None);
    }
    for (name, value) in std::mem::take(&mut context.told) {
        header.append_header(name, value)?;
    }
    ext_auth::mark(header, context)?;
    observe::answered(header, context)?;
    let Some(rule) = &context.rule else { return Ok(()) };
    let of_backend = rule.backends.get(context.backend).and_then(|backend| backend.filters());
    for filters in of_backend.into_iter().chain(rule.filters()) {
        filters.response(header)?;
    }
    if let Some(cors) = rule.cors()
        && let Some(origin) = session.req_header().headers.get(header::ORIGIN)
    {
        cors.mark(origin, header)?;
    }
    if let Some((_, cookie)) = context.given.take() {
        header.append_header(header::SET_COOKIE, cookie)?;
    }
    if let (Some(sessions), Some(picked)) = (rule.sessions(), &context.picked) {
        let tls = context.connection.as_ref().is_some_and(|connection| connection.tls.is_some());
        let known = context.session.as_ref().is_some_and(|session| *session == picked.session_id());
        if !known && let Some((name, value)) = sessions.write(picked.session_id(), tls, SystemTime::now()) {
            header.append_header(name, value)?;
        }
    }
    cache::head(session, header, context)?;
    compression::head(session, header, context)
}

/// RFC 9110 §7.6.1: fields for this hop only, and those that `Connection` names. Trailers and framing are Pingora's.
fn strip_hop_by_hop(header: &mut ResponseHeader) {
    if header.headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = header
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING)
            .collect();
        for name in named {
            header.remove_header(&name);
        }
        header.remove_header(&header::CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::UPGRADE] {
        if header.headers.contains_key(&name) {
            header.remove_header(&name);
        }
    }
}

/// A body that outlasts the request's deadline is cut: the client sees an incomplete answer, never a complete one.
pub(super) fn body(context: &mut RequestContext) -> Result<()> {
    if context.deadline.is_none() && context.try_deadline.is_none() {
        return Ok(());
    }
    match context.overdue(Instant::now()) {
        Some(outcome) => Err(failure(context, outcome)),
        None => Ok(()),
    }
}
