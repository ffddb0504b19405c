//! One request on an HTTP/2 connection over TLS: Pingora's session, in the shape of a protocol of ours.
//!
//! Pingora forwards to such a session what the client sent, unlike to HTTP/2 of its own making. So the head is brought
//! to the form of HTTP/2 here.

use crate::upstream::mirror::{host, strip, wants_trailers};
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use h2::SendStream;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Version, request};
use pingora_core::protocols::http::custom::client::Session;
use pingora_core::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{Digest, UniqueIDType};
use pingora_error::{ErrorType, OkOrErr, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::time::Duration;

/// A request and its answer.
pub(crate) struct Http2 {
    session: Http2Session,
    /// The head said that there is no body.
    ended: bool,
}

impl Http2 {
    pub(super) fn new(session: Http2Session) -> Self {
        Self { session, ended: false }
    }

    pub(super) fn into_inner(self) -> Http2Session {
        self.session
    }
}

/// RFC 9113 §8.2.2 and §8.3.1: no field of the connection, `:authority` in place of Host, and the scheme.
pub(in crate::upstream) fn in_http2(header: RequestHeader, scheme: Scheme) -> Result<Box<RequestHeader>> {
    let mut head: request::Parts = header.into();
    let authority = host(&head.headers, &head.uri).or_err(ErrorType::InvalidHTTPHeader, "no valid host")?;
    let trailers = wants_trailers(&head.headers);
    let expects = head.headers.remove(header::EXPECT);
    strip(&mut head.headers);
    head.headers.remove(header::HOST);
    if let Some(expects) = expects {
        head.headers.insert(header::EXPECT, expects);
    }
    if trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    head.uri = uri.or_err(ErrorType::InvalidHTTPHeader, "no valid path")?;
    head.version = Version::HTTP_2;
    Ok(Box::new(head.into()))
}

#[async_trait]
impl Session for Http2 {
    async fn write_request_header(&mut self, header: Box<RequestHeader>, end: bool) -> Result<()> {
        self.ended = end;
        self.session.write_request_header(in_http2(*header, Scheme::HTTPS)?, end)
    }

    async fn write_request_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.session.write_request_body(data, end).await
    }

    async fn finish_request_body(&mut self) -> Result<()> {
        self.session.finish_request_body()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.session.read_timeout = timeout;
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.session.write_timeout = timeout;
    }

    async fn read_response_header(&mut self) -> Result<()> {
        self.session.read_response_header().await
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        self.session.read_response_body().await
    }

    fn response_finished(&self) -> bool {
        self.session.response_finished()
    }

    async fn shutdown(&mut self, _code: u32, _reason: &str) {
        self.session.shutdown();
    }

    fn response_header(&self) -> Option<&ResponseHeader> {
        self.session.response_header()
    }

    fn was_upgraded(&self) -> bool {
        false
    }

    fn digest(&self) -> Option<&Digest> {
        self.session.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.session.digest_mut()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.session.server_addr()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.session.client_addr()
    }

    async fn read_trailers(&mut self) -> Result<Option<HeaderMap>> {
        self.session.read_trailers().await
    }

    fn fd(&self) -> UniqueIDType {
        self.session.fd()
    }

    async fn check_response_end_or_error(&mut self, _head: bool) -> Result<bool> {
        self.session.check_response_end_or_error()
    }

    fn take_request_body_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        let stream = self.session.take_request_body_writer()?;
        let write_timeout = self.session.write_timeout;
        Some(Box::new(Body { stream, write_timeout, ended: self.ended }))
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        Some(Box::new(futures::stream::empty()))
    }

    async fn drain_custom_messages(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        Some(Box::new(()))
    }
}

/// The request's body on its way.
struct Body {
    stream: SendStream<Bytes>,
    write_timeout: Option<Duration>,
    ended: bool,
}

impl Body {
    /// An endpoint may answer, or end the stream, before it has read everything (RFC 9113 §8.1). The rest is then not
    /// wanted, and the answer's side says what became of the request: also when the endpoint takes no more in time.
    async fn write(&mut self, data: Bytes, end: bool) {
        if !self.ended {
            self.ended = write_body(&mut self.stream, data, end, self.write_timeout).await.is_err() || end;
        }
    }
}

#[async_trait]
impl BodyWrite for Body {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        self.write(std::mem::take(data), false).await;
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.write(Bytes::new(), true).await;
        Ok(())
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::in_http2;
    use http::uri::Scheme;
    use pingora_http::RequestHeader;

    #[test]
    fn a_head_of_http1_becomes_one_of_http2() {
        let mut header = RequestHeader::build("GET", b"/a?b=c", None).unwrap();
        for (name, value) in [
            ("Host", "shop.example:8080"),
            ("Connection", "x-hop, close"),
            ("X-Hop", "1"),
            ("TE", "gzip, trailers"),
            ("Transfer-Encoding", "chunked"),
            ("X-Stays", "2"),
        ] {
            header.append_header(name, value).unwrap();
        }
        let header = in_http2(header, Scheme::HTTPS).unwrap();
        assert_eq!(header.uri, "https://shop.example:8080/a?b=c");
        let mut names: Vec<_> = header.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "x-stays"]);
        assert_eq!(header.headers["te"], "trailers");
        assert!(
            in_http2(RequestHeader::build("GET", b"/", None).unwrap(), Scheme::HTTPS).is_err(),
            "no host"
        );
    }
}
