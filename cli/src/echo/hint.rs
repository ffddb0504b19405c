//! `103 Early Hints` for HTTP/1.1: a connection into which a request handler may slip bytes before its answer.
//!
//! hyper's server sends no interim responses. It answers one HTTP/1.1 request at a time, so whatever the handler pushes
//! goes out before the first byte of its answer.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the handlers of one connection want to send ahead of their answers.
#[derive(Clone, Default)]
pub(super) struct Hints(Arc<Mutex<VecDeque<Bytes>>>);

impl Hints {
    /// Sends these bytes with the next flush or write.
    pub(super) fn push(&self, head: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(Bytes::from_static(head.as_bytes()));
    }
}

/// A stream that writes pending hints first.
pub(super) struct HintIo<S> {
    inner: S,
    hints: Hints,
}

impl<S: AsyncWrite + Unpin> HintIo<S> {
    pub(super) fn new(inner: S, hints: Hints) -> Self {
        Self { inner, hints }
    }

    fn poll_hints(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut hints = self.hints.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(hint) = hints.front_mut() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, hint))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            hint.advance(written);
            if hint.is_empty() {
                hints.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HintIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HintIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_hints(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_hints(cx))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hints(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
