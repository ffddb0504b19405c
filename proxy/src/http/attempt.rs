//! One try at an endpoint: choose it, bound it, judge its answer, decide whether there is another try.

use super::concurrency;
use super::context::RequestContext;
use super::failure::failure;
use super::{forwarded, hedging};
use crate::listen::ConnInfo;
use crate::mesh::Unfit;
use crate::snapshot::{BackendRuntime, RuleHandle};
use crate::telemetry::Outcome;
use crate::upstream::{
    Affinity, Choice, EjectPolicy, EndpointPool, Key, PeerMemory, Picked, SessionId, TlsClient, Verdict,
    announced, for_upgrade, peer, shape,
};
use pingora_core::connectors::l4::BindTo;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use sluice_ir::{self as ir, BackendProtocol};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tries that a request without a retry policy may make in all: to find an endpoint that accepts a connection, and after
/// connections that ended without an answer.
const TRIES: u32 = 3;

/// How long a request waits for the first identity of a workload.
const IDENTITY_WAIT: Duration = Duration::from_secs(5);

/// Waits before a further try: the backoff is the least time between two tries (GEP-1731).
pub(super) async fn back_off(context: &RequestContext) -> Result<()> {
    let backoff = match (&context.rule, context.attempts) {
        (_, 0) => return Ok(()),
        (Some(rule), _) => rule.retry().map(|retry| retry.backoff).unwrap_or_default(),
        (None, _) => Duration::ZERO,
    };
    let bounded =
        RequestContext::remaining(context.deadline, Instant::now()).map_or(backoff, |left| backoff.min(left));
    if !bounded.is_zero() {
        tokio::time::sleep(bounded).await;
    }
    Ok(())
}

/// Waits for the right to use a connection, where a rule bounds their number. It is kept for all tries of the request.
pub(super) async fn wait_for_connection(context: &mut RequestContext) -> Result<()> {
    let slots = context.target().and_then(|target| target.circuit.as_ref()?.slots());
    let (Some(slots), None, Some(port)) = (slots.cloned(), &context.slot, &context.port) else {
        return Ok(());
    };
    let left = RequestContext::remaining(context.deadline, Instant::now());
    let limit = left.unwrap_or(port.gateway.settings.limits.stream_idle_timeout);
    match tokio::time::timeout(limit, slots.take()).await {
        Ok(Some(slot)) => {
            context.slot = Some(slot);
            Ok(())
        }
        Ok(None) => Err(failure(context, Outcome::Overflow)),
        Err(_) => {
            let overdue = context.overdue(Instant::now());
            Err(failure(context, overdue.unwrap_or(Outcome::Overflow)))
        }
    }
}

/// Waits for the identity that endpoints in the mesh are spoken to with, in its first moments. Costs a comparison elsewhere.
pub(super) async fn wait_for_identity(context: &RequestContext) {
    let Some(mesh) = context.target().and_then(|target| target.mesh.as_ref()) else { return };
    let left = RequestContext::remaining(context.deadline, Instant::now());
    let limit = left.map_or(IDENTITY_WAIT, |left| left.min(IDENTITY_WAIT));
    // Whoever still has none then is told so.
    let _ = tokio::time::timeout(limit, mesh.wait()).await;
}

/// An endpoint for the try, and who speaks the mesh's TLS to it; nobody where it takes none.
fn pick(
    spoken: &BackendRuntime,
    pool: &EndpointPool,
    choice: Choice<'_>,
    tried: &mut Vec<SocketAddr>,
    sticky: Option<&SessionId>,
) -> std::result::Result<(Picked, Option<Arc<TlsClient>>), Outcome> {
    loop {
        let picked = pool.pick_by(choice, tried, sticky).ok_or(Outcome::NoEndpoint)?;
        match spoken.mesh_client(&picked) {
            Ok(client) => return Ok((picked, client)),
            Err(Unfit::Endpoint) if !tried.contains(&picked.address) => tried.push(picked.address),
            Err(Unfit::NoIdentity) => return Err(Outcome::NoIdentity),
            Err(Unfit::Endpoint | Unfit::Client) => return Err(Outcome::UpstreamTls),
        }
    }
}

