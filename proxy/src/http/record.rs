//! What stays of a request: counters, and a line in the access log.

use super::context::RequestContext;
use super::observe::{self, End};
use super::{forwarded, request};
use crate::listen::ClientCertificate;
use crate::telemetry::{AccessLogger, AccessRecord, Outcome};
use http::request::Parts;
use pingora_proxy::Session;
use sluice_ir as ir;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

/// What went between client and proxy.
pub(super) struct Exchange<'a> {
    pub(super) header: &'a Parts,
    pub(super) is_http2: bool,
    /// 0: the client got none.
    pub(super) status: u16,
    /// Bytes of the answer's body.
    pub(super) sent: u64,
}

impl<'a> Exchange<'a> {
    /// That of a session.
    pub(super) fn of(session: &'a Session) -> Self {
        Self {
            header: session.req_header(),
            is_http2: session.is_http2(),
            status: session.response_written().map_or(0, |header| header.status.as_u16()),
            sent: session.body_bytes_sent() as u64,
        }
    }
}

/// Counts the request and writes its line. Costs nothing but a few counters when the log is off.
pub(super) fn write(log: &AccessLogger, exchange: &Exchange<'_>, context: &RequestContext, now: Instant) {
    let outcome = context.outcome.unwrap_or(Outcome::Served);
    let Exchange { header, is_http2, status, sent } = *exchange;
    let duration = now.saturating_duration_since(context.started);
    let Some(port) = &context.port else { return };
    let rule = context.rule.as_ref();
    let metrics = rule.map_or(&port.metrics, |rule| rule.route().metrics(context.metrics()));
    // What was read before an endpoint was chosen counts also when none was.
    let held = context.whole.as_ref().map_or(0, |whole| whole.bytes.len() as u64);
    let received = context.request_body_bytes.max(held);
    metrics.finished(outcome, status, duration, received, sent);
    let end = End { header, is_http2, outcome, status, duration, received, sent };
    observe::ended(&end, context, now);
    let settings = &port.gateway.settings;
    let origin = rule.map(|rule| &rule.route().route.origin);
    let form = outcome.logged_by(port.access_log(), origin);
    if form == ir::AccessLog::Off {
        return;
    }
    let Some(connection) = &context.connection else { return };
    let client = forwarded::client(header, connection.peer.ip(), settings.trusted_hops);
    let field = |name: &str| header.headers.get(name).map(|value| value.as_bytes());
    let judged = context.judged.as_ref().map(|it| it.to_string());
    let record = AccessRecord {
        time: SystemTime::now(),
        gateway: port.gateway.key.as_str(),
        listener: context.listener.as_ref().and_then(|it| it.listener.origin.section.as_deref()),
        route: rule.map(|_| metrics.name()),
        rule: rule.and_then(|rule| rule.rule()?.name.as_deref()),
        method: header.method.as_str(),
        host: request::authority(header),
        path: header.uri.path(),
        protocol: if is_http2 { "HTTP/2" } else { "HTTP/1.1" },
        status,
        outcome,
        reason: match &judged {
            Some(judged) => Some(judged),
            None => context.reason.or_else(|| (outcome == Outcome::EgressRefused).then(|| outcome.meaning())),
        },
        request_bytes: received,
        response_bytes: sent,
        duration,
        upstream: context.picked.as_ref().map(|picked| picked.address),
        upstream_duration: context.upstream_duration,
        attempts: context.attempts + context.further_tries,
        client: SocketAddr::new(client, connection.peer.port()),
        client_subject: connection.client_certificate.as_ref().and_then(ClientCertificate::subject),
        client_identity: connection.peer_identity(),
        port: Some(connection.captured.map_or(port.port, |it| it.original.port())),
        server_name: connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref()),
        tls_version: connection.tls.as_ref().map(|tls| tls.version.trim_start_matches("TLSv")),
        user_agent: field("user-agent"),
        request_id: field("x-request-id"),
        traceparent: field("traceparent"),
        extra: observe::extra(form, &end, context),
    };
    log.write(form, &record);
}
