//! The way in: decide, answer what is answered here, prepare the request that the backend sees.

use super::context::RequestContext;
use super::decide::{Decision, RequestView, decide};
use super::failure::failure;
use super::filters::set_target;
use super::redirect::{RedirectInput, location};
use super::rewrite::path_and_query;
use super::{
    Cors, authorization, cache, client_certificate, concurrency, cookies, decompression, forwarded, jwt,
    mesh, observe, policy,
};
use crate::auth::Denied;
use crate::listen::{ConnInfo, Destination};
use crate::snapshot::{MirrorRuntime, Port, RuleHandle, RuleRuntime, Runtime};
use crate::telemetry::Outcome;
use crate::telemetry::mesh::metadata::FIELDS;
use crate::upstream::{MirrorClient, MirrorRequest};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use sluice_ir as ir;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Where a request goes after the first phase.
pub(super) enum Next {
    /// To an endpoint.
    Forward,
    /// First [`authorization::ask`], then [`admit`].
    Ask,
    /// First [`jwt::wait`], then [`take`].
    Authenticate,
    /// First [`policy::wait`], then [`go_on`].
    Wait,
    /// First the control plane is asked for this, then the same again.
    Learn(Destination),
    /// Answered with the outcome's own status.
    Answer(Outcome),
    /// Denied by an authoriser, with its answer.
    Denied(Box<Denied>),
    /// Refused with these statuses and fields.
    Refuse { outcome: Outcome, status: u16, grpc_status: u8, fields: Vec<(HeaderName, HeaderValue)> },
    /// Answered with this status, these fields and this text: redirects, preflights, challenges.
    Text { outcome: Outcome, status: u16, fields: Vec<(HeaderName, HeaderValue)>, body: String },
}

/// Finds out who asks, then takes the request.
pub(super) fn filter(
    runtime: &ArcSwap<Runtime>,
    session: &mut Session,
    context: &mut RequestContext,
) -> Result<Next> {
    let Some(connection) = connection_of(session) else { return Ok(Next::Answer(Outcome::Internal)) };
    context.grpc = is_grpc(session.req_header());
    if session.is_http2() {
        cookies::join(session.req_header_mut())?;
    }
    context.connection = Some(connection.clone());
    let port = match connection.captured {
        None => runtime.load().ports.get(&connection.port).cloned(),
        Some(captured) => match mesh::port(&runtime.load(), captured, session.req_header(), context) {
            mesh::Found::Port(port) => port,
            mesh::Found::Elsewhere(next) => {
                observe::begin(session, context)?;
                return Ok(next);
            }
        },
    };
    let Some(port) = port else { return Ok(Next::Answer(Outcome::NoListener)) };
    context.port = Some(port.clone());
    observe::begin(session, context)?;
    if let Some(refused) = mesh::refusal(runtime, &connection) {
        session.set_keepalive(None);
        return Ok(Next::Answer(refused));
    }
    bound_times(session, &port.gateway.settings.limits);
    if let Some(body) = challenge(&port, session.req_header()) {
        return Ok(Next::Text { outcome: Outcome::Challenge, status: 200, fields: Vec::new(), body });
    }
    if let Some(authenticator) = &port.authentication
        && let Some(next) = jwt::check(authenticator, session.req_header_mut(), context)?
    {
        return Ok(next);
    }
    take(session, context)
}

/// Finds the rule of a request that is known, and asks whom AuthorizationPolicies want to be asked.
pub(super) fn take(session: &mut Session, context: &mut RequestContext) -> Result<Next> {
    let (Some(port), Some(connection)) = (context.port.clone(), context.connection.clone()) else {
        return Ok(Next::Answer(Outcome::Internal));
    };
    context.unrouted = route(&port, &connection, session.req_header_mut(), context)?.err();
    if context.may_be_authorized() && authorization::asks((&port, &connection), session.req_header(), context)
    {
        return Ok(Next::Ask);
    }
    Ok(admit(session, context))
}

