//! A record as one line: JSON for machines, text for people.

use super::clock::Clock;
use super::escape::{push_address, push_milliseconds, push_number, push_text};
use super::record::{AccessRecord, PATH_BYTES, TEXT_BYTES};
use super::trace;

/// Appends one JSON object and a line feed. Fields without a value are left out; numbers are bare.
pub(super) fn push_json(out: &mut Vec<u8>, clock: &mut Clock, record: &AccessRecord<'_>) {
    make_room(out, record);
    out.extend_from_slice(b"{\"time\":\"");
    clock.push(out, record.time);
    out.push(b'"');
    optional(out, b",\"gateway\":\"", record.gateway);
    optional(out, b",\"listener\":\"", record.listener.unwrap_or_default());
    optional(out, b",\"route\":\"", record.route.unwrap_or_default());
    optional(out, b",\"rule\":\"", record.rule.unwrap_or_default());
    if !record.is_stream() {
        quoted(out, b",\"method\":\"", record.method.as_bytes(), TEXT_BYTES);
    }
    optional(out, b",\"host\":\"", record.host);
    if !record.is_stream() {
        quoted(out, b",\"path\":\"", record.path_only(), PATH_BYTES);
    }
    word(out, b",\"protocol\":\"", record.protocol);
    if record.status != 0 {
        number(out, b",\"status\":", u64::from(record.status));
    }
    word(out, b",\"outcome\":\"", record.outcome.word());
    optional(out, b",\"reason\":\"", record.reason.unwrap_or_default());
    number(out, b",\"request_bytes\":", record.request_bytes);
    number(out, b",\"response_bytes\":", record.response_bytes);
    out.extend_from_slice(b",\"duration_ms\":");
    push_milliseconds(out, record.duration);
    if let Some(address) = record.upstream {
        out.extend_from_slice(b",\"upstream_address\":\"");
        push_address(out, address);
        out.push(b'"');
    }
    if let Some(duration) = record.upstream_duration {
        out.extend_from_slice(b",\"upstream_duration_ms\":");
        push_milliseconds(out, duration);
    }
    number(out, b",\"attempts\":", u64::from(record.attempts));
    out.extend_from_slice(b",\"client_address\":\"");
    push_address(out, record.client);
    out.push(b'"');
    optional(out, b",\"client_subject\":\"", record.client_subject.unwrap_or_default());
    optional(out, b",\"client_identity\":\"", record.client_identity.unwrap_or_default());
    if let Some(port) = record.port {
        number(out, b",\"port\":", u64::from(port));
    }
    optional(out, b",\"tls_server_name\":\"", record.server_name.unwrap_or_default());
    optional(out, b",\"tls_version\":\"", record.tls_version.unwrap_or_default());
    optional(out, b",\"user_agent\":\"", record.user_agent.unwrap_or_default());
    optional(out, b",\"request_id\":\"", record.request_id.unwrap_or_default());
    if let Some(digits) = record.traceparent.and_then(trace::digits) {
        word(out, b",\"trace_id\":\"", digits);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends one line of text: time, status, outcome, duration and the request in quotes, then `name=value`. What a
/// client chose stands in quotes, escaped as in JSON.
pub(super) fn push_line(out: &mut Vec<u8>, clock: &mut Clock, record: &AccessRecord<'_>) {
    make_room(out, record);
    clock.push(out, record.time);
    out.push(b' ');
    match record.status {
        0 => out.push(b'-'),
        status => push_number(out, u64::from(status)),
    }
    out.push(b' ');
    out.extend_from_slice(record.outcome.word().as_bytes());
    out.push(b' ');
    push_milliseconds(out, record.duration);
    out.extend_from_slice(b"ms \"");
    if !record.is_stream() {
        push_text(out, record.method.as_bytes(), TEXT_BYTES);
        out.push(b' ');
        push_text(out, record.host.as_bytes(), TEXT_BYTES);
        push_text(out, record.path_only(), PATH_BYTES);
        out.push(b' ');
    }
    push_text(out, record.protocol.as_bytes(), TEXT_BYTES);
    number(out, b"\" in=", record.request_bytes);
    number(out, b" out=", record.response_bytes);
    out.extend_from_slice(b" client=");
    push_address(out, record.client);
    if let Some(address) = record.upstream {
        out.extend_from_slice(b" upstream=");
        push_address(out, address);
    }
    if let Some(duration) = record.upstream_duration {
        out.extend_from_slice(b" upstream_duration=");
        push_milliseconds(out, duration);
        out.extend_from_slice(b"ms");
    }
    if record.attempts > 1 {
        number(out, b" attempts=", u64::from(record.attempts));
    }
    optional(out, b" reason=\"", record.reason.unwrap_or_default());
    optional(out, b" subject=\"", record.client_subject.unwrap_or_default());
    optional(out, b" identity=\"", record.client_identity.unwrap_or_default());
    optional(out, b" route=\"", record.route.unwrap_or_default());
    optional(out, b" rule=\"", record.rule.unwrap_or_default());
    optional(out, b" listener=\"", record.listener.unwrap_or_default());
    optional(out, b" sni=\"", record.server_name.unwrap_or_default());
    optional(out, b" tls=\"", record.tls_version.unwrap_or_default());
    optional(out, b" agent=\"", record.user_agent.unwrap_or_default());
    optional(out, b" id=\"", record.request_id.unwrap_or_default());
    optional(out, b" trace=\"", record.traceparent.and_then(trace::digits).unwrap_or_default());
    out.push(b'\n');
}

/// Most bytes that a line takes besides the texts of its record.
const FRAME_BYTES: usize = 512;

/// Room for a whole line of plain text at once, so that its parts need not make any.
fn make_room(out: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let bytes = |text: Option<&[u8]>| text.map_or(0, <[u8]>::len).min(TEXT_BYTES);
    out.reserve(
        FRAME_BYTES
            + record.path.len().min(PATH_BYTES)
            + bytes(Some(record.host.as_bytes()))
            + bytes(record.route.map(str::as_bytes))
            + bytes(record.user_agent)
            + bytes(record.request_id),
    );
}

#[inline(always)]
fn optional<const N: usize>(out: &mut Vec<u8>, start: &[u8; N], value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    if !value.is_empty() {
        quoted(out, start, value, TEXT_BYTES);
    }
}

#[inline(always)]
fn quoted<const N: usize>(out: &mut Vec<u8>, start: &[u8; N], value: &[u8], limit: usize) {
    out.extend_from_slice(start);
    push_text(out, value, limit);
    out.push(b'"');
}

/// A word of ours, which needs no look.
#[inline(always)]
fn word<const N: usize>(out: &mut Vec<u8>, start: &[u8; N], value: impl AsRef<[u8]>) {
    out.extend_from_slice(start);
    out.extend_from_slice(value.as_ref());
    out.push(b'"');
}

#[inline(always)]
fn number<const N: usize>(out: &mut Vec<u8>, start: &[u8; N], value: u64) {
    out.extend_from_slice(start);
    push_number(out, value);
}
