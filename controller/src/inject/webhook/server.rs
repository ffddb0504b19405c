//! The HTTPS port of the webhook. It answers `POST /inject`; connections, heads, bodies and times have bounds.

use super::review::{self, Verdict};
use crate::accept::accept;
use crate::admin::Metrics;
use crate::ca::ServingCertificate;
use crate::inject::InjectSettings;
use anyhow::Context as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections at a time; further ones wait in the kernel's queue. API servers keep theirs.
const CONNECTIONS: usize = 256;
/// Total time of a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Time to receive a request's head; also how long a connection may be silent.
const HEAD_TIME: Duration = Duration::from_secs(90);
/// Time to receive a body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Bytes of a review: the API server takes requests of 3 MiB at most, and sends the pod within one more object.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Where the API server asks.
const PATH: &str = "/inject";

/// Serves until `stop`. Returns the bound address as soon as it listens.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve(
    address: SocketAddr,
    tls: &ServingCertificate,
    settings: InjectSettings,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} can't be bound; choose another with --webhook"))?;
    let address = listener.local_addr().context("address of the webhook")?;
    // API servers speak HTTP/1.1 with webhooks (kubernetes/kubernetes#75791).
    let tls = TlsAcceptor::from(tls.config_for(&[b"http/1.1"]));
    let shared = Arc::new((settings, metrics));
    Ok((address, run(listener, tls, shared, stop)))
}

type Shared = Arc<(InjectSettings, Arc<Metrics>)>;

async fn run(listener: TcpListener, tls: TlsAcceptor, shared: Shared, stop: CancellationToken) {
    let ended = stop.clone();
    let failure = "the webhook can't accept a connection";
    accept(listener, CONNECTIONS, stop, failure, |stream, peer, slot| {
        let (tls, shared, stop) = (tls.clone(), shared.clone(), ended.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, tls, shared, stop).await {
                tracing::debug!(%peer, %error, "a connection of the webhook failed");
            }
            drop(slot);
        });
    })
    .await;
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    shared: Shared,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream =
        timeout(HANDSHAKE_TIME, tls.accept(stream)).await.context("the handshake took too long")??;
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(respond(request, &shared).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => return Ok(ended?),
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    // The question under way, if there is one.
    timeout(BODY_TIME, served).await.context("an answer took too long")??;
    Ok(())
}

async fn respond(
    request: Request<Incoming>,
    (settings, metrics): &(InjectSettings, Arc<Metrics>),
) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return text(StatusCode::NOT_FOUND, "POST /inject\n");
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    let body = match timeout(BODY_TIME, Limited::new(request.into_body(), BODY_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the review is too large or broken off\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the review took too long\n"),
    };
    let Some(answer) = review::answer(&body, settings) else {
        return text(StatusCode::BAD_REQUEST, "not an AdmissionReview (admission.k8s.io/v1) of a new pod\n");
    };
    let (namespace, owner) = (&answer.namespace, &answer.owner);
    match &answer.verdict {
        Verdict::Injected => {
            metrics.injection("injected");
            tracing::info!(namespace, owner, "a pod gets its sidecar");
        }
        Verdict::Skipped(reason) => {
            metrics.injection("skipped");
            tracing::debug!(namespace, owner, %reason, "a pod gets no sidecar");
        }
        Verdict::Refused(reason) => {
            metrics.injection("refused");
            tracing::warn!(namespace, owner, reason, "a pod is refused");
        }
    }
    let mut response = Response::new(Full::new(answer.body.to_string().into()));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