/// The rest of the first phase, when whoever AuthorizationPolicies have asked has spoken: runs the filters that answer.
pub(super) fn admit(session: &mut Session, context: &mut RequestContext) -> Next {
    let (Some(port), Some(connection)) = (context.port.clone(), context.connection.clone()) else {
        return Next::Answer(Outcome::Internal);
    };
    if context.may_be_authorized()
        && let Some(next) = authorization::refusal((&port, &connection), session.req_header(), context)
    {
        return next;
    }
    let limits = context.policy.as_ref().and_then(|policy| policy.limits());
    context.body_limit =
        limits.and_then(|it| it.request_body_bytes).or(port.gateway.settings.limits.request_body_bytes);
    let held = context.policy.clone();
    if let Some(policy) = &held
        && let Some(next) = policy::refusal(policy, (&port, &connection), session.req_header(), context)
    {
        return next;
    }
    if too_large(session.req_header(), context.body_limit) {
        session.set_keepalive(None);
        return Next::Answer(Outcome::BodyTooLarge);
    }
    match context.rule.clone() {
        Some(rule) if rule.authorizer().is_some() => Next::Wait,
        Some(_) if held.as_ref().is_some_and(|policy| policy.waits()) => Next::Wait,
        Some(rule) => answered_by_rule(&port, &connection, &rule, session.req_header(), context),
        None => Next::Answer(context.unrouted.unwrap_or(Outcome::Internal)),
    }
}

/// The rest of the way in of a request that had to wait.
pub(super) fn go_on(session: &Session, context: &mut RequestContext) -> Next {
    let (Some(port), Some(connection), Some(rule)) =
        (context.port.clone(), context.connection.clone(), context.rule.clone())
    else {
        return Next::Answer(Outcome::Internal);
    };
    answered_by_rule(&port, &connection, &rule, session.req_header(), context)
}

/// The answer to a certificate authority, whatever the routes say of the path.
fn challenge(port: &Port, header: &RequestHeader) -> Option<String> {
    let path = header.uri.path();
    if !port.challenges.concerns(path) || !matches!(header.method, Method::GET | Method::HEAD) {
        return None;
    }
    let (host, _) = sluice_route::host::host_of(authority(header)).ok()?;
    port.challenges.http(&host, path).map(str::to_owned)
}

fn connection_of(session: &Session) -> Option<Arc<ConnInfo>> {
    ConnInfo::of(session.digest()?).cloned()
}

/// gRPC over HTTP/2, Requests: `content-type` begins with `application/grpc`.
fn is_grpc(header: &RequestHeader) -> bool {
    header
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn bound_times(session: &mut Session, limits: &ir::Limits) {
    session.set_read_timeout(Some(limits.stream_idle_timeout));
    session.set_write_timeout(Some(limits.stream_idle_timeout));
}

fn too_large(header: &RequestHeader, limit: Option<u64>) -> bool {
    let Some(limit) = limit else { return false };
    let announced = header.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    announced.and_then(|value| value.parse::<u64>().ok()).is_some_and(|announced| announced > limit)
}

/// Finds the rule and brings the target to its normal form: origin-form, normalised path.
fn route(
    port: &Port,
    connection: &ConnInfo,
    header: &mut RequestHeader,
    context: &mut RequestContext,
) -> Result<std::result::Result<RuleHandle, Outcome>> {
    let full_host = context.full_host.clone();
    let view = RequestView {
        method: header.method.as_str(),
        authority: full_host.as_deref().unwrap_or_else(|| authority(header)),
        path: header.uri.path(),
        query: header.uri.query(),
        headers: &header.headers,
        is_https_target: is_https(header),
        server_name: connection.tls.as_ref().map(|tls| tls.server_name.as_deref()),
    };
    let matched = match decide(port, view) {
        Decision::Rule(matched) => matched,
        Decision::Answer(outcome) => return Ok(Err(outcome)),
    };
    let rule = RuleHandle::of(&matched.found);
    context.policy = rule.policy(matched.listener).cloned();
    context.listener = Some(matched.listener.clone());
    context.matched_prefix = matched.found.matched_prefix_len;
    let absolute = !header.raw_path().starts_with(b"/") && header.raw_path() != b"*";
    if absolute || matches!(matched.path, std::borrow::Cow::Owned(_)) {
        let target = path_and_query(&matched.path, header.uri.query());
        set_target(header, &target)?;
    }
    context.rule = Some(rule.clone());
    Ok(Ok(rule))
}

/// Whether a target says `https`: in absolute form, or by its scheme in HTTP/2.
fn is_https(header: &RequestHeader) -> bool {
    let start = header.raw_path().get(..8);
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"https://"))
        || header.uri.scheme_str() == Some("https")
}

/// `:authority` of HTTP/2, else Host.
pub(super) fn authority(header: &Parts) -> &str {
    match header.uri.authority() {
        Some(authority) => authority.as_str(),
        None => header.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default(),
    }
}

