//! The server behind every proxy: answers each request with the same bytes, as cheaply as tokio allows.
//!
//! HTTP/1.1 is read by hand (one read and one write per request); a connection that opens with the HTTP/2 preface is
//! given to hyper, which answers calls of gRPC with one message and status 0. It reads what the proxies under test send, not
//! hostile input: a request with a chunked body closes the connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::generator::response::{end_of_head, header};

/// Longest request head that is read.
const REQUEST_BYTES: usize = 64 * 1024;
/// What an HTTP/2 connection opens with (RFC 9113 §3.4); its first bytes tell it from HTTP/1.1.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Arguments of `sluice-load backend`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Bytes of every answer's body.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
}

/// Serves until the process is ended.
pub(crate) fn serve(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        println!("listening on {}", listener.local_addr()?);
        accept(listener, Rc::new(Answer::new(options.bytes))).await;
        Ok(())
    })
}

/// Starts a backend on a free loopback port of the current `LocalSet`; it lives as long as the set.
pub(crate) async fn start(body_bytes: usize) -> Result<SocketAddr> {
    start_at(SocketAddr::from(([127, 0, 0, 1], 0)), body_bytes).await
}

/// The same at an address of the caller's choice.
pub(crate) async fn start_at(address: SocketAddr, body_bytes: usize) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("backend: {address}"))?;
    let address = listener.local_addr()?;
    tokio::task::spawn_local(accept(listener, Rc::new(Answer::new(body_bytes))));
    Ok(address)
}

/// A backend that can be told to fail, and counts.
pub(crate) struct Switch {
    /// Where it is.
    pub(crate) address: SocketAddr,
    answer: Rc<Answer>,
}

impl Switch {
    /// Starts it as [`start`] does; it is well.
    pub(crate) async fn start(body_bytes: usize) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("backend: no free port")?;
        let address = listener.local_addr()?;
        let answer = Rc::new(Answer::new(body_bytes));
        tokio::task::spawn_local(accept(listener, answer.clone()));
        Ok(Self { address, answer })
    }

    /// Whether it answers well from now on, else everything with 503.
    pub(crate) fn set(&self, is_well: bool) {
        self.answer.fails.set(!is_well);
    }

    /// Requests for anything but its health that it answered well.
    pub(crate) fn served(&self) -> u64 {
        self.answer.served.get()
    }
}

/// The path that [`Switch::served`] leaves out.
pub(crate) const HEALTH: &str = "/healthz";
/// What a backend answers that is told to fail.
const FAILURE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// The prepared answer, in HTTP/1.1 form and as a bare body.
struct Answer {
    http1: Bytes,
    body: Bytes,
    fails: Cell<bool>,
    served: Cell<u64>,
}

impl Answer {
    fn new(body_bytes: usize) -> Self {
        let body = vec![b'x'; body_bytes];
        let mut http1 = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nserver: backend\r\ncontent-length: {body_bytes}\r\n\r\n"
        )
        .into_bytes();
        http1.extend_from_slice(&body);
        Self { http1: http1.into(), body: body.into(), fails: Cell::new(false), served: Cell::new(0) }
    }
}

async fn accept(listener: TcpListener, answer: Rc<Answer>) {
    loop {
        // An error here is a connection that went away or a full descriptor table: the next accept may do.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let answer = answer.clone();
        tokio::task::spawn_local(async move {
            let _ = stream.set_nodelay(true);
            let mut start = [0; HTTP2_PREFACE.len()];
            match stream.peek(&mut start).await {
                Ok(length) if length > 0 && start[..length] == HTTP2_PREFACE[..length] => {
                    http2(stream, &answer).await
                }
                Ok(_) => http1(stream, &answer).await,
                Err(_) => (),
            }
        });
    }
}

/// One HTTP/1.1 connection, until the peer closes it.
async fn http1(mut stream: TcpStream, answer: &Answer) {
    let mut buffer = vec![0; REQUEST_BYTES];
    let mut filled = 0;
    loop {
        let mut used = 0;
        while let Some(head) = end_of_head(&buffer[used..filled]) {
            let bytes = &buffer[used..used + head];
            let length = body_length(bytes);
            let fails = answer.fails.get();
            if !fails && !bytes[4.min(head)..].starts_with(HEALTH.as_bytes()) {
                answer.served.set(answer.served.get() + 1);
            }
            let available = filled - used - head;
            used += head + length.min(available);
            if discard(&mut stream, length.saturating_sub(available)).await.is_err() {
                return;
            }
            if stream.write_all(if fails { FAILURE } else { &answer.http1 }).await.is_err() {
                return;
            }
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => filled += read,
        }
    }
}

fn body_length(head: &[u8]) -> usize {
    header(head, b"content-length").and_then(|value| str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

async fn discard(stream: &mut TcpStream, mut rest: usize) -> std::io::Result<()> {
    let mut scratch = [0; 16 * 1024];
    while rest > 0 {
        let wanted = rest.min(scratch.len());
        match stream.read(&mut scratch[..wanted]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => rest -= read,
        }
    }
    Ok(())
}

/// The content type of a call of gRPC, and where its answer says how it went.
const GRPC: &str = "application/grpc";
const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");
/// Bytes in front of a message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// A message of gRPC that is as long as `body`, with what is in front of it.
fn message(body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len().saturating_sub(GRPC_PREFIX)).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), body.get(GRPC_PREFIX..).unwrap_or_default()].concat().into()
}

/// One HTTP/2 connection with prior knowledge. Its errors are the proxy's failures, which the load generator counts.
async fn http2(stream: TcpStream, answer: &Answer) {
    let (body, message) = (answer.body.clone(), message(&answer.body));
    let service = service_fn(move |request: Request<Incoming>| {
        let (body, message) = (body.clone(), message.clone());
        async move {
            let kind = request.headers().get(CONTENT_TYPE).cloned().filter(|it| *it == GRPC);
            // One that breaks off is the proxy's failure.
            let _ = request.into_body().collect().await;
            let Some(kind) = kind else {
                return Ok::<_, Infallible>(Response::new(Either::Left(Full::new(body))));
            };
            let ok = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
            let mut response =
                Response::new(Either::Right(Full::new(message).with_trailers(async { Some(Ok(ok)) })));
            response.headers_mut().insert(CONTENT_TYPE, kind);
            Ok(response)
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}
