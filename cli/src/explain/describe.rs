//! Words for parts of the IR.

use sluice_ir::{
    AskedHosts, AuthProtocol, Authorizer, BackendProtocol, BackendTarget, Balancing, Cors, CorsOrigin,
    Endpoint, EndpointAddress, EndpointState, Filter, HeaderEdit, Listener, ListenerProtocol, Match,
    PathEdit, PathMatch, Redirect, Retry, Rewrite, SessionPersistence, SessionToken, Settings, StringMatch,
    Timeouts,
};
use std::time::Duration;

pub(super) fn listener(it: &Listener) -> String {
    let protocol = match &it.protocol {
        ListenerProtocol::Http => "HTTP",
        ListenerProtocol::Https(_) => "HTTPS",
        ListenerProtocol::TlsPassthrough => "TLS, passed through",
        ListenerProtocol::TlsTerminate(_) => "TLS, ended here",
        ListenerProtocol::Tcp => "TCP",
        ListenerProtocol::Udp => "UDP",
        ListenerProtocol::Detect => "detected",
        ListenerProtocol::ForwardProxy => "forward proxy",
    };
    let addresses: Vec<_> = it.addresses.iter().map(ToString::to_string).collect();
    let addresses =
        if addresses.is_empty() { String::new() } else { format!(" on {}", addresses.join(", ")) };
    format!("{} (port {}{addresses}, {protocol}, host {})", it.origin, it.port, it.hostname)
}

pub(super) fn matching(it: &Match) -> String {
    let mut parts = vec![match &it.path {
        PathMatch::Exact(path) => format!("path is {path}"),
        PathMatch::Prefix(path) if **path == *"/" => "every path".to_owned(),
        PathMatch::Prefix(path) => format!("path is {path} or below"),
        PathMatch::Regex(expression) => format!("path matches {expression}"),
        PathMatch::Grpc(method) => {
            let part = |name: &str, it: &Option<StringMatch>| match it {
                Some(it) => format!("{name} {}", value(it)),
                None => format!("every {name}"),
            };
            format!("gRPC {}, {}", part("service", &method.service), part("method", &method.method))
        }
    }];
    parts.extend(it.method.iter().map(|method| format!("method is {method}")));
    parts.extend(it.headers.iter().map(|header| format!("header {} {}", header.name, value(&header.value))));
    parts.extend(
        it.query.iter().map(|query| format!("query parameter {} {}", query.name, value(&query.value))),
    );
    parts.join(", ")
}

fn value(it: &StringMatch) -> String {
    match it {
        StringMatch::Exact(exact) => format!("is {exact:?}"),
        StringMatch::Regex(expression) => format!("matches {expression}"),
    }
}

pub(super) fn filter(it: &Filter) -> String {
    match it {
        Filter::RequestHeaders(edit) => format!("request headers: {}", edits(edit)),
        Filter::ResponseHeaders(edit) => format!("response headers: {}", edits(edit)),
        Filter::Redirect(it) => redirect(it),
        Filter::Rewrite(it) => rewrite(it),
        Filter::Mirror(it) => {
            let target = match &it.target {
                BackendTarget::Backend(key) => key.to_string(),
                BackendTarget::Fail(fail) => format!("nowhere: {}", fail.reason),
            };
            let fraction = it.fraction;
            let share = f64::from(fraction.numerator) * 100.0 / f64::from(fraction.denominator.max(1));
            format!("mirror {} % of the requests to {target}", rounded(share))
        }
        Filter::Cors(it) => cors(it),
        Filter::ExternalAuth(it) => authorizer(it),
        Filter::Fail(fail) => {
            format!("does not resolve: {}; every request gets {}", fail.reason, fail.status)
        }
    }
}

/// Who is asked whether a request may go on, and what becomes of it otherwise.
pub(super) fn authorizer(it: &Authorizer) -> String {
    let key = match &it.target {
        BackendTarget::Fail(fail) => {
            return format!("every request gets {}: {}", it.failure_status, fail.reason);
        }
        BackendTarget::Backend(key) => key,
    };
    let protocol = match &it.protocol {
        AuthProtocol::Http { prefix, .. } if prefix.is_empty() => "HTTP".to_owned(),
        AuthProtocol::Http { prefix, .. } => format!("HTTP below {prefix}"),
        AuthProtocol::Grpc { .. } => "gRPC".to_owned(),
    };
    let body = match it.body_bytes {
        0 => String::new(),
        most => format!(", with bodies up to {most} bytes"),
    };
    let (time, failure) = (duration(it.timeout), it.failure_status);
    let silent = match it.allows_on_failure {
        true => format!("without an answer in {time} requests go on"),
        false => format!("without an answer in {time} requests get {failure}"),
    };
    format!("authoriser {key} is asked in {protocol}{body}; {silent}")
}

fn edits(it: &HeaderEdit) -> String {
    let mut parts: Vec<_> =
        it.set.iter().map(|field| format!("set {}: {}", field.name, field.value)).collect();
    parts.extend(it.add.iter().map(|field| format!("add {}: {}", field.name, field.value)));
    parts.extend(it.remove.iter().map(|name| format!("remove {name}")));
    parts.join(", ")
}

fn path_edit(it: &PathEdit) -> String {
    match it {
        PathEdit::Full(path) => format!("path {path}"),
        PathEdit::Prefix(prefix) => format!("matched prefix {prefix}"),
    }
}

