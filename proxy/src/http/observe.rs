//! What a mesh learns of a request: who called, who answered, how it ended. Nothing at ports that are in no mesh.

use super::context::RequestContext;
use super::{request, seen};
use crate::listen::ConnInfo;
use crate::snapshot::PortTelemetry;
use crate::telemetry::Outcome;
use crate::telemetry::access_log::record::Extra;
use crate::telemetry::mesh::metadata::{self, FIELDS, MEMORY, METADATA, METADATA_ID};
use crate::telemetry::mesh::{
    Call, Direction, Ended, MeshContext, Messages, Party, RequestProtocol, Security,
};
use crate::telemetry::trace::{self, Span, request_id};
use crate::upstream::Picked;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use sluice_ir as ir;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// [`MEMORY`] of a request: who sends it would say it once.
const ASKED: HeaderValue = HeaderValue::from_static("remember");
/// [`MEMORY`] of an answer: it need not be said again on this connection.
const REMEMBERED: HeaderValue = HeaderValue::from_static("known");

/// What is remembered of one request.
pub(super) struct Observed {
    telemetry: Arc<PortTelemetry>,
    /// Who called, where the own workload is called.
    caller: Option<Arc<Party>>,
    introduced: Introduced,
    request_messages: Messages,
    response_messages: Messages,
    grpc_status: Option<u8>,
    span: Option<Span>,
}

/// Whether the caller's proxy has introduced itself with this request.
#[derive(Clone, Copy)]
enum Introduced {
    No,
    /// As Istio's do: it is told who answers.
    Once,
    /// For all requests of its connection: it is told that they are known.
    ForAll,
}

/// A request's head is there, and its port is known.
pub(super) fn begin(session: &mut Session, context: &mut RequestContext) -> Result<()> {
    let Some(telemetry) = context.port.as_ref().and_then(|port| port.telemetry.clone()) else {
        return Ok(());
    };
    let mut observed = Observed {
        telemetry,
        caller: None,
        introduced: Introduced::No,
        request_messages: Messages::default(),
        response_messages: Messages::default(),
        grpc_status: None,
        span: None,
    };
    let header = session.req_header_mut();
    if (observed.telemetry.mesh.is_some() || observed.telemetry.tracing.is_some())
        && !header.headers.contains_key(REQUEST_ID)
        && let Some(id) = request_id()
    {
        header.insert_header(REQUEST_ID, id)?;
    }
    if let Some(tracing) = &observed.telemetry.tracing {
        let begun = tracing.begin(&header.headers);
        for (name, value) in begun.fields {
            header.insert_header(name, value)?;
        }
        observed.span = begun.span;
    }
    if let (Some(mesh), Some(connection)) = (&observed.telemetry.mesh, &context.connection) {
        if let (Direction::Inbound, Some(identity)) = (mesh.direction, identity(connection)) {
            let (caller, introduced) = caller(connection, identity, &header.headers);
            observed.caller = Some(caller);
            observed.introduced = introduced;
        }
        // Of an application, or of somebody outside, nothing is passed on.
        for name in FIELDS {
            if header.headers.contains_key(&name) {
                header.remove_header(&name);
            }
        }
    }
    context.observed = Some(Box::new(observed));
    Ok(())
}

/// Who calls, as the request says or one before it on the same connection.
fn caller(connection: &ConnInfo, identity: &str, fields: &HeaderMap) -> (Arc<Party>, Introduced) {
    let Some(field) = fields.get(&METADATA) else {
        let known = connection.caller.get().cloned();
        return (known.unwrap_or_else(|| metadata::party(None, identity)), Introduced::No);
    };
    let caller = metadata::party(Some(field), identity);
    if fields.get(&MEMORY) != Some(&ASKED) {
        return (caller, Introduced::Once);
    }
    // A second one at the same time says the same.
    let _ = connection.caller.set(caller.clone());
    (caller, Introduced::ForAll)
}

/// Whom the peer of a connection has proven to be.
fn identity(connection: &ConnInfo) -> Option<&str> {
    connection.peer_identity()
}

/// Tells the proxy of an endpoint that knows us who calls.
pub(super) fn introduce(header: &mut RequestHeader, context: &RequestContext) -> Result<()> {
    let Some(mesh) = mesh_of(context) else { return Ok(()) };
    let (Some(picked), Some(target)) = (&context.picked, context.target()) else { return Ok(()) };
    if mesh.direction == Direction::Inbound || security(&target.backend, picked) != Security::MutualTls {
        return Ok(());
    }
    let peer = context.peer_memory.as_ref();
    if peer.is_some_and(|it| it.knows_us()) {
        return Ok(());
    }
    if let Some(introduction) = &mesh.mesh.introduction {
        header.insert_header(METADATA, introduction.metadata.clone())?;
        header.insert_header(METADATA_ID, introduction.id.clone())?;
        if peer.is_some() {
            header.insert_header(MEMORY, ASKED)?;
        }
    }
    Ok(())
}

