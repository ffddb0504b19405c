//! Connections that are used once: for requests that ask for an upgrade, and those that begin with the client's address.
//!
//! Pingora waits for the backend's answer and for the end of the client's (empty) body at the same time. When the
//! answer is there first and it is 101, Pingora takes the end of the body, which comes next, for the end of the
//! upgraded connection and closes it (pingora-proxy 0.9.1, `proxy_handle_upstream`). So these connections give their
//! first bytes only after a few polls of the task, in which the end of the body is always taken. The delay is a few
//! microseconds, once a connection; the connection is Pingora's in everything else, but it is never used again.

use super::tls::{DialError, Dialer, TlsClient, TlsStream, new_key};
use super::{open_tunnel, socket_option};
use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use sluice_ir::Tunnel;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Polls of the task before the first byte is given. Two would do.
const POLLS: u8 = 4;

/// How long Pingora keeps a connection whose upgrade was refused; it is not used again.
const KEPT: Duration = Duration::from_millis(100);

/// Makes the peer one for a request that asks for an upgrade; `tls`: over TLS. From the address that the peer's options
/// bind to.
pub fn for_upgrade(peer: &mut HttpPeer, tls: Option<&TlsClient>) {
    announced(peer, tls, Vec::new(), None);
}

/// Makes the peer one whose connection begins with these bytes, before TLS, and perhaps leads through a proxy, which is
/// then whom TLS is spoken with.
pub fn announced(peer: &mut HttpPeer, tls: Option<&TlsClient>, preface: Vec<u8>, tunnel: Option<Tunnel>) {
    // Plain connections are kept by a hash of the backend instead.
    peer.options.second_keyshare = false;
    peer.group_key = new_key();
    peer.options.idle_timeout = Some(KEPT);
    let source = peer.options.bind_to.as_ref().and_then(|it| it.addr).map(|it| it.ip());
    let tls = tls.map(|client| client.dialer().clone());
    peer.options.custom_l4 = Some(Arc::new(Connector { tls, preface, tunnel, source }));
}

#[derive(Debug)]
struct Connector {
    tls: Option<Arc<Dialer>>,
    preface: Vec<u8>,
    tunnel: Option<Tunnel>,
    /// Own address of the connection; `None`: what the system chooses.
    source: Option<IpAddr>,
}

#[async_trait]
impl Connect for Connector {
    /// The bounds on the time are those of the peer's options, which Pingora applies around this.
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not an address of the internet family");
        };
        if self.tunnel.as_ref().is_some_and(Tunnel::is_refused) {
            return Error::e_explain(ErrorType::ConnectError, "a tunnel that can't be made");
        }
        let opened = match &self.tls {
            Some(dialer) => self.tls(dialer, *address).await.map(Patient::socket),
            None => self.plain(*address).await.map(Patient::socket).map_err(DialError::Connect),
        };
        opened.map(Stream::from).map_err(DialError::into_pingora)
    }
}

impl Connector {
    async fn plain(&self, address: std::net::SocketAddr) -> io::Result<TcpStream> {
        let mut socket = connect_from(self.source, address, &self.preface).await?;
        if let Some(tunnel) = &self.tunnel {
            open_tunnel(&mut socket, address, tunnel).await?;
        }
        Ok(socket)
    }

    async fn tls(&self, dialer: &Dialer, address: std::net::SocketAddr) -> Result<Box<TlsStream>, DialError> {
        let mut stream = dialer.dial_after(address, &self.preface).await?;
        if let Some(tunnel) = &self.tunnel {
            open_tunnel(&mut stream, address, tunnel).await.map_err(DialError::Connect)?;
        }
        Ok(stream)
    }
}

/// A connection that begins with these bytes.
pub(crate) async fn connect_after(address: std::net::SocketAddr, preface: &[u8]) -> io::Result<TcpStream> {
    connect_from(None, address, preface).await
}

/// The same from an address of our own.
pub(crate) async fn connect_from(
    source: Option<IpAddr>,
    address: std::net::SocketAddr,
    preface: &[u8],
) -> io::Result<TcpStream> {
    let mut socket = match source {
        None => TcpStream::connect(address).await?,
        Some(source) => {
            let socket = match source {
                IpAddr::V4(_) => TcpSocket::new_v4()?,
                IpAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.bind(std::net::SocketAddr::new(source, 0))?;
            socket.connect(address).await?
        }
    };
    if !preface.is_empty() {
        socket.write_all(preface).await?;
    }
    Ok(socket)
}

/// What can be set on a socket.
trait Options {
    fn tcp(&self) -> &TcpStream;
}

impl Options for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Options for Box<TlsStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A connection that gives its first bytes late.
#[derive(Debug)]
struct Patient<S> {
    stream: S,
    polls: u8,
    given: bool,
}

impl<S: AsyncRead + AsyncWrite + Options + Unpin + Send + Sync + fmt::Debug + 'static> Patient<S> {
    fn socket(stream: S) -> VirtualSocketStream {
        VirtualSocketStream::new(Box::new(Self { stream, polls: POLLS, given: false }))
    }
}

impl<S: AsyncRead + AsyncWrite + Options + Unpin + Send + Sync + fmt::Debug> VirtualSocket for Patient<S> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        socket_option(self.stream.tcp(), option)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.given {
            if self.polls > 0 {
                self.polls -= 1;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.given = true;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::{POLLS, Patient};
    use std::future::poll_fn;
    use std::pin::Pin;
    use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn the_first_bytes_wait_for_some_polls_and_the_rest_do_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut other = listener.accept().await.unwrap().0;
        let mut patient = Patient { stream, polls: POLLS, given: false };
        for (text, polls) in [(b'a', usize::from(POLLS) + 1), (b'b', 1)] {
            other.write_all(&[text]).await.unwrap();
            patient.stream.readable().await.unwrap();
            let mut byte = [0];
            let mut count = 0;
            poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut byte);
                count += 1;
                Pin::new(&mut patient).poll_read(context, &mut buffer)
            })
            .await
            .unwrap();
            assert_eq!((byte[0], count), (text, polls));
        }
    }
}
