//! Connections for requests that ask for an upgrade.
//!
//! Pingora waits for the backend's answer and for the end of the client's (empty) body at the same time. When the
//! answer is there first and it is 101, Pingora takes the end of the body, which comes next, for the end of the
//! upgraded connection and closes it (pingora-proxy 0.9.1, `proxy_handle_upstream`). So these connections give their
//! first bytes only after a few polls of the task, in which the end of the body is always taken. The delay is a few
//! microseconds, once a connection; the connection is Pingora's in everything else, but it is never used again.

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Polls of the task before the first byte is given. Two would do.
const POLLS: u8 = 4;

/// Keeps these connections apart from those that are used again.
const GROUP: u64 = 0x5570_6772_6164_6500;

/// How long Pingora keeps a connection whose upgrade was refused; it is not used again.
const KEPT: Duration = Duration::from_millis(100);

/// Makes the peer one for a request that asks for an upgrade.
pub fn for_upgrade(peer: &mut HttpPeer) {
    peer.group_key ^= GROUP;
    peer.options.idle_timeout = Some(KEPT);
    peer.options.custom_l4 = Some(Arc::new(Connector));
}

#[derive(Debug)]
struct Connector;

#[async_trait]
impl Connect for Connector {
    /// The bounds on the time are those of the peer's options, which Pingora applies around this.
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not an address of the internet family");
        };
        match TcpStream::connect(address).await {
            Ok(stream) => {
                Ok(VirtualSocketStream::new(Box::new(Patient { stream, polls: POLLS, given: false })).into())
            }
            Err(error) => Error::e_because(kind_of(&error), "connect for an upgrade", error),
        }
    }
}

fn kind_of(error: &io::Error) -> ErrorType {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    }
}

/// A socket that gives its first bytes late.
#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    polls: u8,
    given: bool,
}

impl VirtualSocket for Patient {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            VirtualSockOpt::KeepAlive(wanted) => {
                let keepalive = TcpKeepalive::new().with_time(wanted.idle).with_interval(wanted.interval);
                SockRef::from(&self.stream).set_tcp_keepalive(&keepalive)
            }
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Patient {
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

impl AsyncWrite for Patient {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::{POLLS, Patient};
    use std::future::poll_fn;
    use std::pin::Pin;
    use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
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
