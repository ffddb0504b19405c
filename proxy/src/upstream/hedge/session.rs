//! What Pingora takes for the connection of a hedged try, and the sessions that our connectors give.

use super::Heat;
use super::race::{self, Answered, Racers, Request};
use crate::upstream::tls::Http2;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::custom::client::Session;
use pingora_core::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{Digest, UniqueIDType};
use pingora_error::{Error, ErrorType, OkOrErr, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Messages besides bodies; there are none.
type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A session of one of our protocols.
pub(crate) enum Ours {
    /// HTTP/2 over TLS.
    Http2(Box<Http2>),
    /// A hedged try.
    Race(Box<Race>),
}

/// A hedged try: a request that is collected, then a race, then the answer of who won it.
pub(crate) struct Race {
    racers: Arc<Racers>,
    heat: Arc<Heat>,
    header: Option<Box<RequestHeader>>,
    /// Brings the body when it is whole; `None`: there is none.
    body: Option<oneshot::Receiver<Bytes>>,
    writer: Option<Writer>,
    winner: Option<Answered>,
}

impl Race {
    pub(super) fn new(racers: Arc<Racers>, heat: Arc<Heat>) -> Self {
        Self { racers, heat, header: None, body: None, writer: None, winner: None }
    }

    /// Who won, with the peer that its connection belongs to.
    pub(super) fn into_winner(self) -> Option<Answered> {
        self.winner
    }

    fn begin(&mut self, header: Box<RequestHeader>, end: bool) {
        self.header = Some(header);
        let (sender, receiver) = oneshot::channel();
        self.body = (!end).then_some(receiver);
        self.writer = Some(Writer { bytes: Bytes::new(), sender: (!end).then_some(sender) });
    }

    async fn run(&mut self) -> Result<()> {
        let header = self.header.take().or_err(ErrorType::InternalError, "a race without a request")?;
        let body = match self.body.take() {
            None => None,
            Some(body) => {
                Some(body.await.or_err(ErrorType::InternalError, "a body that never became whole")?)
            }
        };
        let request = Request { header: *header, body };
        self.winner = Some(race::run(&self.racers, &self.heat, request).await?);
        Ok(())
    }

    fn session(&mut self) -> Result<&mut HttpSession<Http2>> {
        let winner = self.winner.as_mut().map(|winner| &mut winner.session);
        winner.or_err(ErrorType::InternalError, "a race without an answer")
    }

    async fn is_over(&mut self, head: bool) -> Result<bool> {
        match self.session()? {
            HttpSession::H1(http1) => Ok(http1.is_body_done()),
            HttpSession::H2(http2) => http2.check_response_end_or_error(),
            HttpSession::Custom(http2) => http2.check_response_end_or_error(head).await,
        }
    }

    async fn trailers(&mut self) -> Result<Option<HeaderMap>> {
        match self.session()? {
            HttpSession::H1(_) => Ok(None),
            HttpSession::H2(http2) => http2.read_trailers().await,
            HttpSession::Custom(http2) => http2.read_trailers().await,
        }
    }
}

#[async_trait]
impl Session for Ours {
    async fn write_request_header(&mut self, header: Box<RequestHeader>, end: bool) -> Result<()> {
        match self {
            Self::Http2(it) => it.write_request_header(header, end).await,
            Self::Race(it) => {
                it.begin(header, end);
                Ok(())
            }
        }
    }

    async fn write_request_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        match self {
            Self::Http2(it) => it.write_request_body(data, end).await,
            Self::Race(it) => it.writer.as_mut().map_or(Ok(()), |writer| writer.add(data, end)),
        }
    }

    async fn finish_request_body(&mut self) -> Result<()> {
        match self {
            Self::Http2(it) => it.finish_request_body().await,
            Self::Race(it) => it.writer.as_mut().map_or(Ok(()), |writer| writer.add(Bytes::new(), true)),
        }
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        // Who runs in a race has times of its own.
        if let Self::Http2(it) = self {
            it.set_read_timeout(timeout);
        }
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        if let Self::Http2(it) = self {
            it.set_write_timeout(timeout);
        }
    }

    async fn read_response_header(&mut self) -> Result<()> {
        match self {
            Self::Http2(it) => it.read_response_header().await,
            Self::Race(it) => it.run().await,
        }
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Http2(it) => it.read_response_body().await,
            Self::Race(it) => it.session()?.read_response_body().await,
        }
    }

    fn response_finished(&self) -> bool {
        match self {
            Self::Http2(it) => it.response_finished(),
            Self::Race(_) => false,
        }
    }

    async fn shutdown(&mut self, code: u32, reason: &str) {
        match self {
            Self::Http2(it) => it.shutdown(code, reason).await,
            // Dropping a session closes its connection, or resets its stream.
            Self::Race(it) => it.winner = None,
        }
    }

    fn response_header(&self) -> Option<&ResponseHeader> {
        match self {
            Self::Http2(it) => it.response_header(),
            Self::Race(it) => it.winner.as_ref()?.session.response_header(),
        }
    }

    fn was_upgraded(&self) -> bool {
        false
    }

    fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Http2(it) => it.digest(),
            Self::Race(it) => it.winner.as_ref()?.session.digest(),
        }
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        match self {
            Self::Http2(it) => it.digest_mut(),
            Self::Race(it) => it.winner.as_mut()?.session.digest_mut(),
        }
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        match self {
            Self::Http2(it) => it.server_addr(),
            Self::Race(it) => it.winner.as_ref()?.session.server_addr(),
        }
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        match self {
            Self::Http2(it) => it.client_addr(),
            Self::Race(it) => it.winner.as_ref()?.session.client_addr(),
        }
    }

    async fn read_trailers(&mut self) -> Result<Option<HeaderMap>> {
        match self {
            Self::Http2(it) => it.read_trailers().await,
            Self::Race(it) => it.trailers().await,
        }
    }

    fn fd(&self) -> UniqueIDType {
        match self {
            Self::Http2(it) => it.fd(),
            Self::Race(_) => -1,
        }
    }

    async fn check_response_end_or_error(&mut self, head: bool) -> Result<bool> {
        match self {
            Self::Http2(it) => it.check_response_end_or_error(head).await,
            Self::Race(it) => it.is_over(head).await,
        }
    }

    fn take_request_body_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        match self {
            Self::Http2(it) => it.take_request_body_writer(),
            Self::Race(it) => it.writer.take().map(|writer| Box::new(writer) as Box<dyn BodyWrite>),
        }
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        Some(Box::new(futures::stream::empty()))
    }

    async fn drain_custom_messages(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        Some(Box::new(()))
    }
}

/// Collects the body, which was read whole before and is bounded by its policy.
struct Writer {
    bytes: Bytes,
    /// `None` when the body is complete.
    sender: Option<oneshot::Sender<Bytes>>,
}

impl Writer {
    /// A body that comes in one piece, as those that were read before do, is not copied.
    fn add(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.bytes.is_empty() {
            self.bytes = data;
        } else if !data.is_empty() {
            self.bytes = [&self.bytes[..], &data[..]].concat().into();
        }
        match self.sender.take() {
            Some(sender) if end => match sender.send(std::mem::take(&mut self.bytes)) {
                Ok(()) => Ok(()),
                Err(_) => Error::e_explain(ErrorType::WriteError, "the race is over"),
            },
            sender => {
                self.sender = sender;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl BodyWrite for Writer {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        let data = std::mem::take(data);
        self.add(data, false)
    }

    async fn finish(&mut self) -> Result<()> {
        self.add(Bytes::new(), true)
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {}
}
