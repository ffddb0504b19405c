//! `sluice echo`: a small backend for examples and tests that answers with what it saw.
//!
//! One port speaks HTTP/1.1, HTTP/2 by prior knowledge (by ALPN within TLS), WebSocket and gRPC. Paths and query
//! parameters ask for special answers (`service.rs` lists them all). In goes a bound listener, out come answers until the
//! stop token is cancelled. It has no state but the counters of `/fail-first`. Other ports give back lines or datagrams
//! (`raw.rs`).

mod body;
mod command;
pub mod grpc;
mod hint;
mod knobs;
mod raw;
mod seen;
mod service;
mod tls;
mod websocket;

pub use command::{EchoArgs, run};
pub use tls::TlsSeen;

use hint::{HintIo, Hints};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use service::Echo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long open requests may go on after the stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait when the system has no file descriptor left for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Answers on `listener` under the name `name` until `stop` is cancelled; then finishes open requests for at most ten
/// seconds. Cancelling the future itself leaves open connections to their tasks.
pub async fn serve(listener: TcpListener, name: String, stop: CancellationToken) -> io::Result<()> {
    serve_with(listener, name, Speech::Http, stop).await
}

/// What is spoken over a connection.
#[derive(Clone)]
enum Speech {
    Http,
    Https(TlsAcceptor),
    Lines,
}

/// The same for whatever is spoken.
async fn serve_with(
    listener: TcpListener,
    name: String,
    speech: Speech,
    stop: CancellationToken,
) -> io::Result<()> {
    let cut = CancellationToken::new();
    let echo = Arc::new(Echo::new(name, stop.clone(), cut.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                drop(echo.tasks.spawn(converse(echo.clone(), stream, peer, speech.clone())))
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    echo.tasks.close();
    if tokio::time::timeout(DRAIN_DEADLINE, echo.tasks.wait()).await.is_err() {
        cut.cancel();
        echo.tasks.wait().await;
    }
    Ok(())
}

async fn converse(echo: Arc<Echo>, stream: TcpStream, peer: SocketAddr, speech: Speech) {
    // Without this, small answers wait for the client's acknowledgement; failing to set it is no reason to refuse.
    let _ = stream.set_nodelay(true);
    match speech {
        Speech::Http => connection(echo, stream, peer, None).await,
        Speech::Https(tls) => shake_hands(echo, stream, peer, tls).await,
        // An error ends this connection and nothing else.
        Speech::Lines => {
            let _ = echo.stop.run_until_cancelled(raw::lines(stream, &echo.name)).await;
        }
    }
}

async fn shake_hands(echo: Arc<Echo>, stream: TcpStream, peer: SocketAddr, tls: TlsAcceptor) {
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        () = echo.stop.cancelled() => return,
    };
    // Who can't shake hands is gone.
    if let Ok(stream) = shaken {
        let seen = TlsSeen::of(stream.get_ref().1);
        connection(echo, stream, peer, Some(seen)).await;
    }
}

/// One connection from its first byte to its last. What a client does wrong ends its connection and nothing else.
async fn connection(
    echo: Arc<Echo>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    tls: Option<TlsSeen>,
) {
    let hints = Hints::default();
    let io = TokioIo::new(HintIo::new(stream, hints.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Pooled connections of a proxy may stay idle for as long as the proxy likes.
    builder.http1().header_read_timeout(None);
    builder.http2().max_concurrent_streams(1_000);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(tls) = &tls {
            request.extensions_mut().insert(tls.clone());
        }
        echo.clone().answer(request, peer, hints.clone())
    });
    let serving = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = echo.stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = serving.as_mut() => {}
        () = echo.cut.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