/// Chooses an endpoint and describes the connection to it.
pub(super) fn begin(
    session: &mut Session,
    context: &mut RequestContext,
    now: Instant,
) -> Result<Box<HttpPeer>> {
    if let Some(overdue) = context.overdue(now).filter(|outcome| *outcome == Outcome::RequestTimeout) {
        return Err(failure(context, overdue));
    }
    context.outcome = None;
    context.upstream_duration = None;
    context.attempts += 1;
    context.try_body_bytes = 0;
    context.try_copied_bytes = 0;
    let (Some(target), Some(port), Some(rule)) = (context.target().cloned(), &context.port, &context.rule)
    else {
        return Err(failure(context, Outcome::Internal));
    };
    let spoken = target.spoken(session.is_http2());
    if context.attempts > 1 {
        rule.route().metrics(context.metrics()).retried();
    }
    let client = match (spoken.client(&port.gateway), &context.asked) {
        (Ok(Some(client)), Some(name)) if client.is_template() => Some(name.client(client)),
        (Ok(Some(client)), None) if client.is_template() => {
            return Err(failure(context, Outcome::UpstreamTls));
        }
        (Ok(client), _) => client.cloned(),
        (Err(_), _) => return Err(failure(context, Outcome::UpstreamTls)),
    };
    let settings = &port.gateway.settings;
    context.try_deadline = context.timeouts().backend_request.and_then(|timeout| now.checked_add(timeout));
    let given = context.given.as_ref().map(|it| it.0);
    let key = match target.affinity.as_deref() {
        Some(affinity) if given.is_none() => {
            match key(affinity, session, context.connection.as_deref(), settings.trusted_hops) {
                Key::Is(key) => Some(key),
                Key::None => None,
                Key::Given(key, cookie) => {
                    context.given = Some((key, cookie));
                    Some(key)
                }
            }
        }
        _ => given,
    };
    let choice = Choice { key, ..target.choice(settings) };
    let pool = context.asked.as_ref().map_or(&target.pool, |name| name.pool());
    // Of a Service without an address of its own, clients choose the endpoint.
    let captured = context.connection.as_ref().and_then(|it| it.captured).filter(|it| it.by_host);
    let own = captured.map(|it| SessionId::of(pool.key(), it.original));
    let sticky = context.session.as_ref().or(own.as_ref());
    let (picked, of_mesh) = match pick(spoken, pool, choice, &mut context.tried, sticky) {
        Ok(picked) => picked,
        Err(outcome) => return Err(failure(context, outcome)),
    };
    context.clients.extend(of_mesh.clone());
    let client = of_mesh.or(client);
    let client = client.as_ref();
    let left = [context.deadline, context.try_deadline]
        .into_iter()
        .filter_map(|deadline| RequestContext::remaining(deadline, now))
        .min();
    let preface = context.connection.as_ref().and_then(|it| target.preface(it.peer, it.local));
    let source = context.connection.as_ref().and_then(|it| it.source());
    let tunnel = target.tunnel();
    let is_upgrade = session.is_upgrade_req() && spoken.backend.protocol == BackendProtocol::Http1;
    context.is_custom = false;
    let peer = if preface.is_none() && tunnel.is_none() && !is_upgrade {
        let mut peer = peer_of(spoken, client, &picked, settings, left);
        peer.options.bind_to = source.map(bound_to);
        // Of HTTP/1.1 Pingora gets the stream.
        context.is_custom = client.is_some() && spoken.backend.protocol == BackendProtocol::H2c;
        hedging::prepare(session, context, peer, picked.address)
    } else {
        let mut peer = peer(picked.address, spoken.backend.protocol, &settings.limits, spoken.group);
        peer.options.bind_to = source.map(bound_to);
        if preface.is_some() || tunnel.is_some() {
            announced(&mut peer, client.map(Arc::as_ref), preface.unwrap_or_default(), tunnel.cloned());
        } else {
            for_upgrade(&mut peer, client.map(Arc::as_ref));
        }
        finish(&mut peer, spoken, &picked, left);
        peer
    };
    context.picked = Some(picked);
    context.try_started = Some(now);
    Ok(peer)
}

/// Describes a connection to an endpoint that carries a usual request; `spoken`: the backend in the client's protocol.
pub(super) fn peer_of(
    spoken: &BackendRuntime,
    client: Option<&Arc<TlsClient>>,
    picked: &Picked,
    settings: &ir::Settings,
    left: Option<Duration>,
) -> Box<HttpPeer> {
    let mut peer = peer(picked.address, spoken.backend.protocol, &settings.limits, spoken.group);
    if let Some(client) = client {
        client.prepare(&mut peer);
    }
    finish(&mut peer, spoken, picked, left);
    peer
}

/// What holds for every connection: the terms of the backend's rule, and the time that is left.
fn finish(peer: &mut HttpPeer, target: &BackendRuntime, picked: &Picked, left: Option<Duration>) {
    if let Some(terms) = target.connections() {
        shape(peer, terms, Instant::now(), picked.number());
    }
    if let Some(left) = left {
        bound(peer, left);
    }
}

