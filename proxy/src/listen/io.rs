//! The connection as Pingora sees it.
//!
//! Reading: hands out the bytes of the current message and keeps those of the next ([`Message`]). Writing: gathers
//! small writes, so that a response's head and a small body are one packet, and writes large ones through. A write
//! that makes no progress for [`Limits::stream_idle_timeout`](sluice_ir::Limits) fails. Between two requests it
//! holds no buffer. What the peer still sends after our last word is drained for a moment, so that it can read that
//! word instead of seeing a reset.

mod facts;

use super::ConnInfo;
use super::framing::Message;
use super::limit::{ClientSlot, PortSlot};
use super::resets::ResetMeter;
use super::transport::Transport;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{SocketDigest, TimingDigest};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// Bytes that wait to be written together.
const SEND_BUFFER: usize = 8 * 1024;
/// Room for one read of a request head.
const HEAD_READ: usize = 2 * 1024;
/// Bytes looked at when the client speaks while its request is being answered.
const PROBE: usize = 512;
/// Slices of one vectored write.
const SLICES: usize = 16;
/// Time to say good-bye to a client that does not read.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Time and bytes that a client may still send after our last word.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// What holds for the connection as long as it is open.
pub(super) struct Shared {
    pub(super) info: Arc<ConnInfo>,
    pub(super) proxy: Arc<ProxyDigest>,
    pub(super) socket: Arc<SocketDigest>,
    pub(super) ssl: Option<Arc<SslDigest>>,
    pub(super) timing: TimingDigest,
    /// Counted back when the socket is closed.
    pub(super) _slots: (PortSlot, ClientSlot),
}

/// A connection.
pub(super) struct ConnIo {
    transport: Transport,
    shared: Arc<Shared>,
    message: Message,
    /// Read, but not yet handed out.
    unread: BytesMut,
    /// To be written.
    unsent: BytesMut,
    /// `unsent` has already waited for a moment of idleness.
    waited: bool,
    stall: Option<Pin<Box<Sleep>>>,
    meter: Option<Box<ResetMeter>>,
    read_ended: bool,
    write_ended: bool,
}

impl ConnIo {
    pub(super) fn new(transport: Transport, shared: Arc<Shared>) -> Box<Self> {
        Box::new(Self {
            transport,
            shared,
            message: Message::none(),
            unread: BytesMut::new(),
            unsent: BytesMut::new(),
            waited: false,
            stall: None,
            meter: None,
            read_ended: false,
            write_ended: false,
        })
    }

    pub(super) fn info(&self) -> &Arc<ConnInfo> {
        &self.shared.info
    }

    /// Bytes that were read and belong to no message yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// The front of [`ConnIo::unread`].
    pub(super) fn head(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(self.unread.len());
        &mut self.unread[..len]
    }

    /// Forgets bytes at the front of [`ConnIo::unread`].
    pub(super) fn skip(&mut self, len: usize) {
        self.unread.advance(len.min(self.unread.len()));
    }

