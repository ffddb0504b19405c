//! A TLS connection as Pingora holds it.

use super::{Dialer, PeerMemory, TlsStream};
use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use sluice_ir::BackendProtocol;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Bytes that are gathered before they are encrypted: a small request is one record. What is read ahead rustls keeps.
const WRITE_BUFFER: usize = 4 * 1024;

/// The connection, with what Pingora wants to know of it.
pub(super) struct ClientStream {
    stream: BufWriter<Box<TlsStream>>,
    /// Ready when the client is no more: the idle connection then meets its end.
    client_gone: Pin<Box<WaitForCancellationFutureOwned>>,
    socket: Arc<SocketDigest>,
    peer: Option<Arc<ProxyDigest>>,
    ssl: Arc<SslDigest>,
    timing: TimingDigest,
    protocol: BackendProtocol,
}

impl ClientStream {
    pub(super) fn new(stream: Box<TlsStream>, address: SocketAddr, dialer: &Dialer, took: Duration) -> Self {
        let (tcp, session) = stream.get_ref();
        let socket = SocketDigest::from_raw_fd(tcp.as_raw_fd());
        // The cell is new, so that setting it can't fail.
        let _ = socket.peer_addr.set(Some(PingoraAddr::Inet(address)));
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let ssl = Arc::new(SslDigest::new(cipher.unwrap_or("unknown"), version, None, None, Vec::new()));
        let timing = TimingDigest {
            established_ts: SystemTime::now(),
            establishment_duration: Some(took),
            ..TimingDigest::default()
        };
        Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            client_gone: Box::pin(dialer.client_gone()),
            socket: Arc::new(socket),
            peer: PeerMemory::place(),
            ssl,
            timing,
            protocol: dialer.protocol(),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let read = Pin::new(&mut me.stream).poll_read(context, buffer);
        if read.is_pending() && me.client_gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The endpoint may be gone already.
        let _ = AsyncWriteExt::shutdown(&mut self.stream).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().get_ref().0.as_raw_fd()
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(self.ssl.clone())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.protocol {
            BackendProtocol::Http1 => Some(ALPN::H1),
            BackendProtocol::H2c => Some(ALPN::H2),
            BackendProtocol::Tcp | BackendProtocol::Udp => None,
        }
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(self.timing.clone())]
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.peer.clone()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl Peek for ClientStream {}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}