/// There is a connection, new or kept; whether the request is the last on it.
pub(super) fn connected(digest: Option<&Digest>, peer: &HttpPeer, context: &mut RequestContext) {
    context.is_last_use = false;
    context.upstream_local = local(digest, context);
    // One that hedges may get its answer on another connection.
    context.peer_memory = digest.filter(|_| context.hedge.is_none()).and_then(PeerMemory::of);
    let target = context.target();
    let (Some(target), Some(socket)) = (target, digest.and_then(|it| it.socket_digest.as_ref())) else {
        return;
    };
    // Of HTTP/2 the peer's key has seen to it.
    if let (Some((uses, most)), 0..=1) = (target.uses(), peer.options.max_h2_streams) {
        context.is_last_use = uses.is_last(socket, most);
    }
}

/// Our end of a connection, where somebody wants to know it: that costs a system call.
fn local(digest: Option<&Digest>, context: &RequestContext) -> Option<SocketAddr> {
    let port = context.port.as_ref()?;
    if port.access_log() != ir::AccessLog::IstioJson {
        return None;
    }
    digest?.socket_digest.as_ref()?.local_addr()?.as_inet().copied()
}

/// What of the request decides where it goes.
fn key(affinity: &Affinity, session: &Session, connection: Option<&ConnInfo>, trusted_hops: u8) -> Key {
    let Some(connection) = connection else { return Key::None };
    let header = session.req_header();
    let client = || forwarded::client(header, connection.peer.ip(), trusted_hops);
    affinity.of_request(&header.headers, header.uri.query(), client)
}

fn bound_to(source: IpAddr) -> BindTo {
    let mut bound = BindTo::default();
    bound.addr = Some(SocketAddr::new(source, 0));
    bound
}

/// Nothing of the try may take longer than what is left of the request's and the try's time.
fn bound(peer: &mut HttpPeer, left: Duration) {
    let options = &mut peer.options;
    for timeout in [
        &mut options.connection_timeout,
        &mut options.total_connection_timeout,
        &mut options.read_timeout,
        &mut options.write_timeout,
    ] {
        *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
    }
}

/// Judges the head of an endpoint's answer: tells the endpoint's health, and tries again where the rule says so. The
/// last try's answer goes to the client as it is.
pub(super) fn judge(
    session: &Session,
    header: &ResponseHeader,
    context: &mut RequestContext,
    now: Instant,
) -> Result<()> {
    let status = header.status.as_u16();
    if header.status.is_informational() && status != 101 {
        return Ok(());
    }
    if status == 101 {
        if !session.is_upgrade_req() {
            report(context, Verdict::Failed, now);
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "101 without a request for an upgrade")
                .into_up());
        }
        context.upgraded = true;
    }
    hedging::settle(context);
    context.upstream_duration = context.try_started.map(|started| now.saturating_duration_since(started));
    report(context, Verdict::Answered(status), now);
    // Failures may come at once and say nothing of load.
    if status < 500 {
        concurrency::answered(context, now);
    }
    if context.upgraded {
        // What it is now may last for hours and says nothing of load.
        context.admitted = None;
    }
    if tries_again(session, status, context, now) && admit_retry(context) {
        next_endpoint(context);
        let mut error = Error::explain(ErrorType::HTTPStatus(status), "listed for retry");
        error.set_retry(true);
        return Err(error);
    }
    Ok(())
}

/// Whether an answer of this status is to be tried again, as far as it depends on the rule and the request.
pub(super) fn tries_again(session: &Session, status: u16, context: &RequestContext, now: Instant) -> bool {
    let listed =
        context.rule.as_ref().and_then(|rule| rule.retry()).is_some_and(|it| it.codes.contains(&status));
    listed && may_retry(session, context, now)
}

/// Tells the endpoint's health for an answer that goes nowhere.
pub(super) fn answered(status: u16, context: &RequestContext, now: Instant) {
    report(context, Verdict::Answered(status), now);
}

/// No connection: the request was not sent, so any method may try another endpoint.
pub(super) fn connect_failed(
    mut error: Box<Error>,
    context: &mut RequestContext,
    now: Instant,
) -> Box<Error> {
    if let Some(target) = context.target() {
        context.metrics().connect_failed(target.backend.key.as_str());
    }
    report(context, Verdict::Failed, now);
    next_endpoint(context);
    let tries = retries(context.rule.as_ref()).map_or(TRIES, |retries| TRIES.max(retries + 1));
    let others = context.pool().is_some_and(|pool| pool.len() > context.tried.len());
    let policy = retries(context.rule.as_ref()).is_some_and(|retries| context.attempts <= retries);
    let again = context.attempts < tries
        && (others || policy)
        && context.overdue(now) != Some(Outcome::RequestTimeout)
        && admit_retry(context);
    error.set_retry(again);
    error
}

