//! Our HTTP client as the one of instant-acme. It remembers status and `Retry-After` of the last answer, which the
//! library keeps to itself.

use super::fetch::Fetcher;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The way to one authority for one order at a time.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    fetcher: Fetcher,
    last: Arc<Mutex<Last>>,
}

/// The last answer.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    status: Option<StatusCode>,
    retry_after: Option<SystemTime>,
}

impl Wire {
    pub(crate) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, last: Arc::default() }
    }

    /// What the last answer said about when to come back.
    pub(crate) fn retry_after(&self) -> Option<SystemTime> {
        self.last.lock().retry_after
    }

    /// Whether the last answer was that there is no such thing; some authorities say so without a problem document.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.last.lock().status, Some(StatusCode::NOT_FOUND | StatusCode::GONE))
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let wire = self.clone();
        Box::pin(async move {
            *wire.last.lock() = Last::default();
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_or_else(|never| match never {}, |it| it.to_bytes());
            let answer = wire.fetcher.fetch(Request::from_parts(parts, Full::new(body))).await;
            let answer = answer.map_err(|text| Error::Other(text.into()))?;
            let retry_after = retry_after(answer.headers(), SystemTime::now());
            *wire.last.lock() = Last { status: Some(answer.status()), retry_after };
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))))
        })
    }
}

/// RFC 9110 §10.2.3: seconds or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<SystemTime> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(now + Duration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::retry_after;
    use http::{HeaderMap, HeaderValue};
    use std::time::{Duration, SystemTime};

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(now + Duration::from_secs(120)));
        assert_eq!(
            read("Fri, 31 Dec 1999 23:59:59 GMT"),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_799))
        );
        assert_eq!(read("soon"), None);
    }
}
