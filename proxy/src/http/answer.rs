//! Answers of our own: short, typed by [`Outcome`], as gRPC statuses for gRPC clients.

use crate::auth::Denied;
use crate::telemetry::Outcome;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use pingora_core::protocols::http::HttpTask;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

/// Answers with the outcome's status. The body names the outcome's word, nothing of the configuration.
pub(super) async fn outcome(session: &mut Session, outcome: Outcome, grpc: bool) -> Result<u16> {
    let Some(status) = outcome.status() else { return Ok(0) };
    if grpc {
        return grpc_status(session, outcome.grpc_status(), outcome.told(), Vec::new()).await;
    }
    let mut fields = Vec::new();
    if status == 503 {
        fields.push((header::RETRY_AFTER, HeaderValue::from_static("1")));
    }
    if outcome == Outcome::Forbidden {
        return text(session, status, fields, outcome.told()).await;
    }
    text(session, status, fields, &format!("{}\n", outcome.told())).await
}

/// Answers with somebody else's status, fields and body. A HEAD request gets the header alone.
pub(super) async fn whole(
    session: &mut Session,
    status: u16,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Result<u16> {
    let mut response = ResponseHeader::build(status, Some(fields.len() + 4))?;
    for (name, value) in fields {
        response.append_header(name, value)?;
    }
    let has_body = status != 204 && status != 304;
    if has_body {
        response.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        if !body.is_empty() && !response.headers.contains_key(header::CONTENT_TYPE) {
            response
                .insert_header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))?;
        }
    }
    let silent = !has_body || body.is_empty() || session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(response), silent).await?;
    if !silent {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(status)
}

/// A denial for a client of gRPC: the fields of the answer, but none that speak of its body.
pub(super) async fn grpc_denied(session: &mut Session, denied: Denied) -> Result<u16> {
    let fields = denied.fields.into_iter().filter(|(name, _)| !name.as_str().starts_with("content-"));
    grpc_status(session, denied.grpc_status, Outcome::AuthDenied.word(), fields.collect()).await
}

/// Answers with a status, fields and a text. A HEAD request gets the header alone.
pub(super) async fn text(
    session: &mut Session,
    status: u16,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: &str,
) -> Result<u16> {
    let mut response = ResponseHeader::build(status, Some(fields.len() + 4))?;
    for (name, value) in fields {
        response.append_header(name, value)?;
    }
    if status != 204 && status != 304 {
        response.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        if !body.is_empty() {
            response
                .insert_header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))?;
        }
    }
    let silent = body.is_empty() || session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(response), silent).await?;
    if !silent {
        session.write_response_body(Some(Bytes::copy_from_slice(body.as_bytes())), true).await?;
    }
    Ok(status)
}

/// A trailers-only gRPC answer (gRPC over HTTP/2, Responses).
pub(super) async fn grpc_status(
    session: &mut Session,
    status: u8,
    word: &'static str,
    fields: Vec<(HeaderName, HeaderValue)>,
) -> Result<u16> {
    let mut response = ResponseHeader::build(200, Some(4 + fields.len()))?;
    for (name, value) in fields {
        response.append_header(name, value)?;
    }
    response.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
    response.insert_header("grpc-status", HeaderValue::from(u16::from(status)))?;
    response.insert_header("grpc-message", HeaderValue::from_static(word))?;
    if session.is_http2() {
        // The header block itself ends the stream: clients take an empty DATA frame after it for missing trailers.
        session.write_response_tasks(vec![HttpTask::Header(Box::new(response), true)]).await?;
    } else {
        response.insert_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))?;
        session.write_response_header(Box::new(response), true).await?;
    }
    Ok(200)
}