/// A try failed after the connection was made.
///
/// A connection that ended without an answer says that the endpoint is going away, or that it closed a kept connection
/// just when it was used. The request is then sent again when that does no harm: its method is idempotent (RFC 9110
/// §9.2.2), or the endpoint said that it has not processed it (RFC 9113 §8.7). Everything else is for the rule's policy.
pub(super) fn failed(
    session: &Session,
    mut error: Box<Error>,
    context: &mut RequestContext,
    reused: bool,
    now: Instant,
) -> Box<Error> {
    if matches!(error.etype(), ErrorType::HTTPStatus(_)) {
        return error;
    }
    let is_hedged = context.hedge.is_some();
    hedging::settle(context);
    if *error.esource() != ErrorSource::Upstream {
        error.set_retry(false);
        return error;
    }
    if is_hedged && is_no_connection(error.etype()) {
        return connect_failed(error, context, now);
    }
    if context.overdue(now).is_some() && context.upstream_duration.is_none() {
        concurrency::answered(context, now);
    }
    let ended = was_ended(error.etype()) && context.upstream_duration.is_none();
    // The next use of a kept connection is how one learns that it is gone: no fault of the endpoint.
    let stale = reused && ended;
    if !stale {
        report(context, Verdict::Failed, now);
    }
    let harmless = ended && (session.req_header().method.is_idempotent() || unprocessed(&error));
    // A rule's own policy counts the tries of its endpoints, kept connections aside.
    let own = stale || retries(context.rule.as_ref()).is_none();
    let again = (harmless && own && context.attempts < TRIES && replayable(session, context, now))
        || may_retry(session, context, now);
    let again = again && admit_retry(context);
    if again {
        // A session stays at its endpoint when only the connection was old.
        if stale && context.session.is_some() { drop(context.picked.take()) } else { next_endpoint(context) }
    }
    error.set_retry(again);
    error
}

/// There was no connection. Pingora tells of it by itself, but not of the tries of a race.
fn is_no_connection(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::BindError
            | ErrorType::SocketError
            | ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
    )
}

/// The connection or the stream was closed, reset or refused. Time that ran out is none of these: the endpoint may be
/// at work.
fn was_ended(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error
    )
}

/// REFUSED_STREAM, or a GOAWAY that leaves the stream out: what Pingora has marked as safe to send again.
fn unprocessed(error: &Error) -> bool {
    matches!((error.etype(), &error.retry), (ErrorType::H2Error, RetryType::Decided(true)))
}

/// Whether the rule's policy has a try left and the request can be sent again.
fn may_retry(session: &Session, context: &RequestContext, now: Instant) -> bool {
    retries(context.rule.as_ref()).is_some_and(|retries| context.attempts <= retries)
        && replayable(session, context, now)
}

/// Nothing stands in the way of sending the request once more.
fn replayable(session: &Session, context: &RequestContext, now: Instant) -> bool {
    untouched(session) && context.overdue(now) != Some(Outcome::RequestTimeout)
}

/// Whether the breakers of the backend let the request be tried again; asked once a request.
fn admit_retry(context: &mut RequestContext) -> bool {
    let Some(circuit) = context.target().and_then(|target| target.circuit.clone()) else { return true };
    if context.retry.is_none() {
        context.retry = circuit.admit_retry();
    }
    context.retry.is_some()
}

fn retries(rule: Option<&RuleHandle>) -> Option<u32> {
    rule?.retry().map(|retry| retry.attempts)
}

/// Nothing of an answer has gone to the client, and the body is still at hand (Pingora keeps 64 KiB).
fn untouched(session: &Session) -> bool {
    session.response_written().is_none_or(|header| header.status.is_informational())
        && !session.as_ref().retry_buffer_truncated()
}

fn report(context: &RequestContext, verdict: Verdict, now: Instant) {
    let (Some(picked), Some(port)) = (&context.picked, &context.port) else { return };
    let rule = context.target().and_then(|target| target.ejection());
    picked.report(verdict, now, rule, EjectPolicy::from(&port.gateway.settings));
}

/// Gives the endpoint back and remembers to avoid it.
fn next_endpoint(context: &mut RequestContext) {
    if let Some(picked) = context.picked.take() {
        context.tried.push(picked.address);
    }
}
