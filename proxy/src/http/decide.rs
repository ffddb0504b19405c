//! From a request's head to a rule, or to the answer in its place. Pure: `sluice explain` runs the same function.

use crate::snapshot::{ListenerRuntime, Port, RouteRuntime};
use crate::telemetry::Outcome;
use http::HeaderMap;
use sluice_ir::{HostPattern, ListenerProtocol};
use sluice_route::{Found, Miss, Request, host, path, readings};
use std::borrow::Cow;
use std::net::IpAddr;
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
    /// Whether a target in absolute form is one of `https`.
    pub is_https_target: bool,
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
    let path = readings::written(path, port.gateway.settings.paths);
    let Some(listener) = port.listener(&host) else {
        return Decision::Answer(Outcome::NoListener);
    };
    if misdirected(port, listener, request.server_name) {
        return Decision::Answer(Outcome::Misdirected);
    }
    let wanted = Request {
        host: &host,
        path: &path,
        query: request.query,
        method: request.method,
        headers: request.headers,
    };
    let found = if listener.listener.protocol == ListenerProtocol::ForwardProxy {
        if is_disguised_address(&host) || request.is_https_target {
            return Decision::Answer(Outcome::EgressRefused);
        }
        // Routes of forward proxies are for HOST:PORT, or for a network. What a ServiceEntry's own routes don't take must
        // not go by the way of another one.
        let port = port_of.unwrap_or(80);
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let find = |name: &str| listener.table.find_most_specific(&Request { host: name, ..wanted });
        let known = sluice_ir::destination_names(&host, port).find_map(|name| match find(&name) {
            Err(Miss::Host) => None,
            // What is for every name is for no address.
            Ok(found) if is_address && *found.hostname == HostPattern::Any => None,
            other => Some(other),
        });
        match known {
            Some(found) => found.map_err(|_| Outcome::NoRoute),
            None => Err(Outcome::EgressRefused),
        }
    } else {
        listener.table.find(&wanted).map_err(|_| Outcome::NoRoute)
    };
    match found {
        Ok(found) => Decision::Rule(Matched { listener, found, host, path }),
        Err(outcome) => Decision::Answer(outcome),
    }
}

/// Whether a host is no IP address as it is written, but one that some resolvers take it for: `127.1`, `0x7f000001`,
/// `2130706433`. No name ends with a number (RFC 3696 §2).
pub(crate) fn is_disguised_address(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return false;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_hex =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
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

#[cfg(test)]
mod tests {
    use super::is_disguised_address;

    #[test]
    fn what_a_resolver_may_take_for_an_address_is_one() {
        for host in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "1.2.3.0x4", "1.2.3.4.5"] {
            assert!(is_disguised_address(host), "{host}");
        }
        for host in [
            "example.com",
            "1.example.com",
            "a1",
            "0x.example.com",
            "127.0.0.1.example.com",
            "127.0.0.1",
            "::1",
            "",
        ] {
            assert!(!is_disguised_address(host), "{host}");
        }
    }
}
