//! One check: a new connection, a question, an answer. Nothing of it is kept.

use super::Check;
use super::grpc::{self, HealthRequest, framed};
use crate::upstream::tls::DialError;
use bytes::Bytes;
use http::{Method, Request, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice_ir::{HealthProbe, Workload};
use std::error::Error;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// Largest head of an answer, and largest answer of a gRPC health service.
pub(super) const MOST_BYTES: usize = 16 * 1024;
/// The same for HTTP/2.
pub(super) const MOST_HEAD_BYTES: u32 = 16 * 1024;
/// Who asks.
const USER_AGENT: &str = concat!("sluice-health-check/", env!("CARGO_PKG_VERSION"));

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
pub(super) async fn ask(
    check: &Check,
    address: SocketAddr,
    workload: Option<&Workload>,
) -> Result<(), Failure> {
    let mut stream: Box<dyn Socket> = match check.client(workload).map_err(Failure::Tls)? {
        None => {
            let connected = crate::upstream::connect_after(address, check.preface).await;
            let stream = connected.map_err(Failure::Connect)?;
            // The question is small and waited for.
            stream.set_nodelay(true).map_err(Failure::Connect)?;
            Box::new(stream)
        }
        Some(client) => client.dial_after(address, check.preface).await?,
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
            let mut request = request(check, Method::POST, grpc::PATH, host, question)?;
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
            exchange(check, stream, request, grpc::serving).await
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
