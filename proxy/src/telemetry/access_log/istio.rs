//! A record with the fields of Istio's default JSON format (`accessLogEncoding: JSON`): the same 24 names, in the order of
//! Istio's source. What is not known is `null`, as Envoy writes it.
//!
//! Two things differ on purpose: a path has no query, since that may hold secrets, and nothing is longer than in our
//! other forms.

use super::clock::Clock;
use super::escape::{push_address, push_number, push_text};
use super::record::{AccessRecord, PATH_BYTES, TEXT_BYTES};
use crate::telemetry::Outcome;
use std::net::SocketAddr;

/// The fields in their order, with what they are.
pub const ISTIO_FIELDS: [(&str, &str); 24] = [
    ("start_time", "When the request came: RFC 3339, UTC, milliseconds."),
    ("route_name", "The route object: `HTTPRoute shop/cart`."),
    ("method", "Method as received; `null` for a connection."),
    ("path", "Path as received, **without query**; `null` for a connection."),
    ("protocol", "`HTTP/1.1` or `HTTP/2`; `null` for a connection."),
    ("response_code", "Status that the client got; 0 for none."),
    ("response_flags", "Envoy's flags, such as `UH`, or `-`."),
    ("response_code_details", "`via_upstream`, or why Sluice answered."),
    ("connection_termination_details", "Why the connection was refused."),
    ("upstream_transport_failure_reason", "What kept TLS to the endpoint from being spoken."),
    ("bytes_received", "Body bytes from the client; of a connection all bytes."),
    ("bytes_sent", "Body bytes to the client; of a connection all bytes."),
    ("duration", "Milliseconds from the head to the end of the answer."),
    ("upstream_service_time", "Milliseconds of the last try until its answer's head, as text."),
    ("x_forwarded_for", "As received."),
    ("user_agent", "As received."),
    ("request_id", "`X-Request-Id`, received or given."),
    ("authority", "Host as received."),
    ("upstream_host", "Endpoint of the last try."),
    ("upstream_cluster", "`outbound|PORT|SUBSET|HOST` or `inbound|PORT||`."),
    ("upstream_local_address", "Our end of the connection to the endpoint."),
    ("downstream_local_address", "Where the client came to."),
    ("downstream_remote_address", "The client, after PROXY protocol and believed forwarding headers."),
    ("requested_server_name", "Server name of the TLS handshake."),
];

/// Appends one JSON object and a line feed.
pub(super) fn push_istio(out: &mut Vec<u8>, clock: &mut Clock, record: &AccessRecord<'_>) {
    out.reserve(1_024 + record.path.len().min(PATH_BYTES));
    let is_stream = record.is_stream();
    let extra = &record.extra;
    out.extend_from_slice(b"{\"start_time\":\"");
    clock.push(out, record.time.checked_sub(record.duration).unwrap_or(record.time));
    out.push(b'"');
    text(out, b",\"route_name\":", record.route.map(str::as_bytes));
    text(out, b",\"method\":", some(if is_stream { "" } else { record.method }));
    let path = if is_stream || record.path.is_empty() { None } else { Some(record.path_only()) };
    longer(out, b",\"path\":", path, PATH_BYTES);
    text(out, b",\"protocol\":", some(if is_stream { "" } else { record.protocol }));
    number(out, b",\"response_code\":", u64::from(record.status));
    word(out, b",\"response_flags\":", Some(record.outcome.flags(extra.is_last_try)));
    match extra.code_details.as_deref() {
        Some(details) => text(out, b",\"response_code_details\":", Some(details.as_bytes())),
        None => word(out, b",\"response_code_details\":", Some(record.outcome.code_details())),
    }
    word(out, b",\"connection_termination_details\":", record.outcome.termination());
    let failure = (record.outcome == Outcome::UpstreamTls).then_some("TLS_error");
    word(out, b",\"upstream_transport_failure_reason\":", failure);
    number(out, b",\"bytes_received\":", record.request_bytes);
    number(out, b",\"bytes_sent\":", record.response_bytes);
    number(out, b",\"duration\":", milliseconds(record.duration));
    out.extend_from_slice(b",\"upstream_service_time\":");
    match record.upstream_duration {
        Some(duration) => {
            out.push(b'"');
            push_number(out, milliseconds(duration));
            out.push(b'"');
        }
        None => out.extend_from_slice(NULL),
    }
    text(out, b",\"x_forwarded_for\":", extra.forwarded_for);
    text(out, b",\"user_agent\":", record.user_agent);
    text(out, b",\"request_id\":", record.request_id);
    text(out, b",\"authority\":", some(record.host));
    address(out, b",\"upstream_host\":", record.upstream);
    text(out, b",\"upstream_cluster\":", extra.cluster.as_deref().map(str::as_bytes));
    address(out, b",\"upstream_local_address\":", extra.upstream_local);
    address(out, b",\"downstream_local_address\":", extra.local);
    address(out, b",\"downstream_remote_address\":", Some(record.client));
    text(out, b",\"requested_server_name\":", record.server_name.map(str::as_bytes));
    out.extend_from_slice(b"}\n");
}

const NULL: &[u8] = b"null";

fn some(text: &str) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text.as_bytes())
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(out: &mut Vec<u8>, start: &[u8], value: Option<&[u8]>) {
    longer(out, start, value, TEXT_BYTES);
}

fn longer(out: &mut Vec<u8>, start: &[u8], value: Option<&[u8]>, limit: usize) {
    out.extend_from_slice(start);
    match value {
        Some(value) => {
            out.push(b'"');
            push_text(out, value, limit);
            out.push(b'"');
        }
        None => out.extend_from_slice(NULL),
    }
}

/// A word of ours, which needs no look.
fn word(out: &mut Vec<u8>, start: &[u8], value: Option<&str>) {
    out.extend_from_slice(start);
    match value {
        Some(value) => {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(NULL),
    }
}

fn number(out: &mut Vec<u8>, start: &[u8], value: u64) {
    out.extend_from_slice(start);
    push_number(out, value);
}

fn address(out: &mut Vec<u8>, start: &[u8], value: Option<SocketAddr>) {
    out.extend_from_slice(start);
    match value {
        Some(value) => {
            out.push(b'"');
            push_address(out, value);
            out.push(b'"');
        }
        None => out.extend_from_slice(NULL),
    }
}
