//! Which answer a request gets.
//!
//! | Path | Answer |
//! |---|---|
//! | any other | `200` with the JSON of what was seen |
//! | `/status/503` | that status, with the same JSON |
//! | `/bytes/N` | N bytes, streamed (at most 1 GiB) |
//! | `/sse?events=5&every=10ms` | server-sent events |
//! | `/stream` | the request's body as it arrives |
//! | `/trailers` | a body and the trailer `x-echo-trailer` |
//! | `/early` | `103 Early Hints` first, on HTTP/1.1 |
//! | `/fail-first?n=2&key=abc&status=503` | `status` for the first `n` requests of `key`, then as any other |
//! | `/count/KEY` | how many requests had the header `x-echo-count: KEY`, those not yet answered included |
//! | `/close` | none: the connection or stream is closed |
//!
//! `?delay=200ms` delays every answer, `?status=503` sets its status, each `x-echo-set-header: name: value` of the
//! request adds a field to it, and `x-echo-backend` names who answered.

use super::body::{Body, BoxError, empty, full, streamed};
use super::hint::Hints;
use super::knobs::{Knobs, wanted_headers};
use super::seen::Seen;
use super::{grpc, websocket};
use bytes::Bytes;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, TRAILER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most bytes of `/bytes/N`.
const MOST_BYTES: u64 = 1 << 30;
/// Size of one piece of `/bytes/N`.
const PIECE: &[u8] = &[b'.'; 16 * 1024];
/// Keys that are counted; all of them are forgotten when there are more.
const MOST_KEYS: usize = 10_000;
/// The interim response of `/early`.
const EARLY_HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload; as=style\r\n\r\n";

/// One echo backend.
pub(super) struct Echo {
    pub(super) name: String,
    /// Ends the accepting of new work.
    pub(super) stop: CancellationToken,
    /// Ends what did not finish in time.
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
    failures: Mutex<HashMap<String, u64>>,
    counts: Mutex<HashMap<String, u64>>,
}

impl Echo {
    pub(super) fn new(name: String, stop: CancellationToken, cut: CancellationToken) -> Self {
        Self {
            name,
            stop,
            cut,
            tasks: TaskTracker::new(),
            failures: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Answers one request; an error closes the connection or resets the stream.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        hints: Hints,
    ) -> Result<Response<Body>, BoxError> {
        if let Some(key) = request.headers().get("x-echo-count").and_then(|key| key.to_str().ok()) {
            count(&self.counts, key);
        }
        let wanted = wanted_headers(request.headers());
        let knobs = Knobs::of(request.uri());
        let delay = knobs.duration("delay", Duration::ZERO);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut response = if grpc::is_grpc(&request) {
            grpc::answer(&self, request, peer)
        } else if websocket::is_upgrade(&request) {
            websocket::answer(&self, request, peer)
        } else {
            self.plain(request, peer, hints, &knobs).await?
        };
        let headers = response.headers_mut();
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            headers.insert("x-echo-backend", name);
        }
        for (name, value) in wanted {
            headers.append(name, value);
        }
        Ok(response)
    }

    async fn plain(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        hints: Hints,
        knobs: &Knobs,
    ) -> Result<Response<Body>, BoxError> {
        let path = request.uri().path();
        if let Some(key) = path.strip_prefix("/count/") {
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let number = counts.get(key).copied().unwrap_or_default();
            return answered(StatusCode::OK, "text/plain", full(format!("{number}\n")));
        }
        let mut status = knobs.text("status").and_then(|text| text.parse().ok()).unwrap_or(StatusCode::OK);
        if let Some(number) = path.strip_prefix("/bytes/").and_then(|number| number.parse().ok()) {
            return answered(
                StatusCode::OK,
                "application/octet-stream",
                bytes_body(u64::min(number, MOST_BYTES)),
            );
        }
        if let Some(number) = path.strip_prefix("/status/").and_then(|number| number.parse().ok()) {
            status = number;
        }
        match path {
            "/sse" => return server_sent_events(knobs),
            "/stream" => {
                return answered(
                    status,
                    "application/octet-stream",
                    request.into_body().map_err(Into::into).boxed_unsync(),
                );
            }
            "/trailers" => return with_trailers(),
            "/close" => return Err("asked to close".into()),
            "/early" if request.version() == Version::HTTP_11 => hints.push(EARLY_HINTS),
            "/fail-first" => status = self.fail_first(knobs),
            _ => {}
        }
        self.seen(status, request, peer).await
    }

    async fn seen(
        &self,
        status: StatusCode,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let mut seen = Seen::head(&self.name, &parts, peer);
        seen.read_body(body).await?;
        let silent = parts.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || status.is_informational();
        // hyper refuses interim statuses as answers; whoever asks for one gets told by a 200.
        let status = if status.is_informational() { StatusCode::OK } else { status };
        answered(status, "application/json", if silent { empty() } else { full(seen.to_json()?) })
    }

    /// The status of one more request of `key`.
    fn fail_first(&self, knobs: &Knobs) -> StatusCode {
        let failing = knobs.text("status").and_then(|text| text.parse().ok());
        let failed = count(&self.failures, knobs.text("key").unwrap_or_default());
        if failed > knobs.number("n", 1, u64::MAX) {
            StatusCode::OK
        } else {
            failing.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// Counts one more of `key`.
fn count(counts: &Mutex<HashMap<String, u64>>, key: &str) -> u64 {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    if counts.len() >= MOST_KEYS {
        counts.clear();
    }
    let count = counts.entry(key.to_owned()).or_insert(0);
    *count += 1;
    *count
}

fn answered(status: StatusCode, content_type: &'static str, body: Body) -> Result<Response<Body>, BoxError> {
    Ok(Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body)?)
}

fn bytes_body(length: u64) -> Body {
    streamed(stream::unfold(length, |left| async move {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE.len());
        let bytes = PIECE.get(..piece).filter(|bytes| !bytes.is_empty())?;
        Some((Ok(Frame::data(Bytes::from_static(bytes))), left - piece as u64))
    }))
}

fn server_sent_events(knobs: &Knobs) -> Result<Response<Body>, BoxError> {
    let events = knobs.number("events", 5, 1_000_000);
    let every = knobs.duration("every", Duration::from_millis(10));
    let frames = stream::unfold(0, move |sent| async move {
        if sent >= events {
            return None;
        }
        if sent > 0 {
            tokio::time::sleep(every).await;
        }
        Some((Ok(Frame::data(Bytes::from(format!("id: {sent}\ndata: event {sent}\n\n")))), sent + 1))
    });
    let mut response = answered(StatusCode::OK, "text/event-stream", streamed(frames))?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// An HTTP/1.1 client must send `TE: trailers` to get them (RFC 9110 §6.5.1).
fn with_trailers() -> Result<Response<Body>, BoxError> {
    let mut trailers = HeaderMap::new();
    trailers.insert(HeaderName::from_static("x-echo-trailer"), HeaderValue::from_static("at the end"));
    let frames = [Ok(Frame::data(Bytes::from_static(b"trailers follow\n"))), Ok(Frame::trailers(trailers))];
    let mut response = answered(StatusCode::OK, "text/plain", streamed(stream::iter(frames)))?;
    response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-echo-trailer"));
    Ok(response)
}