/// Runs the filters that answer, then chooses the backend.
fn answered_by_rule(
    port: &Port,
    connection: &ConnInfo,
    rule: &RuleRuntime,
    header: &RequestHeader,
    context: &mut RequestContext,
) -> Next {
    if rule.fail().is_some() {
        return Next::Answer(Outcome::InvalidFilter);
    }
    if let Some(cors) = rule.cors()
        && Cors::is_preflight(&header.method, &header.headers)
    {
        let (status, fields) = cors.preflight(&header.headers);
        return Next::Text { outcome: Outcome::Preflight, status, fields, body: String::new() };
    }
    if let Some(redirect) = rule.redirect() {
        return redirected(port, connection, redirect, header, context);
    }
    let now = context.started;
    context.deadline = context.timeouts().request.and_then(|timeout| now.checked_add(timeout));
    choose_backend(rule, header, context)
}

fn redirected(
    port: &Port,
    connection: &ConnInfo,
    redirect: &ir::Redirect,
    header: &RequestHeader,
    context: &RequestContext,
) -> Next {
    let (host, asked_port) = sluice_route::host::host_of(authority(header)).unwrap_or_default();
    // The port of a forward proxy is none of the destination's.
    let listener_port = if is_forward_proxy(context) { asked_port.unwrap_or(80) } else { port.port };
    let input = RedirectInput {
        tls: connection.tls.is_some(),
        host: &host,
        listener_port,
        path: header.uri.path(),
        query: header.uri.query(),
        matched: context.matched_prefix,
    };
    match HeaderValue::from_str(&location(redirect, input)) {
        Ok(location) => Next::Text {
            outcome: Outcome::Redirected,
            status: redirect.status,
            fields: vec![(header::LOCATION, location)],
            body: String::new(),
        },
        Err(_) => Next::Answer(Outcome::InvalidFilter),
    }
}

/// A session's endpoint wins over weights, also over weight 0 (GEP-1619).
fn choose_backend(rule: &RuleRuntime, header: &RequestHeader, context: &mut RequestContext) -> Next {
    context.session = rule.sessions().and_then(|sessions| sessions.read(&header.headers, SystemTime::now()));
    let held = context.session.as_ref().and_then(|session| {
        rule.backends
            .iter()
            .position(|backend| backend.target.as_ref().is_ok_and(|backend| backend.pool.holds(session)))
    });
    let Some(chosen) = held.or_else(|| rule.weights.next()) else {
        return Next::Answer(Outcome::NoBackend);
    };
    context.backend = chosen;
    let Some(Ok(target)) = rule.backends.get(chosen).map(|backend| backend.target.as_ref()) else {
        return Next::Answer(Outcome::InvalidBackend);
    };
    let Some(permit) = target.permits.try_acquire() else { return Next::Answer(Outcome::Overloaded) };
    if let Some(circuit) = &target.circuit {
        let Some(admission) = circuit.admit() else { return Next::Answer(Outcome::Overflow) };
        context.admission = Some(admission);
    }
    context.permit = Some(permit);
    match concurrency::admit(context) {
        Ok(()) => Next::Forward,
        Err(outcome) => Next::Answer(outcome),
    }
}

/// Applies the filters of rule and backendRef and tells the backend of the client.
pub(super) fn for_backend(
    session: &mut Session,
    header: &mut RequestHeader,
    context: &mut RequestContext,
) -> Result<()> {
    introduce(session.req_header(), header, context)?;
    jwt::strip(header, context)?;
    let Some(rule) = &context.rule else { return Err(failure(context, Outcome::Internal)) };
    let of_backend = rule.backends.get(context.backend).and_then(|backend| backend.filters());
    for filters in rule.filters().into_iter().chain(of_backend) {
        filters.request(header, context.matched_prefix)?;
    }
    observe::introduce(header, context)?;
    cache::for_backend(session, header, context);
    decompression::begin(session, header, context)
}

