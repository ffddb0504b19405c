//! From a request's head to a rule, or to the answer in its place. Pure: `sluice explain` runs the same function.

use crate::snapshot::{ListenerRuntime, Port, RouteRuntime};
use crate::telemetry::Outcome;
use http::HeaderMap;
use sluice_ir::ListenerProtocol;
use sluice_route::{Found, Request, host, path};
use std::borrow::Cow;
use std::sync::Arc;

/// The parts of a request that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// Upper case.
    pub method: &'a str,
    /// Host header, or `:authority`.
    pub authority: &'a str,
    /// As the client sent it.
    pub path: &'a str,
    /// As the client sent it, without `?`.
    pub query: Option<&'a str>,
    /// All fields.
    pub headers: &'a HeaderMap,
    /// Server name of the TLS handshake (lower case); `None` within `Some`: TLS without a name.
    pub server_name: Option<Option<&'a str>>,
}

/// What happens to a request.
pub enum Decision<'p, 'a> {
    /// A rule takes it.
    Rule(Matched<'p, 'a>),
    /// It is answered here.
    Answer(Outcome),
}

/// A rule and how it was found.
pub struct Matched<'p, 'a> {
    /// The listener.
    pub listener: &'p Arc<ListenerRuntime>,
    /// The rule and the match.
    pub found: Found<'p, RouteRuntime>,
    /// Host without port, lower case.
    pub host: Cow<'a, str>,
    /// Normalised path: matched here and forwarded to the backend alike, so that both see the same.
    pub path: Cow<'a, str>,
}

/// Decides for a request of `port`. Allocates only when host or path must be rewritten to their normal form.
pub fn decide<'p, 'a>(port: &'p Port, request: RequestView<'a>) -> Decision<'p, 'a> {
    let Ok((host, port_of)) = host::host_of(request.authority) else {
        return Decision::Answer(Outcome::BadRequest);
    };
    let Ok(path) = path::normalize(request.path) else {
        return Decision::Answer(Outcome::BadRequest);
    };
    let Some(listener) = port.listener(&host) else {
        return Decision::Answer(Outcome::NoListener);
    };
    if misdirected(port, listener, request.server_name) {
        return Decision::Answer(Outcome::Misdirected);
    }
    let is_forward = listener.listener.protocol == ListenerProtocol::ForwardProxy;
    // Routes of forward proxies are for HOST:PORT.
    let named = is_forward.then(|| format!("{host}:{}", port_of.unwrap_or(80)));
    let wanted = Request {
        host: named.as_deref().unwrap_or(&host),
        path: &path,
        query: request.query,
        method: request.method,
        headers: request.headers,
    };
    match listener.table.find(&wanted) {
        Ok(found) => Decision::Rule(Matched { listener, found, host, path }),
        Err(_) if is_forward => Decision::Answer(Outcome::EgressRefused),
        Err(_) => Decision::Answer(Outcome::NoRoute),
    }
}

/// GEP-3567: a connection that was opened for one listener's name carries no requests of another listener.
fn misdirected(port: &Port, listener: &Arc<ListenerRuntime>, server_name: Option<Option<&str>>) -> bool {
    match server_name {
        None => false,
        Some(name) => {
            !port.listener(name.unwrap_or_default()).is_some_and(|opened| Arc::ptr_eq(opened, listener))
        }
    }
}
