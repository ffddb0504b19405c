//! One line of an access log: a call, or nothing.
//!
//! Sluice's own records (docs/reference/access-log.md) and those with Envoy's field names, also with the caller in
//! `downstream_peer_uri_san` or `source_principal`, where somebody has added that to Envoy's format.

use super::observed::{Call, Destination, without_scheme};
use serde_json::{Map, Value};
use sluice_proxy::telemetry::Outcome;
use sluice_proxy::telemetry::seen::{CallResult, OutsideProtocol};

/// What a line is.
#[derive(Debug)]
pub(super) enum Seen {
    Call(Call),
    /// A call that was refused, that met nothing, or that the caller got wrong.
    Refused,
    Nothing,
}

pub(super) fn read(line: &[u8]) -> Seen {
    let Ok(Value::Object(record)) = serde_json::from_slice::<Value>(line) else { return Seen::Nothing };
    let text =
        |name: &str| record.get(name).and_then(Value::as_str).filter(|it| !it.is_empty() && *it != "-");
    if !is_answered(&record, text("outcome")) {
        return Seen::Refused;
    }
    let protocol = text("protocol").unwrap_or_default();
    let is_stream = matches!(protocol, "TLS" | "TCP") || text("method").is_none();
    let Some(to) = destination(&record, is_stream) else { return Seen::Nothing };
    let method = text("method").unwrap_or_default().to_owned();
    let path = text("path").unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    if !is_stream && !path.starts_with('/') {
        return Seen::Nothing;
    }
    let is_grpc = text("grpc_status").is_some() || record.get("grpc_status").is_some_and(Value::is_number);
    let caller =
        ["client_identity", "source_principal", "downstream_peer_uri_san"].iter().find_map(|it| text(it));
    let caller = caller.map(without_scheme);
    let (method, path) = if is_stream { (String::new(), String::new()) } else { (method, path) };
    Seen::Call(Call { to, caller: caller.filter(|it| it != "unknown"), method, path, is_grpc })
}

/// Whether somebody answered: by the outcome, where Sluice wrote it, and by the status.
fn is_answered(record: &Map<String, Value>, outcome: Option<&str>) -> bool {
    let outcome = outcome.map(|word| Outcome::ALL.into_iter().find(|it| it.word() == word));
    ["status", "response_code"].iter().all(|name| {
        let status = status(record, name).unwrap_or_default();
        let result = match outcome {
            None => CallResult::of_status(status),
            Some(Some(outcome)) => CallResult::of(outcome, status),
            // A word of another version: nobody is to be allowed something by it.
            Some(None) => CallResult::Refused,
        };
        result == CallResult::Answered
    })
}

fn status(record: &Map<String, Value>, name: &str) -> Option<u16> {
    let value = record.get(name)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok()
}

/// `None`: a call to what somebody has named, which is no matter of the caller's side.
fn destination(record: &Map<String, Value>, is_stream: bool) -> Option<Destination> {
    let text =
        |name: &str| record.get(name).and_then(Value::as_str).filter(|it| !it.is_empty() && *it != "-");
    let number = |name: &str| record.get(name).and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok());
    let cluster = text("upstream_cluster").unwrap_or_default();
    let route = text("route").unwrap_or_default();
    if cluster == "PassthroughCluster" || route == "Outbound PassthroughCluster" {
        return outside(&text, is_stream);
    }
    let gateway = text("gateway").unwrap_or_default();
    if cluster.starts_with("outbound|") || gateway.starts_with("Mesh/") || gateway.starts_with("Outbound") {
        return None;
    }
    let of_cluster = cluster.strip_prefix("inbound|").and_then(|it| it.split('|').next()?.parse().ok());
    let of_address = || port_of(text("downstream_local_address")?);
    Some(Destination::Here(number("port").or(of_cluster).or_else(of_address)))
}

fn outside<'a>(text: &impl Fn(&str) -> Option<&'a str>, is_stream: bool) -> Option<Destination> {
    let address = text("upstream_host").or_else(|| text("upstream_address"));
    let server_name = text("requested_server_name").or_else(|| text("tls_server_name"));
    let authority = text("authority").or_else(|| text("host"));
    let port = address.and_then(port_of);
    let (name, protocol) = match (server_name, authority) {
        (Some(name), _) => (name, OutsideProtocol::Tls),
        (None, Some(authority)) if !is_stream => (authority, OutsideProtocol::Http),
        _ => (address?, OutsideProtocol::Tcp),
    };
    let (host, own_port) = split(name);
    let usual = if protocol == OutsideProtocol::Tls { 443 } else { 80 };
    let port = port.or(own_port).unwrap_or(usual);
    Some(Destination::Outside { host: host.to_ascii_lowercase(), port, protocol })
}

fn port_of(address: &str) -> Option<u16> {
    split(address).1
}

/// Host without brackets, and port.
fn split(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|it| it.parse().ok()));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}
