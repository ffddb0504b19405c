//! What one record says.

use crate::telemetry::Outcome;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// One request that ended, or one stream: a connection that was carried whole, or a session of datagrams. Borrowed: writing it copies only into the log's buffer.
///
/// Text that a client chose is taken as it came: the log escapes and shortens it. There is no field for header
/// values such as `Authorization` and `Cookie`, and a query is cut off, since both may hold secrets.
#[derive(Clone, Debug)]
pub struct AccessRecord<'a> {
    /// When the request ended.
    pub time: SystemTime,
    /// `NAMESPACE/NAME` of the Gateway; empty if none.
    pub gateway: &'a str,
    /// Name of the listener.
    pub listener: Option<&'a str>,
    /// The route: `HTTPRoute shop/cart`.
    pub route: Option<&'a str>,
    /// Name of the rule.
    pub rule: Option<&'a str>,
    /// Method as received; of a stream none.
    pub method: &'a str,
    /// Host as received; empty if none.
    pub host: &'a str,
    /// Path as received. What follows a `?` or `#` is not logged.
    pub path: &'a str,
    /// `HTTP/1.1` or `HTTP/2`; of a stream `TLS`, `TCP` or `UDP`.
    pub protocol: &'a str,
    /// Status that the client got; 0 for none.
    pub status: u16,
    /// How the request ended.
    pub outcome: Outcome,
    /// Why it was refused, where the outcome alone does not say.
    pub reason: Option<&'a str>,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// From the end of the request head to the end of the answer.
    pub duration: Duration,
    /// Endpoint of the last try.
    pub upstream: Option<SocketAddr>,
    /// From the beginning of the last try to its answer's head.
    pub upstream_duration: Option<Duration>,
    /// Tries; 0 when none was made.
    pub attempts: u32,
    /// The client, after PROXY protocol and believed forwarding headers.
    pub client: SocketAddr,
    /// Subject of the certificate that the client showed, if an authority vouches for it.
    pub client_subject: Option<&'a str>,
    /// SPIFFE ID that the client has proven.
    pub client_identity: Option<&'a str>,
    /// Port that the client came to: of the listener, of a workload its own.
    pub port: Option<u16>,
    /// Server name of the TLS handshake.
    pub server_name: Option<&'a str>,
    /// `1.2` or `1.3`.
    pub tls_version: Option<&'a str>,
    /// `User-Agent` as received.
    pub user_agent: Option<&'a [u8]>,
    /// `X-Request-Id`, received or given.
    pub request_id: Option<&'a [u8]>,
    /// `traceparent` as received: its trace id is logged when the header is valid.
    pub traceparent: Option<&'a [u8]>,
    /// What only Istio's form has.
    pub extra: Extra<'a>,
}

/// What only Istio's form has.
#[derive(Clone, Debug, Default)]
pub struct Extra<'a> {
    /// The backend in Envoy's words.
    pub cluster: Option<Cow<'a, str>>,
    /// Where the client came to.
    pub local: Option<SocketAddr>,
    /// Our end of the connection to the endpoint.
    pub upstream_local: Option<SocketAddr>,
    /// `X-Forwarded-For` as received.
    pub forwarded_for: Option<&'a [u8]>,
    /// Whether a retry policy had no try left.
    pub is_last_try: bool,
    /// Why the request ended so, where more is known than the outcome says.
    pub code_details: Option<Cow<'a, str>>,
}

/// Most bytes of a path, before escaping, in a record.
pub(super) const PATH_BYTES: usize = 2_048;
/// Most bytes of any other text that a client chose.
pub(super) const TEXT_BYTES: usize = 256;

impl<'a> AccessRecord<'a> {
    /// Whether it is of a stream, which has neither method nor path.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.protocol, "TLS" | "TCP" | "UDP")
    }

    /// The path without query and fragment.
    pub(super) fn path_only(&self) -> &'a [u8] {
        let path = self.path.as_bytes();
        memchr::memchr2(b'?', b'#', path).and_then(|end| path.get(..end)).unwrap_or(path)
    }
}

/// The fields of a JSON record in their order: name, whether always there, meaning. The reference page is written
/// from this list.
pub const FIELDS: &[(&str, bool, &str)] = &[
    ("time", true, "When the request ended: RFC 3339, UTC, milliseconds."),
    ("gateway", false, "`NAMESPACE/NAME` of the Gateway."),
    ("listener", false, "Name of the listener."),
    ("route", false, "The route object: `HTTPRoute shop/cart`."),
    ("rule", false, "Name of the rule, where it has one."),
    ("method", false, "Method as received; absent for a stream."),
    ("host", false, "Host as received; of a tunnel its `HOST:PORT`."),
    ("path", false, "Path as received, without query; absent for a stream, empty for a tunnel."),
    ("protocol", true, "`HTTP/1.1` or `HTTP/2`; of a stream `TLS`, `TCP` or `UDP`."),
    ("status", false, "Status that the client got; absent when it got none."),
    ("outcome", true, "How the request ended: a word of [outcomes](outcomes.md)."),
    (
        "reason",
        false,
        "Why it was refused, where the outcome alone does not say; what AuthorizationPolicies mark, or would have done.",
    ),
    ("request_bytes", true, "Body bytes received from the client; of a stream all bytes."),
    ("response_bytes", true, "Body bytes sent to the client; of a stream all bytes."),
    (
        "duration_ms",
        true,
        "Milliseconds from the end of the request head to the end of the answer; of a stream its whole life.",
    ),
    ("upstream_address", false, "Endpoint of the last try."),
    (
        "upstream_duration_ms",
        false,
        "Milliseconds from the beginning of the last try to its answer's head; of a stream until it was connected.",
    ),
    ("attempts", true, "Tries; 0 when no endpoint was asked."),
    (
        "client_address",
        true,
        "Address and port of the client, after PROXY protocol and believed forwarding headers.",
    ),
    (
        "client_subject",
        false,
        "Subject of the certificate that the client showed (RFC 4514), if an authority vouches for it.",
    ),
    ("client_identity", false, "SPIFFE ID that the client has proven by its certificate."),
    ("port", false, "Port that the client came to: of the listener, of a workload its own."),
    ("tls_server_name", false, "Server name of the TLS handshake."),
    ("tls_version", false, "`1.2` or `1.3`."),
    ("user_agent", false, "`User-Agent` as received."),
    ("request_id", false, "`X-Request-Id`, received or given."),
    ("trace_id", false, "Trace id of a valid `traceparent`."),
];
