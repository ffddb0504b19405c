//! gRPC on the echo: `grpc.health.v1.Health` and a service that sends back messages and metadata in all four shapes.
//!
//! The service, as a `.proto` file would put it:
//!
//! ```proto
//! package sluice.echo.v1;
//! service Echo {
//!   rpc Unary(EchoRequest) returns (EchoResponse);
//!   rpc ServerStream(EchoRequest) returns (stream EchoResponse);
//!   rpc ClientStream(stream EchoRequest) returns (EchoResponse);
//!   rpc BidiStream(stream EchoRequest) returns (stream EchoResponse);
//! }
//! ```
//!
//! The metadata `x-echo-grpc-status: 5` asks for an error; `x-echo-set-header` works as everywhere.

mod frames;
mod health;
mod methods;

use super::body::{Body, empty};
use super::seen::pairs;
use super::service::Echo;
use frames::Messages;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a client sends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoRequest {
    /// Comes back.
    #[prost(string, tag = "1")]
    pub message: String,
    /// ServerStream: how many answers, 0 meaning 1; at most 1,000,000.
    #[prost(uint32, tag = "2")]
    pub repeat: u32,
    /// ServerStream: milliseconds between two answers; at most a minute.
    #[prost(uint32, tag = "3")]
    pub interval_ms: u32,
}

/// What the echo answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoResponse {
    /// The request's message; for ClientStream all of them, joined by `,`.
    #[prost(string, tag = "1")]
    pub message: String,
    /// Name of the echo.
    #[prost(string, tag = "2")]
    pub backend: String,
    /// Position in the stream, from 0.
    #[prost(uint32, tag = "3")]
    pub index: u32,
    /// Metadata of the call.
    #[prost(message, repeated, tag = "4")]
    pub metadata: Vec<MetadataField>,
    /// Address of the peer.
    #[prost(string, tag = "5")]
    pub peer: String,
    /// Authority that the call named.
    #[prost(string, tag = "6")]
    pub authority: String,
}

/// One field of the metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MetadataField {
    /// Lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// As it arrived.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A gRPC status other than OK.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    message: &'static str,
}

impl Status {
    const NOT_FOUND: u16 = 5;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;

    fn new(code: u16, message: &'static str) -> Self {
        Self { code, message }
    }

    /// The two fields that end a call.
    fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", HeaderValue::from(self.code));
        fields.insert("grpc-message", HeaderValue::from_static(self.message));
        fields
    }
}

/// What every answer of one call repeats.
struct Call {
    backend: String,
    metadata: Vec<MetadataField>,
    peer: String,
    authority: String,
}

impl Call {
    fn response(&self, index: u32, message: String) -> EchoResponse {
        EchoResponse {
            message,
            backend: self.backend.clone(),
            index,
            metadata: self.metadata.clone(),
            peer: self.peer.clone(),
            authority: self.authority.clone(),
        }
    }
}

/// Whether the request is a gRPC call.
pub(super) fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// Answers a call.
pub(super) fn answer(echo: &Arc<Echo>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let asked = request.headers().get("x-echo-grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    if let Some(code) = asked.filter(|code| *code != 0) {
        return refused(&Status::new(code, "asked for by x-echo-grpc-status"));
    }
    let (parts, body) = request.into_parts();
    let metadata = pairs(&parts.headers).into_iter();
    let call = Call {
        backend: echo.name.clone(),
        metadata: metadata.map(|(name, value)| MetadataField { name, value }).collect(),
        peer: peer.to_string(),
        authority: parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
    };
    let messages = Messages::new(body);
    match parts.uri.path() {
        "/grpc.health.v1.Health/Check" => begun(health::check(messages)),
        "/grpc.health.v1.Health/Watch" => begun(health::watch(messages, echo.stop.clone())),
        "/sluice.echo.v1.Echo/Unary" => begun(methods::unary(call, messages)),
        "/sluice.echo.v1.Echo/ServerStream" => begun(methods::server_stream(call, messages)),
        "/sluice.echo.v1.Echo/ClientStream" => begun(methods::client_stream(call, messages)),
        "/sluice.echo.v1.Echo/BidiStream" => begun(methods::bidi_stream(call, messages)),
        _ => refused(&Status::new(Status::UNIMPLEMENTED, "the echo has no such method")),
    }
}

/// A call that goes on in its body.
fn begun(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A call that ends with its head ("Trailers-Only").
fn refused(status: &Status) -> Response<Body> {
    let mut response = begun(empty());
    response.headers_mut().extend(status.fields());
    response
}