/// Tells whoever gets the request of the client, in place of what the client says of itself.
pub(super) fn introduce(
    request: &RequestHeader,
    header: &mut RequestHeader,
    context: &RequestContext,
) -> Result<()> {
    let (Some(port), Some(connection)) = (&context.port, &context.connection) else {
        return Err(Error::explain(ErrorType::InternalError, "a request without a connection"));
    };
    if connection.captured.is_some() {
        // A sidecar is no hop that anybody knows of: what the application says of its clients stays.
        return client_certificate::set_of_mesh(header, connection);
    }
    if is_forward_proxy(context) {
        // Who asks is nobody's affair out there; the proxy's own fields end here (RFC 9110 §7.6.1, §11.7.1).
        for name in [header::PROXY_AUTHORIZATION.as_str(), "proxy-connection"] {
            header.remove_header(name);
        }
    } else {
        forwarded::set(
            header,
            forwarded::Downstream {
                peer: &connection.peer_field,
                tls: connection.tls.is_some(),
                request,
                port: &port.port_field,
                trusted_hops: port.gateway.settings.trusted_hops,
            },
        )?;
    }
    let told = &port.gateway.settings.client_certificate_header;
    client_certificate::set(header, connection.client_certificate.as_ref(), told)
}

/// Whether the client named its destination itself.
pub(super) fn is_forward_proxy(context: &RequestContext) -> bool {
    let listener = context.listener.as_ref();
    listener.is_some_and(|it| it.listener.protocol == ir::ListenerProtocol::ForwardProxy)
}

/// Starts the copies, once a request, with the first try that has a connection: a retry copies nothing. What becomes
/// another protocol (WebSocket) is not copied.
pub(super) fn start_mirrors(
    client: &MirrorClient,
    session: &mut Session,
    header: &RequestHeader,
    context: &mut RequestContext,
) {
    let copied = std::mem::replace(&mut context.is_copied, true);
    if copied || session.is_upgrade_req() {
        return;
    }
    let Some(rule) = context.rule.clone() else { return };
    let of_backend = rule.backends.get(context.backend).map(|backend| backend.mirrors()).unwrap_or_default();
    for mirror in rule.mirrors().iter().chain(of_backend) {
        if mirror.sampler.take() {
            context.mirrors.extend(start_mirror(client, mirror, header, !session.is_body_empty(), context));
        }
    }
}

fn start_mirror(
    client: &MirrorClient,
    mirror: &MirrorRuntime,
    header: &RequestHeader,
    has_body: bool,
    context: &RequestContext,
) -> Option<crate::upstream::MirrorBody> {
    let gateway = &context.port.as_ref()?.gateway;
    // A backend that wants to be told of each client, or is behind a proxy, gets no copies: many share a connection.
    let policy = mirror.backend.backend.policy.as_deref();
    if policy.is_some_and(|it| it.proxy_header.is_some() || it.tunnel.is_some()) {
        return None;
    }
    let picked = mirror.backend.pool.pick_by(mirror.backend.choice(&gateway.settings), &[], None)?;
    // A backend that can't be spoken to gets no copies; the log has said why.
    let tls = match mirror.backend.mesh_client(&picked).ok()? {
        Some(client) => Some(client),
        None => mirror.backend.client(gateway).ok()?.cloned(),
    };
    let mut headers = header.headers.clone();
    // Who gets a copy may be outside the mesh.
    for name in FIELDS {
        headers.remove(&name);
    }
    Some(client.start(MirrorRequest {
        address: picked.address,
        tls,
        protocol: mirror.backend.backend.protocol,
        method: header.method.clone(),
        uri: header.uri.clone(),
        headers,
        has_body,
    }))
}

/// Counts, bounds and unpacks the body and feeds the copies. A further try begins with what was kept of the body: that is
/// counted and copied already, what comes after it is not.
pub(super) fn body(
    body: &mut Option<Bytes>,
    end_of_stream: bool,
    context: &mut RequestContext,
) -> Result<()> {
    if let Some(overdue) = context.overdue(Instant::now()) {
        return Err(failure(context, overdue));
    }
    if let Some(bytes) = body.as_ref() {
        context.count(bytes);
        if !context.upgraded && context.body_limit.is_some_and(|limit| context.request_body_bytes > limit) {
            return Err(failure(context, Outcome::BodyTooLarge));
        }
    }
    observe::request_body(body.as_ref(), context);
    decompression::body(body, end_of_stream, context)?;
    if let Some(bytes) = body.as_ref().filter(|_| !context.mirrors.is_empty()) {
        let uncopied = context.uncopied(bytes);
        for mirror in context.mirrors.iter_mut().filter(|_| !uncopied.is_empty()) {
            mirror.send(uncopied.clone());
        }
    }
    if end_of_stream {
        context.mirrors.drain(..).for_each(crate::upstream::MirrorBody::finish);
    }
    Ok(())
}