/// Whether both ends of a try know each other.
fn security(backend: &ir::Backend, picked: &Picked) -> Security {
    let is_mutual = match backend.mesh {
        ir::MeshTls::Off => false,
        ir::MeshTls::Auto(_) => picked.workload().is_some_and(|it| it.mutual_tls),
        ir::MeshTls::Required(_) => true,
    };
    if is_mutual { Security::MutualTls } else { Security::None }
}

/// The head of an answer, on its way to the client.
pub(super) fn answered(header: &mut ResponseHeader, context: &mut RequestContext) -> Result<()> {
    let Some(observed) = context.observed.as_deref_mut() else { return Ok(()) };
    note_status(&header.headers, observed);
    let Some(mesh) = &observed.telemetry.mesh else { return Ok(()) };
    if let (Direction::Outbound, Some(peer)) = (mesh.direction, &context.peer_memory)
        && header.headers.get(&MEMORY) == Some(&REMEMBERED)
    {
        peer.note();
    }
    for name in FIELDS {
        if header.headers.contains_key(&name) {
            header.remove_header(&name);
        }
    }
    match (observed.introduced, &mesh.mesh.introduction) {
        (Introduced::Once, Some(introduction)) => {
            header.insert_header(METADATA, introduction.metadata.clone())?;
            header.insert_header(METADATA_ID, introduction.id.clone())?;
        }
        (Introduced::ForAll, _) => header.insert_header(MEMORY, REMEMBERED)?,
        (Introduced::Once, None) | (Introduced::No, _) => {}
    }
    Ok(())
}

/// The trailers of an answer.
pub(super) fn trailers(trailers: &HeaderMap, context: &mut RequestContext) {
    if let Some(observed) = context.observed.as_deref_mut() {
        note_status(trailers, observed);
    }
}

fn note_status(fields: &HeaderMap, observed: &mut Observed) {
    let status = fields.get(&GRPC_STATUS).and_then(|it| it.to_str().ok()?.parse().ok());
    // Statuses go to 16; what is more is the backend's own invention.
    observed.grpc_status = status.filter(|it: &u8| *it <= 16).or(observed.grpc_status);
}

/// A piece of a request's body.
pub(super) fn request_body(body: Option<&Bytes>, context: &mut RequestContext) {
    if let (true, Some(body), Some(observed)) = (context.grpc, body, context.observed.as_deref_mut()) {
        observed.request_messages.take(body);
    }
}

/// A piece of an answer's body.
pub(super) fn response_body(body: Option<&Bytes>, context: &mut RequestContext) {
    if let (true, Some(body), Some(observed)) = (context.grpc, body, context.observed.as_deref_mut()) {
        observed.response_messages.take(body);
    }
}

/// How a request ended.
pub(super) struct End<'a> {
    pub(super) header: &'a Parts,
    pub(super) is_http2: bool,
    pub(super) outcome: Outcome,
    /// 0: the client got none.
    pub(super) status: u16,
    pub(super) duration: Duration,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Counts it, and hands its span over.
pub(super) fn ended(end: &End<'_>, context: &RequestContext, now: Instant) {
    let Some(observed) = context.observed.as_deref() else { return };
    if let (Some(span), Some(tracing)) = (&observed.span, &observed.telemetry.tracing) {
        told(end, context, |ended| tracing.end(span, &ended));
    }
    let Some(mesh) = &observed.telemetry.mesh else { return };
    seen::note(mesh, end, context, now);
    let series = mesh.mesh.series(&call(end, mesh, observed, context), now);
    series.ended(&Ended {
        duration: end.duration,
        request_bytes: end.received,
        response_bytes: end.sent,
        request_messages: observed.request_messages.count(),
        response_messages: observed.response_messages.count(),
    });
}