    /// Reads more into [`ConnIo::unread`]; 0 at the end. Cancel safe.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.unread.reserve(HEAD_READ);
        self.transport.read_buf(&mut self.unread).await
    }

    /// Waits until the peer speaks, holding no buffer until then: what it says is in [`ConnIo::unread`]. `false` at
    /// the end. Cancel safe.
    pub(super) async fn wait(&mut self) -> io::Result<bool> {
        if !self.unread.is_empty() {
            return Ok(true);
        }
        self.unread = BytesMut::new();
        self.unsent = BytesMut::new();
        let len = self.transport.wait_for_bytes(&mut self.unread).await?;
        self.read_ended = len == 0;
        Ok(len > 0)
    }

    /// From now on the bytes of this message may be read.
    pub(super) fn begin(&mut self, message: Message) {
        self.message = message;
    }

    /// From now on all bytes may be read, and stream resets are counted.
    pub(super) fn begin_http2(&mut self, mut meter: ResetMeter) {
        meter.read(&self.unread);
        self.message = Message::Endless;
        self.meter = Some(Box::new(meter));
    }

    /// Whether another request may follow on the connection: this one was read to its end, the response was written
    /// to its end, and (after an upgrade that was declined) nothing was sent for the other protocol.
    pub(super) fn is_between_messages(&self) -> bool {
        let over = self.message.is_over() || matches!(self.message, Message::Endless);
        over && self.unsent.is_empty() && !self.read_ended && !self.write_ended
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.meter.as_ref().is_some_and(|meter| !meter.is_calm()) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let room = buffer.remaining() > 0;
        let Poll::Ready(result) = Pin::new(&mut self.transport).poll_read(cx, buffer) else {
            self.poll_send_when_idle(cx);
            return Poll::Pending;
        };
        result?;
        let new = &buffer.filled()[before..];
        if let Some(meter) = &mut self.meter {
            meter.read(new);
        }
        self.read_ended |= new.is_empty() && room;
        Poll::Ready(Ok(()))
    }

    /// The message is over: only the client's leaving is of interest, and what it sends is for the next message.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            self.poll_send_when_idle(cx);
            return Poll::Pending;
        }
        let mut probe = [0; PROBE];
        let mut buffer = ReadBuf::new(&mut probe);
        ready!(self.poll_fill(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.unread.extend_from_slice(buffer.filled());
        self.poll_send_when_idle(cx);
        Poll::Pending
    }

    /// Writes what was gathered when the task has nothing else to do: the first time it is asked it comes back after
    /// the task's other work (perhaps the body follows at once), the second time it writes.
    fn poll_send_when_idle(&mut self, cx: &mut Context<'_>) {
        if self.unsent.is_empty() {
            return;
        }
        if self.waited {
            // An error shows at the next write.
            let _ = self.poll_send(cx);
        } else {
            self.waited = true;
            cx.waker().wake_by_ref();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = Pin::new(&mut self.transport).poll_write(cx, &self.unsent);
            let written = ready!(self.watch_stall(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Fails a write that has been waiting for too long.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let limit = self.shared.info.limits.limits.stream_idle_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Says good-bye: sends what was gathered and closes our side. Bounded in time.
    pub(super) async fn finish(&mut self) {
        // An error means that the client is gone already.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, AsyncWriteExt::shutdown(self)).await;
    }
}

impl AsyncRead for ConnIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.message.is_over() {
            return this.poll_leaving(cx);
        }
        let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        if !this.unread.is_empty() {
            let len = this.unread.len().min(buffer.remaining());
            let own = this.message.take(&this.unread[..len]).map_err(broken)?;
            buffer.put_slice(&this.unread[..own]);
            this.unread.advance(own);
            if this.unread.is_empty() {
                this.unread = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.poll_fill(cx, buffer))?;
        let own = this.message.take(&buffer.filled()[before..]).map_err(broken)?;
        this.unread.extend_from_slice(&buffer.filled()[before + own..]);
        buffer.set_filled(before + own);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConnIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if this.unsent.len() + len <= SEND_BUFFER {
            slices.iter().for_each(|slice| this.unsent.extend_from_slice(slice));
            this.waited = false;
            return Poll::Ready(Ok(len));
        }
        loop {
            let gathered = this.unsent.len();
            let mut all = [IoSlice::new(&[]); SLICES];
            all[0] = IoSlice::new(&this.unsent);
            let used = all[1..].iter_mut().zip(slices).map(|(to, from)| *to = IoSlice::new(from)).count();
            let from = usize::from(gathered == 0);
            let written = Pin::new(&mut this.transport).poll_write_vectored(cx, &all[from..=used]);
            let written = ready!(this.watch_stall(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.unsent.advance(written.min(gathered));
            if written > gathered {
                return Poll::Ready(Ok(written - gathered));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let flushed = Pin::new(&mut this.transport).poll_flush(cx);
        this.watch_stall(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        this.write_ended = true;
        let closed = Pin::new(&mut this.transport).poll_shutdown(cx);
        this.watch_stall(cx, closed)
    }
}

impl Drop for ConnIo {
    /// Closing a socket with unread bytes resets the connection, and the peer may lose our answer: read them first.
    fn drop(&mut self) {
        let may_speak = !self.read_ended && (!self.message.is_over() || !self.unread.is_empty());
        if !self.write_ended || !may_speak {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let transport = std::mem::replace(&mut self.transport, Transport::Gone);
        let shared = self.shared.clone();
        runtime.spawn(async move {
            linger(transport).await;
            drop(shared);
        });
    }
}

/// Reads and forgets until the peer closes, within bounds.
pub(super) async fn linger(mut transport: impl AsyncRead + Unpin) {
    let drain = async {
        let mut buffer = vec![0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match transport.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(len) => left = left.saturating_sub(len),
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, drain).await;
}
