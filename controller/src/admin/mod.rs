//! The admin server: probes and metrics for the cluster, debug pages for people on the pod itself.
//!
//! It only reads: every page is a GET, and no page shows a secret. The pages of the configuration tell much about a
//! cluster and are given to loopback only, where `kubectl port-forward` arrives. Connections are few, short and bounded
//! in time.

mod metrics;

pub use metrics::Metrics;

use crate::accept::accept;
use crate::reconcile::{Input, Question};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// Total time to receive a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Total time of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request head.
const HEAD_BYTES: usize = 16 * 1024;

/// What must hold before the replica is ready.
#[derive(Debug, Default)]
pub struct Readiness {
    /// Every kind was listed and translated.
    is_complete: AtomicBool,
    /// Data planes are served.
    is_serving: AtomicBool,
    /// The process is ending.
    is_stopping: AtomicBool,
}

impl Readiness {
    pub(crate) fn set_complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    /// Whether every kind was listed and translated.
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    pub(crate) fn set_serving(&self) {
        self.is_serving.store(true, Ordering::Release);
    }

    pub(crate) fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Why the replica is not ready; `None` when it is.
    pub fn missing(&self) -> Option<&'static str> {
        if self.is_stopping.load(Ordering::Acquire) {
            Some("stopping")
        } else if !self.is_complete() {
            Some("objects are still being listed; the log says which kind can't be")
        } else if !self.is_serving.load(Ordering::Acquire) {
            Some("data planes are not served yet")
        } else {
            None
        }
    }
}

/// How the data planes stand.
#[derive(Clone, Debug, Default)]
pub struct Sync {
    /// Those that are connected.
    pub connected: u32,
    /// Of them, those that have not acknowledged the newest configuration.
    pub behind: u32,
    /// All of it as JSON.
    pub page: String,
}

/// What the pages read.
pub struct Admin {
    /// Shown at `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Shown at `/healthz/ready`.
    pub readiness: Arc<Readiness>,
    /// Makes `/debug/sync`.
    pub sync: Box<dyn Fn() -> Sync + Send + std::marker::Sync>,
    /// Asked for `/debug/snapshot` and `/debug/problems`.
    pub reconciler: mpsc::Sender<Input>,
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let ended = stop.clone();
    let failure = "the admin server can't accept a connection";
    accept(listener, CONNECTIONS, stop, failure, |stream, peer, slot| {
        let (admin, stop) = (admin.clone(), ended.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = connection(stream, peer, admin) => {}
                () = stop.cancelled() => {}
            }
            drop(slot);
        });
    })
    .await;
}

/// One request: probes and scrapes come seconds apart, so that keeping the connection saves nothing.
async fn connection(stream: TcpStream, peer: SocketAddr, admin: Arc<Admin>) {
    let is_local = peer.ip().to_canonical().is_loopback();
    let service = service_fn(move |request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(answer(&admin, is_local, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

async fn answer(admin: &Admin, is_local: bool, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    let path = request.uri().path();
    // `/debug/sync` has names only, and `sluice status` reads it through the API server.
    if path.starts_with("/debug/") && path != "/debug/sync" && !is_local {
        return text(StatusCode::FORBIDDEN, "this page is for loopback: use kubectl port-forward\n");
    }
    match path {
        "/healthz/live" => text(StatusCode::OK, "ok\n"),
        "/healthz/ready" => match admin.readiness.missing() {
            None => text(StatusCode::OK, "ok\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        "/metrics" => page("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics_text(admin)),
        "/debug/sync" => page("application/json", (admin.sync)().page),
        "/debug/snapshot" => ask(admin, Question::Snapshot).await,
        "/debug/problems" => ask(admin, Question::Problems).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "pages: /healthz/live /healthz/ready /metrics /debug/sync /debug/snapshot /debug/problems\n",
        ),
    }
}

fn metrics_text(admin: &Admin) -> String {
    let sync = (admin.sync)();
    admin.metrics.proxies(sync.connected, sync.behind);
    admin.metrics.text()
}

/// Asks the reconciler, which owns what is shown.
async fn ask(
    admin: &Admin,
    question: impl FnOnce(oneshot::Sender<String>) -> Question,
) -> Response<Full<Bytes>> {
    let (answer, answered) = oneshot::channel();
    let is_asked = admin.reconciler.send(Input::Ask(question(answer))).await.is_ok();
    match answered.await {
        Ok(body) if is_asked => page("application/json", body),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

fn page(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = page("text/plain; charset=utf-8", body);
    *response.status_mut() = status;
    response
}
