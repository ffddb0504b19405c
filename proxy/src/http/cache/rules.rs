//! What a shared cache may keep, for whom and how long (RFC 9111). Pure: head in, verdict out.

use crate::policy::{has_directive, is_coded};
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use pingora_cache::cache_control::{CacheControl, InterpretCacheControl as _};
use pingora_cache::filters::{calculate_fresh_until, calculate_serve_stale_durations};
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheMeta, CacheMetaDefaults, VarianceBuilder};
use pingora_http::ResponseHeader;
use std::time::{Duration, SystemTime};

/// No answer is fresh, and none is served stale, unless it says so.
const SAID: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);
/// Most fields that an answer may vary by.
const MOST_VARIED: usize = 16;

/// What of a request decides about keeping its answer.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    /// It names who asks (RFC 9111 §3.5).
    pub(super) is_authorized: bool,
    pub(super) has_cookie: bool,
}

impl Asker {
    pub(super) fn of(request: &HeaderMap) -> Self {
        Self {
            is_authorized: request.contains_key(header::AUTHORIZATION),
            has_cookie: request.contains_key(header::COOKIE),
        }
    }
}

/// Whether a request may be answered by what is kept. What a client wants fresh (`no-cache`, `max-age`) is advice that is not
/// followed, or everybody could make the backend do all the work; what it does not want to be kept is not.
pub(super) fn may_use(method: &Method, request: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && !has_directive(request, b"no-store")
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotKept {
    /// Answers of this URL are not for all: the next ones need not wait for each other.
    Never,
    /// This one is not, by what it or its request happens to be.
    Now,
}

/// What is kept of an answer, and for how long.
pub(super) fn kept(
    response: &ResponseHeader,
    asker: Asker,
    default_ttl: Option<Duration>,
    now: SystemTime,
) -> Result<CacheMeta, NotKept> {
    let headers = &response.headers;
    if !is_final(response.status) {
        return Err(NotKept::Now);
    }
    let control = CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), headers);
    let control = control.as_ref();
    let is_barred = control.is_some_and(|it| it.no_store() || it.private());
    let is_ours = headers.contains_key(header::SET_COOKIE) || headers.contains_key(header::CONTENT_RANGE);
    if is_barred || is_ours || varied(headers).is_none() {
        return Err(NotKept::Never);
    }
    if asker.is_authorized && !control.is_some_and(|it| it.allow_caching_authorized_req()) {
        return Err(NotKept::Now);
    }
    let said = calculate_fresh_until(now, control, response, false, &SAID);
    let by_default = || {
        let ttl = default_ttl
            .filter(|_| response.status == StatusCode::OK && headers.get(header::EXPIRES).is_none())?;
        now.checked_add(ttl)
    };
    let fresh_until = match said {
        Some(said) => said,
        // Whoever shows a cookie may get an answer of his own: nobody has said that it is not.
        None if asker.has_cookie && default_ttl.is_some() => return Err(NotKept::Now),
        None => by_default().ok_or(NotKept::Never)?,
    };
    // Ages count from where the answer was made (RFC 9111 §4.2.3); a time of the clock counts for itself.
    let age = age(headers);
    let is_span = control.is_some_and(|it| it.fresh_duration().is_some()) || said.is_none();
    let fresh_until = if is_span { fresh_until.checked_sub(age).unwrap_or(now) } else { fresh_until };
    let has_validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    if fresh_until <= now && !has_validator {
        return Err(NotKept::Never);
    }
    let (revalidating, error) = calculate_serve_stale_durations(control, &SAID);
    let mut header = response.clone();
    for name in own_fields(headers) {
        header.remove_header(&name);
    }
    if let Some(control) = control {
        control.strip_private_headers(&mut header);
    }
    let mut meta = CacheMeta::new(fresh_until, now, revalidating, error, header);
    if let Some(epoch) = now.checked_sub(age).filter(|_| !age.is_zero()) {
        meta.set_epoch_override(epoch);
    }
    Ok(meta)
}

/// Whether a kept answer may go to a request that names who asks (RFC 9111 §3.5).
pub(super) fn is_for_authorized(kept: &HeaderMap) -> bool {
    let control = CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), kept);
    control.is_some_and(|it| it.allow_caching_authorized_req())
}

/// Statuses whose meaning is the whole answer (RFC 9110 §15.1), and temporary redirects that say how long they hold.
fn is_final(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 302 | 307 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn age(headers: &HeaderMap) -> Duration {
    let age = headers.get(header::AGE).and_then(|it| it.to_str().ok()).and_then(|it| it.trim().parse().ok());
    Duration::from_secs(age.unwrap_or(0))
}

/// Fields that belong to one hop or one moment (RFC 9111 §3.1).
fn own_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|it| it.to_str().ok());
    let named = named.flat_map(|it| it.split(',')).filter_map(|it| it.trim().parse().ok());
    let always = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::AGE,
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("proxy-authentication-info"),
    ];
    named.chain(always).filter(|it| *it != header::CONTENT_LENGTH).collect()
}

/// The request fields that an answer depends on; `None`: on something that nobody can name, or on too much.
fn varied(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for name in headers.get_all(header::VARY).iter().flat_map(|it| it.as_bytes().split(|byte| *byte == b','))
    {
        match name.trim_ascii() {
            b"" => {}
            name => names.push(HeaderName::from_bytes(name).ok()?),
        }
    }
    // `*` is a token too, and so a name.
    let is_nameable = names.iter().all(|it| it != "*") && names.len() <= MOST_VARIED;
    is_nameable.then_some(names)
}

/// What tells the variants of an answer apart. Where answers are compressed on their way out, one that is in no coding is
/// for all.
pub(super) fn variance(kept: &HeaderMap, request: &HeaderMap, compresses: bool) -> Option<HashBinary> {
    let mut variance = VarianceBuilder::new();
    for name in varied(kept).unwrap_or_default() {
        if name == header::ACCEPT_ENCODING && compresses && !is_coded(kept) {
            continue;
        }
        let mut value = Vec::new();
        for field in request.get_all(&name) {
            value.push(b'|');
            value.extend(field.as_bytes().iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
        variance.add_owned_name_value(name.as_str().to_owned(), value);
    }
    variance.finalize()
}

/// What distinguishes URLs, each part with its length before it, so that no two run into one.
pub(super) fn name(parts: &[&[u8]]) -> Vec<u8> {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    name
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
