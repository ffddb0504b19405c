//! What others ask of the sidecar itself: whether it is ready (15021); probes of the workload, metrics of both, the order
//! to drain or to end (15020).
//!
//! Probes of a workload that takes the mesh's TLS alone, or that a policy guards, would fail: the kubelet is no part of
//! the mesh. So the injector turns them to 15020, which is not captured, and what they ask for is asked of the workload
//! here (`ask`), past the capture. Orders are taken from this machine only.

mod ask;
mod merge;
mod probes;

pub use merge::AppMetrics;
pub use probes::{Probe, ProbeKind, Probes};

use crate::life::Life;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use sluice_proxy::admin::{Answer, Readiness};
use sluice_proxy::telemetry::Metrics;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const TEXT: &str = "text/plain; charset=utf-8";

/// What answers on 15021.
pub struct ReadyPage(pub Readiness);

impl Answer for ReadyPage {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _: bool) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/healthz/ready" => ready(&self.0),
            _ => page(StatusCode::NOT_FOUND, "there is only /healthz/ready\n"),
        }
    }
}

/// What answers on 15020.
pub struct StatusPages {
    /// Whether traffic is welcome.
    pub readiness: Readiness,
    /// Takes orders.
    pub life: Life,
    /// What is asked of the workload when somebody asks for a path.
    pub probes: Probes,
    /// Where the workload has metrics.
    pub app_metrics: Option<AppMetrics>,
    /// Our own.
    pub metrics: Arc<Metrics>,
    /// The pod's addresses: the workload is asked at the first one, on loopback when none is known.
    pub addresses: Vec<IpAddr>,
}

impl Answer for StatusPages {
    /// A hook of the workload's life may take as long as the pod's end.
    const TIME: Duration = Duration::from_secs(600);

    async fn answer(self: Arc<Self>, request: Request<Incoming>, local: bool) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match path {
            "/drain" | "/quitquitquit" => self.order(path, request.method(), local),
            _ if !matches!(*request.method(), Method::GET | Method::HEAD) => only("GET, HEAD"),
            "/healthz/ready" => ready(&self.readiness),
            "/stats/prometheus" | "/metrics" => {
                merge::page(&self.metrics, self.app_metrics.as_ref(), &self.addresses, request.headers())
                    .await
            }
            _ => match self.probes.get(path) {
                Some(probe) => {
                    let status = ask::ask(probe, &self.addresses).await;
                    page(status, format!("the workload says {}\n", status.as_u16()))
                }
                None => page(StatusCode::NOT_FOUND, "no such page or probe\n"),
            },
        }
    }
}

impl StatusPages {
    fn order(&self, path: &str, method: &Method, local: bool) -> Response<Full<Bytes>> {
        if method != Method::POST {
            return only("POST");
        }
        if !local {
            return page(StatusCode::FORBIDDEN, "only from this machine\n");
        }
        if path == "/drain" {
            self.life.announce_end();
            page(StatusCode::OK, "draining\n")
        } else {
            self.life.end();
            page(StatusCode::OK, "ending\n")
        }
    }
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    match readiness.reason() {
        None => page(StatusCode::OK, "ready\n"),
        Some(reason) => page(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn page(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, HeaderValue::from_static(TEXT), text)
}

fn typed(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