fn call(end: &End<'_>, mesh: &MeshContext, observed: &Observed, context: &RequestContext) -> Call {
    let unknown = || mesh.mesh.unknown().clone();
    let (peer, service, security) = match mesh.direction {
        Direction::Inbound => {
            let tls = context.connection.as_ref().and_then(|it| it.tls.as_ref()?.server_name.as_deref());
            let security = if observed.caller.is_some() { Security::MutualTls } else { Security::None };
            (observed.caller.clone().unwrap_or_else(unknown), mesh.service_of(tls), security)
        }
        Direction::Outbound => {
            let picked = context.picked.as_ref();
            let peer = picked.and_then(|it| it.party(|workload| mesh.mesh.party_of(workload)));
            let target = context.target();
            let service = target.map_or(&mesh.service, |it| it.service()).clone();
            let known = target.zip(picked).map(|(target, picked)| security(&target.backend, picked));
            (peer.cloned().unwrap_or_else(unknown), service, known.unwrap_or(Security::Unknown))
        }
    };
    Call {
        direction: mesh.direction,
        peer,
        service,
        security,
        protocol: if context.grpc { RequestProtocol::Grpc } else { RequestProtocol::Http },
        code: end.status,
        grpc_status: if context.grpc { observed.grpc_status } else { None },
        flags: flags(end, context),
        is_overflow: false,
    }
}

/// A span's view of a request.
fn told(end: &End<'_>, context: &RequestContext, tell: impl FnOnce(trace::Ended<'_>)) {
    let (Some(connection), Some(observed)) = (&context.connection, context.observed.as_deref()) else {
        return;
    };
    let header = end.header;
    let authority = request::authority(header);
    let scheme = if connection.tls.is_some() { "https" } else { "http" };
    let direction = mesh_of(context).map_or(Direction::Outbound, |mesh| mesh.direction);
    let cluster = cluster(context);
    let service = match (direction, context.target(), mesh_of(context)) {
        (Direction::Inbound, _, Some(mesh)) => {
            let name = connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
            Some((mesh.service_of(name), connection.destination().port().to_string()))
        }
        (_, Some(target), _) => Some((target.service().clone(), target.port().to_owned())),
        (_, None, _) => None,
    };
    let name = match service.filter(|(service, _)| !service.host.is_empty()) {
        Some((service, port)) => format!("{}:{port}/*", service.host),
        None => format!("{authority}/*"),
    };
    tell(trace::Ended {
        direction,
        name,
        headers: &header.headers,
        method: header.method.as_str(),
        url: format!("{scheme}://{authority}{}", header.uri.path()),
        protocol: if end.is_http2 { "HTTP/2" } else { "HTTP/1.1" },
        status: end.status,
        grpc_status: observed.grpc_status,
        flags: flags(end, context),
        request_bytes: end.received,
        response_bytes: end.sent,
        cluster: cluster.as_deref(),
        client: connection.peer,
        endpoint: context.picked.as_ref().map(|it| it.address),
    });
}

/// Envoy's flags for a request.
pub(super) fn flags(end: &End<'_>, context: &RequestContext) -> &'static str {
    end.outcome.flags(is_last_try(end, context))
}

/// Whether a retry policy had no try left for what it would have tried again.
fn is_last_try(end: &End<'_>, context: &RequestContext) -> bool {
    let Some(retry) = context.rule.as_ref().and_then(|rule| rule.retry()) else { return false };
    let is_listed = end.outcome != Outcome::Served || retry.codes.contains(&end.status);
    context.attempts > retry.attempts && is_listed
}

fn mesh_of(context: &RequestContext) -> Option<&MeshContext> {
    context.observed.as_ref()?.telemetry.mesh.as_ref()
}

/// The backend in Envoy's words: of an inbound call the workload's port.
fn cluster(context: &RequestContext) -> Option<Cow<'_, str>> {
    let is_inbound = mesh_of(context).is_some_and(|mesh| mesh.direction == Direction::Inbound);
    match (is_inbound, &context.connection) {
        (true, Some(connection)) => Some(format!("inbound|{}||", connection.destination().port()).into()),
        _ => context.target().map(|it| it.cluster().into()),
    }
}

/// What only Istio's form of the access log has.
pub(super) fn extra<'a>(form: ir::AccessLog, end: &End<'a>, context: &'a RequestContext) -> Extra<'a> {
    if form != ir::AccessLog::IstioJson {
        return Extra::default();
    }
    let field = end.header.headers.get("x-forwarded-for");
    Extra {
        cluster: cluster(context),
        local: context.connection.as_ref().map(|it| it.destination()),
        upstream_local: context.upstream_local,
        forwarded_for: field.map(|it| it.as_bytes()),
        is_last_try: is_last_try(end, context),
        code_details: context.judged.as_ref().and_then(|it| it.code_details()).map(Cow::Owned),
    }
}