fn redirect(it: &Redirect) -> String {
    let mut parts: Vec<_> = it.scheme.iter().map(|scheme| format!("scheme {scheme}")).collect();
    parts.extend(it.hostname.iter().map(|host| format!("host {host}")));
    parts.extend(it.port.iter().map(|port| format!("port {port}")));
    parts.extend(it.path.iter().map(path_edit));
    format!("redirect with {} to {}", it.status, parts.join(", "))
}

fn rewrite(it: &Rewrite) -> String {
    let mut parts: Vec<_> = it.hostname.iter().map(|host| format!("host {host}")).collect();
    parts.extend(it.path.iter().map(path_edit));
    format!("rewrite to {}", parts.join(", "))
}

fn cors(it: &Cors) -> String {
    let origins: Vec<_> = it
        .allow_origins
        .iter()
        .map(|origin| match origin {
            CorsOrigin::Any => "*".to_owned(),
            CorsOrigin::Exact(origin) => origin.clone(),
            CorsOrigin::Wildcard { scheme, suffix } => format!("{scheme}*{suffix}"),
        })
        .collect();
    let credentials = if it.allow_credentials { ", with credentials" } else { "" };
    format!("CORS for origins {}, methods {}{credentials}", origins.join(", "), it.allow_methods.join(", "))
}

pub(super) fn protocol(it: BackendProtocol) -> &'static str {
    match it {
        BackendProtocol::Http1 => "HTTP/1.1",
        BackendProtocol::H2c => "HTTP/2 without TLS",
        BackendProtocol::Tcp => "TCP",
        BackendProtocol::Udp => "UDP",
    }
}

/// Endpoints that only clients name; `None`: there are none at a gateway, where no connection is captured.
pub(super) fn asked(asked: &AskedHosts) -> Option<String> {
    let AskedHosts { names, networks, port, original: _ } = asked;
    let port = if *port == 0 { "the one that is named".to_owned() } else { port.to_string() };
    let mut ways = Vec::new();
    if let Some(names) = names {
        ways.push(format!("the host that the client names, within {names}, looked up, port {port}"));
    }
    if !networks.is_empty() {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let networks = networks.join(", ");
        ways.push(format!(
            "the address that a client of a forward proxy names, within {networks}, port {port}"
        ));
    }
    (!ways.is_empty()).then(|| ways.join("; "))
}

pub(super) fn endpoint(it: &Endpoint) -> String {
    let address = match &it.address {
        EndpointAddress::Socket(address) => address.to_string(),
        EndpointAddress::Dns { host, port } => format!("{host}:{port} (all its addresses)"),
    };
    let state = match it.state {
        EndpointState::Ready => "ready",
        EndpointState::Draining => "draining",
    };
    let weight = if it.weight == 1 { String::new() } else { format!(", weight {}", it.weight) };
    let place = it.topology.as_ref().map(|it| it.locality.to_string()).filter(|it| !it.is_empty());
    let place = place.map(|it| format!(", in {}", it.trim_start_matches('/'))).unwrap_or_default();
    format!("{address} {state}{weight}{place}")
}

pub(super) fn timeouts(it: &Timeouts) -> Vec<String> {
    let request = it.request.map(|time| format!("timeout {} for the request", duration(time)));
    let backend = it.backend_request.map(|time| format!("timeout {} for each try", duration(time)));
    request.into_iter().chain(backend).collect()
}

pub(super) fn retry(it: &Retry) -> String {
    let codes: Vec<_> = it.codes.iter().map(ToString::to_string).collect();
    let codes = if codes.is_empty() {
        "connection errors".to_owned()
    } else {
        format!("status {} and connection errors", codes.join(", "))
    };
    format!("retry up to {} times on {codes}, at least {} apart", it.attempts, duration(it.backoff))
}

pub(super) fn session(it: &SessionPersistence) -> String {
    let token = match it.token {
        SessionToken::SessionCookie => "session cookie",
        SessionToken::PermanentCookie => "permanent cookie",
        SessionToken::Header => "header",
    };
    let end = it.absolute_timeout.map(|time| format!(" for at most {}", duration(time))).unwrap_or_default();
    format!("sessions kept at their endpoint by the {token} {:?}{end}", it.name)
}

pub(super) fn balancing(it: Balancing) -> &'static str {
    match it {
        Balancing::LeastRequest => "the endpoint with fewer requests in flight of two at random",
        Balancing::RoundRobin => "endpoints in turn",
        Balancing::Random => "any endpoint",
    }
}

pub(super) fn settings(it: &Settings) -> Vec<String> {
    let (balancing, time) = (balancing(it.balancing), duration(it.limits.connect_timeout));
    let mut lines = vec![format!("balancing: {balancing}; {time} to connect")];
    if it.eject_after_failures > 0 {
        let (failures, time) = (it.eject_after_failures, duration(it.eject_for));
        lines.push(format!("an endpoint rests {time} after {failures} failures in a row"));
    }
    lines
}

/// `1.5s`, `200ms`, `1m30s`.
pub(super) fn duration(it: Duration) -> String {
    let (minutes, seconds, ms) = (it.as_secs() / 60, it.as_secs() % 60, it.subsec_millis());
    let mut text = String::new();
    for (number, unit) in [(minutes, "m"), (seconds, "s"), (u64::from(ms), "ms")] {
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// One decimal, left out when it is 0.
pub(super) fn rounded(share: f64) -> String {
    let text = format!("{share:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
