//! What the admin server answers.

use super::Readiness;
use crate::telemetry::Metrics;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use std::sync::Arc;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Makes a page when it is asked for.
pub type Page = Box<dyn Fn() -> String + Send + Sync>;

/// What the admin server shows.
pub struct AdminState {
    /// Answers `/healthz/ready`.
    pub readiness: Readiness,
    /// Answers `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Further pages by path, `/debug/snapshot`: JSON, without secrets. A page that panics is answered with 500.
    pub pages: Vec<(String, Page)>,
}

/// The answer to a request; `local`: the client is on this machine.
pub(super) async fn answer<B>(
    state: &Arc<AdminState>,
    request: &Request<B>,
    local: bool,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz/live" => page(StatusCode::OK, TEXT, "live\n"),
        "/healthz/ready" => match state.readiness.reason() {
            None => page(StatusCode::OK, TEXT, "ready\n"),
            Some(reason) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reason}\n")),
        },
        "/metrics" => made(state, OPENMETRICS, |state| Some(state.metrics.encode())).await,
        path if path.starts_with("/debug") && !local => {
            page(StatusCode::FORBIDDEN, TEXT, "only from this machine; forward the port to it\n")
        }
        path => match state.pages.iter().position(|(its, _)| its == path) {
            Some(index) => {
                made(state, JSON, move |state| state.pages.get(index).map(|(_, page)| page())).await
            }
            None => page(StatusCode::NOT_FOUND, TEXT, listing(state)),
        },
    }
}

/// Makes a page on a thread that may block: a large snapshot takes a while, and a fault in a page stays there.
async fn made(
    state: &Arc<AdminState>,
    content_type: &'static str,
    make: impl FnOnce(&AdminState) -> Option<String> + Send + 'static,
) -> Response<Full<Bytes>> {
    let of_task = state.clone();
    match tokio::task::spawn_blocking(move || make(&of_task)).await {
        Ok(Some(text)) => page(StatusCode::OK, content_type, text),
        Ok(None) | Err(_) => {
            state.metrics.panicked();
            page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the page could not be made\n")
        }
    }
}

fn listing(state: &AdminState) -> String {
    let own = ["/healthz/live", "/healthz/ready", "/metrics"];
    let all = own.into_iter().chain(state.pages.iter().map(|(path, _)| path.as_str()));
    all.fold("no such page; there are:\n".to_owned(), |text, path| text + path + "\n")
}

fn page(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
