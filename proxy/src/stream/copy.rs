//! Both directions of a connection with TLS on a side: through memory, which is held only while bytes are on their way.

use super::relay::{Broken, Counts, EndpointSide, Flow};
use crate::listen::ClientSide;
use crate::telemetry::Outcome;
use crate::upstream::TlsStream;
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server;

/// Bytes read from a socket at a time: what a TLS record holds.
const READ: usize = 16 * 1024;

/// One side.
pub(super) enum Side {
    Plain(TcpStream),
    Client(Box<server::TlsStream<TcpStream>>),
    Endpoint(Box<TlsStream>),
}

impl From<ClientSide> for Side {
    fn from(side: ClientSide) -> Self {
        match side {
            ClientSide::Plain(socket) => Self::Plain(socket),
            ClientSide::Tls(tls) => Self::Client(tls),
        }
    }
}

impl From<EndpointSide> for Side {
    fn from(side: EndpointSide) -> Self {
        match side {
            EndpointSide::Plain(socket) => Self::Plain(socket),
            EndpointSide::Tls(tls) => Self::Endpoint(tls),
        }
    }
}

impl Side {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Client(tls) => tls.get_ref().0,
            Self::Endpoint(tls) => tls.get_ref().0,
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Plain(socket) => Pin::new(socket),
            Self::Client(tls) => Pin::new(&mut **tls),
            Self::Endpoint(tls) => Pin::new(&mut **tls),
        }
    }

    /// Appends what is there; 0 at a proper end. A TLS connection that ends without saying so has not ended properly:
    /// somebody may have cut it (RFC 8446 §6.1).
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => poll_socket(socket, cx, into),
            Self::Client(tls) => poll_decrypted(Pin::new(&mut **tls), cx, into),
            Self::Endpoint(tls) => poll_decrypted(Pin::new(&mut **tls), cx, into),
        }
    }
}

fn poll_socket(socket: &TcpStream, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        // On the stack: it costs nothing while the connection is silent.
        let mut bytes = [0; READ];
        match socket.try_read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
            Ok(len) => {
                into.extend_from_slice(&bytes[..len]);
                return Poll::Ready(Ok(len));
            }
        }
    }
}

fn poll_decrypted(
    mut tls: Pin<&mut impl AsyncBufRead>,
    cx: &mut Context<'_>,
    into: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let bytes = ready!(tls.as_mut().poll_fill_buf(cx))?;
    let len = bytes.len();
    into.extend_from_slice(bytes);
    tls.consume(len);
    Poll::Ready(Ok(len))
}

/// How far one direction is.
#[derive(Default)]
struct Way {
    waiting: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Bytes may come.
    #[default]
    Open,
    /// None will: what waits is written, then the writing side ends.
    Ending,
    /// Over.
    Over,
}

impl Way {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut Side, &mut Side),
        flow: &Flow<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            while !self.waiting.is_empty() {
                let written = ready!(to.writer().poll_write(cx, &self.waiting)).map_err(|_| Broken::To)?;
                if written == 0 {
                    return Poll::Ready(Err(Broken::To));
                }
                self.waiting.advance(written);
                flow.moved(written);
            }
            match self.state {
                State::Open => {}
                State::Ending => {
                    // The peer may be gone, which the other direction learns.
                    let _ = ready!(to.writer().poll_shutdown(cx));
                    self.state = State::Over;
                    return Poll::Ready(Ok(()));
                }
                State::Over => return Poll::Ready(Ok(())),
            }
            // Given back while nothing is on its way.
            self.waiting = BytesMut::new();
            match from.poll_read(cx, &mut self.waiting) {
                Poll::Ready(Ok(0)) => self.state = State::Ending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::From)),
                Poll::Pending => {
                    if let Poll::Ready(Err(_)) = to.writer().poll_flush(cx) {
                        return Poll::Ready(Err(Broken::To));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// A connection.
pub(super) struct Pump<'a> {
    client: Side,
    endpoint: Side,
    there: Way,
    back: Way,
    counts: &'a Counts,
}

impl<'a> Pump<'a> {
    pub(super) fn new(client: Side, endpoint: Side, counts: &'a Counts) -> Self {
        Self { client, endpoint, there: Way::default(), back: Way::default(), counts }
    }

    /// Carries both ways until both have ended or one is broken. Cancel safe.
    pub(super) async fn run(&mut self) -> Outcome {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let there = self.there.poll(cx, (&mut self.client, &mut self.endpoint), &self.counts.to_endpoint());
        if let Poll::Ready(Err(broken)) = there {
            return Poll::Ready(match broken {
                Broken::From => Outcome::ClientGone,
                Broken::To => Outcome::UpstreamReset,
            });
        }
        let back = self.back.poll(cx, (&mut self.endpoint, &mut self.client), &self.counts.to_client());
        match (there, back) {
            (_, Poll::Ready(Err(Broken::From))) => Poll::Ready(Outcome::UpstreamReset),
            (_, Poll::Ready(Err(Broken::To))) => Poll::Ready(Outcome::ClientGone),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Outcome::Served),
            _ => Poll::Pending,
        }
    }

    /// The sockets of both sides.
    pub(super) fn sockets(&self) -> (&TcpStream, &TcpStream) {
        (self.client.socket(), self.endpoint.socket())
    }
}
