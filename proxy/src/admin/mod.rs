//! The admin server: probes, metrics and debug pages on an address of its own.
//!
//! In: a bound listener (loopback unless the operator says otherwise) and an [`AdminState`]. It only reads: every
//! page is a GET without parameters, and no page shows a secret. Pages below `/debug` are for this machine only, since
//! probes and scrapes make an operator open the port to a network. Connections are few, short and bounded in time, so
//! that a stuck scraper costs nothing; pages are made off the request path's threads.

mod pages;
mod readiness;

pub use pages::{AdminState, Page};
pub use readiness::Readiness;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// Total time to receive a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a request head.
const HEAD_BYTES: usize = 16 * 1024;
/// Pause after a failed accept (no file descriptors left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server of this kind answers.
pub trait Answer: Send + Sync + 'static {
    /// Total time of a connection.
    const TIME: Duration = Duration::from_secs(30);

    /// The answer to a request; `local`: the client is on this machine.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        local: bool,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

impl Answer for AdminState {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, local: bool) -> Response<Full<Bytes>> {
        pages::answer(&self, &request, local).await
    }
}

/// Serves until `stop`, then closes its connections, mid-answer if need be. While the data plane drains the server
/// still runs, so that probes see why it is not ready: stop it last.
pub async fn serve<A: Answer>(listener: TcpListener, state: Arc<A>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next => accepted,
            // Ended tasks are collected as they end.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            (Ok(permit), Ok((stream, peer))) => {
                let state = state.clone();
                connections.spawn(async move {
                    connection(stream, state, peer.ip().to_canonical().is_loopback()).await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "the admin server can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // Nobody closes the semaphore.
            (Err(_), _) => break,
        }
    }
    connections.shutdown().await;
}

/// One request: probes and scrapes come seconds apart, so that keeping the connection saves nothing.
async fn connection<A: Answer>(stream: TcpStream, state: Arc<A>, local: bool) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(state.answer(request, local).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(A::TIME, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

#[cfg(test)]
mod tests;
