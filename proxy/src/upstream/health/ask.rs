//! One check: a new connection, a question, an answer. Nothing of it is kept.

use super::Check;
use crate::upstream::tls::DialError;
use bytes::{Buf, Bytes};
use http::{Method, Request, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use sluice_ir::HealthProbe;
use std::error::Error;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// Largest head of an answer, and largest answer of a gRPC health service.
const MOST_BYTES: usize = 16 * 1024;
/// The same for HTTP/2.
const MOST_HEAD_BYTES: u32 = 16 * 1024;
/// Who asks.
const USER_AGENT: &str = concat!("sluice-health-check/", env!("CARGO_PKG_VERSION"));
/// gRPC's word for "takes requests" (`grpc.health.v1.HealthCheckResponse.ServingStatus`).
const SERVING: i32 = 1;

/// Why a check is no good one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    #[error("{0}")]
    Tls(String),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("answered {0}")]
    Status(u16),
    #[error("answered gRPC status {0}")]
    GrpcStatus(String),
    #[error("is not serving: {0}")]
    NotServing(&'static str),
    #[error("is no answer of a health service: {0}")]
    NoHealth(&'static str),
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        // hyper keeps the cause out of its own text.
        match error.source() {
            Some(cause) => Self::NoAnswer(format!("{error}: {cause}")),
            None => Self::NoAnswer(error.to_string()),
        }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Connect(error) => Self::Connect(error),
            other => Self::Tls(other.to_string()),
        }
    }
}

/// Asks once. Bounds no time: the caller does. Cancelling closes the connection.
pub(super) async fn ask(check: &Check, address: SocketAddr) -> Result<(), Failure> {
    let mut stream: Box<dyn Socket> = match &check.tls {
        None => {
            let connected = crate::upstream::connect_after(address, check.preface).await;
            let stream = connected.map_err(Failure::Connect)?;
            // The question is small and waited for.
            stream.set_nodelay(true).map_err(Failure::Connect)?;
            Box::new(stream)
        }
        Some(Ok(client)) => client.dial_after(address, check.preface).await?,
        Some(Err(reason)) => return Err(Failure::Tls(reason.clone())),
    };
    if let Some(tunnel) = &check.tunnel {
        crate::upstream::open_tunnel(&mut stream, address, tunnel).await.map_err(Failure::Connect)?;
    }
    over(check, stream).await
}

/// A connection, after the handshake where TLS is spoken.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

async fn over(check: &Check, stream: Box<dyn Socket>) -> Result<(), Failure> {
    match &check.spec.probe {
        HealthProbe::Tcp => Ok(()),
        HealthProbe::Http { is_head, path, host, statuses } => {
            let method = if *is_head { Method::HEAD } else { Method::GET };
            let request = request(check, method, path, host, Full::default())?;
            let status =
                exchange(check, stream, request, |response| async move { Ok(response.status().as_u16()) });
            let status = status.await?;
            let is_good = statuses.iter().any(|it| it.has(status));
            if is_good { Ok(()) } else { Err(Failure::Status(status)) }
        }
        HealthProbe::Grpc { host, service } => {
            let question = Full::new(framed(&HealthRequest { service: service.clone() }));
            let mut request = request(check, Method::POST, "/grpc.health.v1.Health/Check", host, question)?;
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
            exchange(check, stream, request, serving).await
        }
    }
}

/// Sends the request in the protocol of the backend, and reads what `read` takes of the answer.
async fn exchange<T, F: Future<Output = Result<T, Failure>>>(
    check: &Check,
    stream: Box<dyn Socket>,
    request: Request<Full<Bytes>>,
    read: impl FnOnce(http::Response<Incoming>) -> F,
) -> Result<T, Failure> {
    let stream = TokioIo::new(stream);
    if check.is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(MOST_HEAD_BYTES);
        let (mut sender, driver) = builder.handshake(stream).await?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        read(sender.send_request(request).await?).await
    } else {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MOST_BYTES);
        let (mut sender, driver) = builder.handshake(stream).await?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        read(sender.send_request(request).await?).await
    }
}

fn request(
    check: &Check,
    method: Method,
    path: &str,
    host: &str,
    body: Full<Bytes>,
) -> Result<Request<Full<Bytes>>, Failure> {
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
    let builder = Request::builder().method(method).header(header::USER_AGENT, USER_AGENT);
    let builder = if check.is_http2 {
        let scheme = if check.tls.is_some() { "https" } else { "http" };
        builder.version(Version::HTTP_2).uri(format!("{scheme}://{host}{path}"))
    } else {
        builder.uri(path).header(header::HOST, host).header(header::CONNECTION, "close")
    };
    builder.body(body).map_err(|error| Failure::NoAnswer(error.to_string()))
}

/// Whether the answer of a gRPC health service says that it takes requests.
async fn serving(response: http::Response<Incoming>) -> Result<(), Failure> {
    if response.status() != http::StatusCode::OK {
        return Err(Failure::Status(response.status().as_u16()));
    }
    // An error without a message has its status in the head.
    grpc_status(response.headers())?;
    let mut body = response.into_body();
    let mut answer = Vec::new();
    let mut is_over = false;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            if answer.len() + data.len() > MOST_BYTES {
                return Err(Failure::NoHealth("it is too long"));
            }
            answer.extend_from_slice(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            is_over = trailers.contains_key(GRPC_STATUS);
            grpc_status(trailers)?;
        }
    }
    if !is_over {
        return Err(Failure::NoHealth("it ends without a status"));
    }
    match unframed(&answer)?.status {
        SERVING => Ok(()),
        0 => Err(Failure::NotServing("UNKNOWN")),
        2 => Err(Failure::NotServing("NOT_SERVING")),
        3 => Err(Failure::NotServing("SERVICE_UNKNOWN")),
        _ => Err(Failure::NotServing("a status that is not known")),
    }
}

const GRPC_STATUS: &str = "grpc-status";

/// An error where there is a status other than 0.
fn grpc_status(fields: &http::HeaderMap) -> Result<(), Failure> {
    match fields.get(GRPC_STATUS) {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => Err(Failure::GrpcStatus(String::from_utf8_lossy(status.as_bytes()).into_owned())),
    }
}

/// One message as gRPC has them: not compressed, its length, itself.
fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    // A service's name is short.
    framed.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&bytes);
    framed.into()
}

fn unframed(mut bytes: &[u8]) -> Result<HealthResponse, Failure> {
    let wrong = || Failure::NoHealth("it is no single message");
    if bytes.len() < 5 || bytes.get_u8() != 0 {
        return Err(wrong());
    }
    let len = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
    if bytes.len() != len {
        return Err(wrong());
    }
    HealthResponse::decode(bytes).map_err(|_| wrong())
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{HealthResponse, framed, unframed};

    #[test]
    fn a_message_is_framed_and_found_again() {
        let bytes = framed(&HealthResponse { status: 1 });
        assert_eq!(&bytes[..], [0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(unframed(&bytes).unwrap().status, 1);
        assert_eq!(unframed(&[0, 0, 0, 0, 0]).unwrap().status, 0);
        for bad in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 8, 1], &[0, 0, 0, 0, 1, 255]] {
            assert!(unframed(bad).is_err(), "{bad:?}");
        }
    }
}
