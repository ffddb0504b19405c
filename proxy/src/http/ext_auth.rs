//! External authorisation of a request: who is asked, what is told of the request, and what becomes of the verdict.

use super::context::RequestContext;
use super::failure::failure;
use super::filters::set_target;
use super::request::{Next, authority, introduce};
use super::rewrite::path_and_query;
use super::{Cors, forwarded};
use crate::auth::{self, Authorizer, Changes, Edit, Failure, Question, Verdict};
use crate::snapshot::RuleRuntime;
use crate::telemetry::Outcome;
use crate::upstream::Calls;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Asks the authoriser of the policy, then that of the rule's filter. `Some`: the request goes no further.
///
/// # Errors
/// When the client leaves meanwhile: the question is taken back.
pub(super) async fn check(
    calls: &Calls,
    session: &mut Session,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    let Some(rule) = context.rule.clone() else { return Ok(None) };
    let of_policy = context.policy.as_ref().and_then(|it| it.ext_auth.clone());
    let of_rule = rule.authorizer().cloned();
    if of_policy.is_none() && of_rule.is_none() || is_answered_here(&rule, session.req_header()) {
        return Ok(None);
    }
    for authorizer in of_policy.into_iter().chain(of_rule) {
        if let Some(next) = ask(calls, &authorizer, session, context).await? {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

/// A CORS preflight carries no credentials and never reaches a backend (Fetch standard, CORS-preflight request); nor does
/// what a rule with a broken filter gets.
fn is_answered_here(rule: &RuleRuntime, header: &RequestHeader) -> bool {
    rule.fail().is_some() || rule.cors().is_some() && Cors::is_preflight(&header.method, &header.headers)
}

/// Asks one authoriser. `Some`: the request goes no further.
///
/// # Errors
/// As [`check`].
pub(super) async fn ask(
    calls: &Calls,
    authorizer: &Arc<Authorizer>,
    session: &mut Session,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    let body = match authorizer.body_bytes() {
        0 => Bytes::new(),
        most => match shown(session, context, most).await? {
            Ok(body) => body,
            Err(next) => return Ok(Some(next)),
        },
    };
    let question = question(session, context, body)?;
    let Some(port) = context.port.clone() else { return Err(failure(context, Outcome::Internal)) };
    let time = time_left(context);
    let asked = auth::ask(calls, authorizer, &port.gateway, &question, time);
    // What follows an upgrade in HTTP/1.1 is not looked at, nor a body that is not read yet.
    let is_watched = session.is_http2() || (!session.is_upgrade_req() && session.as_mut().is_body_done());
    let verdict = tokio::select! {
        biased;
        verdict = asked => verdict,
        _gone = session.as_mut().read_body_or_idle(true), if is_watched => {
            return Err(failure(context, Outcome::ClientGone));
        }
    };
    judge(authorizer, verdict, session, context)
}

fn judge(
    authorizer: &Authorizer,
    verdict: Verdict,
    session: &mut Session,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    let metrics = context.metrics();
    let counts = authorizer.counts(|backend| metrics.authorizer(backend));
    match verdict {
        Verdict::Allowed(changes) => {
            counts.allowed();
            apply(*changes, session.req_header_mut(), context)?;
            Ok(None)
        }
        Verdict::Denied(denied) => {
            counts.denied();
            Ok(Some(Next::Denied(denied)))
        }
        Verdict::Failed(failure) => {
            tracing::debug!(backend = ?authorizer.settings.target, %failure, "no verdict of the authoriser");
            if authorizer.settings.allows_on_failure && failure.is_silence() {
                counts.passed();
                return Ok(None);
            }
            counts.failed();
            if failure == Failure::Timeout && time_left(context).is_some_and(|left| left.is_zero()) {
                return Ok(Some(Next::Answer(Outcome::RequestTimeout)));
            }
            let (outcome, status) = (Outcome::AuthFailed, authorizer.settings.failure_status);
            let retry = (status == 503).then(|| (header::RETRY_AFTER, HeaderValue::from_static("1")));
            let fields = retry.into_iter().collect();
            Ok(Some(Next::Refuse { outcome, status, grpc_status: outcome.grpc_status(), fields }))
        }
    }
}

/// What is left of the request's own time.
fn time_left(context: &RequestContext) -> Option<Duration> {
    let end = context.timeouts().request.and_then(|timeout| context.started.checked_add(timeout));
    RequestContext::remaining(end, Instant::now())
}

/// The request as the authoriser is told of it.
fn question(session: &Session, context: &RequestContext, body: Bytes) -> Result<Question> {
    let header = session.req_header();
    let mut told = header.clone();
    introduce(header, &mut told, context)?;
    let told: http::request::Parts = told.into();
    let connection = context.connection.as_deref();
    let (peer, local) = connection.map_or_else(
        || (SocketAddr::from(([0, 0, 0, 0], 0)), SocketAddr::from(([0, 0, 0, 0], 0))),
        |it| (it.peer, it.local),
    );
    let hops = context.port.as_ref().map_or(0, |port| port.gateway.settings.trusted_hops);
    let tls = connection.and_then(|it| it.tls.as_ref());
    Ok(Question {
        method: header.method.clone(),
        host: authority(header).to_owned(),
        target: path_and_query(header.uri.path(), header.uri.query()),
        headers: told.headers,
        body,
        is_tls: tls.is_some(),
        version: header.version,
        client: SocketAddr::new(forwarded::client(header, peer.ip(), hops), peer.port()),
        local,
        server_name: tls.and_then(|tls| tls.server_name.clone()),
    })
}

/// Reads the body to its end, so that it can be shown; Pingora keeps it for the backend. What is larger than `most`, or
/// comes too slowly, is refused.
async fn shown(
    session: &mut Session,
    context: &mut RequestContext,
    most: usize,
) -> Result<std::result::Result<Bytes, Next>> {
    if session.is_upgrade_req() || session.as_mut().is_body_empty() {
        return Ok(Ok(Bytes::new()));
    }
    if context.shown.is_none() {
        match read(session, context, most).await? {
            Ok(length) => context.shown = Some(length),
            Err(outcome) => return Ok(Err(refused(session, outcome))),
        }
    }
    // Another authoriser may have been shown it before.
    match session.as_mut().get_retry_buffer().unwrap_or_default() {
        body if body.len() > most || context.shown != Some(body.len()) => {
            Ok(Err(refused(session, Outcome::BodyTooLarge)))
        }
        body => Ok(Ok(body)),
    }
}

/// Reads the body to its end: how long it is.
async fn read(
    session: &mut Session,
    context: &RequestContext,
    most: usize,
) -> Result<std::result::Result<usize, Outcome>> {
    let announced = session.req_header().headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Ok(Err(Outcome::BodyTooLarge));
    }
    session.as_mut().enable_retry_buffering();
    if expects_continue(session) {
        // Pingora takes every head that is written before the end of the body for an early answer, after which the
        // connection is of no use.
        session.set_close_on_response_before_downstream_finish(false);
        let written = session.as_mut().write_continue_response().await;
        session.set_close_on_response_before_downstream_finish(true);
        written.map_err(|error| error.into_down())?;
        session.req_header_mut().remove_header(&header::EXPECT);
    }
    let stall = context.port.as_ref().map(|port| port.gateway.settings.limits.stream_idle_timeout);
    let mut length = 0_usize;
    while !session.as_mut().is_body_done() {
        let time = [stall, time_left(context)].into_iter().flatten().min().unwrap_or(Duration::MAX);
        let chunk = match tokio::time::timeout(time, session.as_mut().read_request_body()).await {
            Ok(chunk) => chunk.map_err(|error| error.into_down())?,
            Err(_) => return Ok(Err(Outcome::BodyTimeout)),
        };
        let Some(chunk) = chunk else { break };
        length = length.saturating_add(chunk.len());
        if length > most {
            return Ok(Err(Outcome::BodyTooLarge));
        }
    }
    Ok(Ok(length))
}

/// An answer before the body was read ends the connection.
fn refused(session: &mut Session, outcome: Outcome) -> Next {
    session.set_keepalive(None);
    Next::Answer(outcome)
}

fn expects_continue(session: &Session) -> bool {
    // HTTP/2 has no interim answers here; its clients send the body after a while.
    let expect = session.req_header().headers.get(header::EXPECT);
    !session.is_http2() && expect.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Changes the request, once for all tries; what is meant for the answer is kept for it.
fn apply(changes: Changes, header: &mut RequestHeader, context: &mut RequestContext) -> Result<()> {
    for edit in &changes.request {
        edit_field(header, edit)?;
    }
    if let Some(query) = changes.query(header.uri.query()) {
        let target = path_and_query(header.uri.path(), Some(query.as_str()).filter(|it| !it.is_empty()));
        set_target(header, &target)?;
    }
    context.authorized.extend(changes.answer);
    Ok(())
}

/// Changes the answer as authorisers have said.
pub(super) fn mark(header: &mut ResponseHeader, context: &mut RequestContext) -> Result<()> {
    let edits = std::mem::take(&mut context.authorized);
    edits.iter().try_for_each(|edit| edit_field(header, edit))
}

/// A head whose fields can be changed.
trait Fields {
    fn has(&self, name: &HeaderName) -> bool;
    fn set(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
    fn remove(&mut self, name: &HeaderName);
}

macro_rules! fields {
    ($head:ty) => {
        impl Fields for $head {
            fn has(&self, name: &HeaderName) -> bool {
                self.headers.contains_key(name)
            }

            fn set(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
                self.insert_header(name, value)
            }

            fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
                self.append_header(name, value).map(drop)
            }

            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }
        }
    };
}

fields!(RequestHeader);
fields!(ResponseHeader);

fn edit_field(head: &mut impl Fields, edit: &Edit) -> Result<()> {
    match edit {
        Edit::Set(name, value) => head.set(name, value),
        Edit::Add(name, value) => head.add(name, value),
        Edit::AddIfAbsent(name, value) if !head.has(name) => head.set(name, value),
        Edit::SetIfPresent(name, value) if head.has(name) => head.set(name, value),
        Edit::AddIfAbsent(..) | Edit::SetIfPresent(..) => Ok(()),
        Edit::Remove(name) => {
            head.remove(name);
            Ok(())
        }
    }
}
