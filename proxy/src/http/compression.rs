//! Answers are compressed on their way to the client: the head says so, the body is coded as it comes.

use super::context::RequestContext;
use super::failure::failure;
use crate::policy::{OF_THE_BYTES, has_directive};
use crate::telemetry::Outcome;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Version};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

/// Marks the head of an answer that is compressed for those who like it, and begins where this client does.
pub(super) fn head(
    session: &Session,
    header: &mut ResponseHeader,
    context: &mut RequestContext,
) -> Result<()> {
    let Some(policy) = context.policy.as_ref().and_then(|it| it.compression.clone()) else { return Ok(()) };
    let request = session.req_header();
    if context.grpc || context.upgraded || policy.is_exempt(request.uri.path()) {
        return Ok(());
    }
    // RFC 9111 §5.2.1.6: it wants the answer as it is.
    if has_directive(&request.headers, b"no-transform") {
        return Ok(());
    }
    let status = header.status.as_u16();
    if status == 304 {
        return not_modified(&request.headers, header);
    }
    if !policy.takes(status, &header.headers) {
        return Ok(());
    }
    vary(header)?;
    // Without chunks, the end of a body of unknown length is the end of the connection.
    let is_old = request.version < Version::HTTP_11;
    let Some(coding) = policy.wanted(&request.headers).filter(|_| !is_old) else { return Ok(()) };
    // To HEAD the fields of GET are told (RFC 9110 §9.3.2), and nothing is coded.
    if request.method != Method::HEAD {
        let Some(begun) = policy.begin(coding, &header.headers) else {
            context.metrics().bodies().left_alone();
            return Ok(());
        };
        context.metrics().bodies().compressed(coding.coding);
        context.compressing = Some(Box::new(begun));
    }
    header.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.coding.token()))?;
    header.remove_header(&header::CONTENT_LENGTH);
    header.remove_header(&header::ACCEPT_RANGES);
    for name in OF_THE_BYTES {
        header.remove_header(&name);
    }
    if let Some(weak) = header.headers.get(header::ETAG).and_then(weakened) {
        header.insert_header(header::ETAG, weak)?;
    }
    if request.method != Method::HEAD && !session.is_http2() {
        header.set_version(Version::HTTP_11);
        header.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    Ok(())
}

/// A client that has the compressed form knows it by its weak tag, and is told of that one (RFC 9111 §4.3.4).
fn not_modified(request: &HeaderMap, header: &mut ResponseHeader) -> Result<()> {
    let Some(weak) = header.headers.get(header::ETAG).and_then(weakened) else { return Ok(()) };
    let asked = request.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = asked.flat_map(|it| it.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if tags.any(|tag| tag == weak.as_bytes()) {
        header.insert_header(header::ETAG, weak)?;
        vary(header)?;
    }
    Ok(())
}

/// The weak form of a strong tag; `None`: it is weak.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let strong = tag.as_bytes();
    if strong.starts_with(b"W/") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", strong].concat()).ok()
}

/// Adds Accept-Encoding to what the answer depends on, unless it is there.
fn vary(header: &mut ResponseHeader) -> Result<()> {
    let named = header.headers.get_all(header::VARY).iter();
    let mut named = named.flat_map(|it| it.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if !named.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")) {
        header.append_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
    }
    Ok(())
}

/// Codes a piece of the body. Costs one comparison where nothing is compressed.
pub(super) fn body(body: &mut Option<Bytes>, is_last: bool, context: &mut RequestContext) -> Result<()> {
    let Some(running) = context.compressing.as_mut() else { return Ok(()) };
    let piece = body.take().unwrap_or_default();
    match running.next(&piece, is_last) {
        Ok(out) => {
            let coding = running.coding;
            let bytes = out.as_ref().map_or(0, Bytes::len);
            context.metrics().bodies().compressed_bytes(coding, piece.len(), bytes);
            *body = out;
            Ok(())
        }
        Err(_) => Err(failure(context, Outcome::Internal)),
    }
}

/// The end of a body that fields follow which nobody had announced: they give way to it.
pub(super) fn trailers(context: &mut RequestContext) -> Result<Option<Bytes>> {
    let mut end = None;
    body(&mut end, true, context)?;
    Ok(end)
}
