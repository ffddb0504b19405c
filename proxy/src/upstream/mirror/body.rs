//! The body of a copy: a bounded channel whose writer never waits.

use super::{Counters, count};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Chunks that wait at most, whatever their size.
const CHUNKS: usize = 64;

/// Where the chunks of a copied request go. Dropping it before [`MirrorBody::finish`] gives the copy up.
#[derive(Debug)]
pub struct MirrorBody {
    /// `None` once nothing more is to be sent.
    sender: Option<mpsc::Sender<Piece>>,
    budget_bytes: usize,
    waiting_bytes: Arc<AtomicUsize>,
    given_up: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

/// The reading end, as hyper wants it.
#[derive(Debug)]
pub(super) struct CopyBody {
    /// `None` for a request without body.
    receiver: Option<mpsc::Receiver<Piece>>,
    waiting_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Piece {
    Chunk(Bytes),
    End,
}

/// The copy was given up before the end of its body.
#[derive(Debug, thiserror::Error)]
#[error("the copy was given up")]
pub(super) struct GivenUp;

/// Both ends. Without a body the writer has nothing to do.
pub(super) fn channel(
    has_body: bool,
    budget_bytes: usize,
    counters: Arc<Counters>,
) -> (MirrorBody, CopyBody) {
    let mut writer = MirrorBody::nowhere(counters);
    writer.budget_bytes = budget_bytes;
    let mut reader = CopyBody { receiver: None, waiting_bytes: writer.waiting_bytes.clone() };
    if has_body {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        (writer.sender, reader.receiver) = (Some(sender), Some(receiver));
    }
    (writer, reader)
}

impl MirrorBody {
    /// Swallows everything.
    pub(super) fn nowhere(counters: Arc<Counters>) -> Self {
        Self {
            sender: None,
            budget_bytes: 0,
            waiting_bytes: Arc::default(),
            given_up: Arc::default(),
            counters,
        }
    }

    pub(super) fn given_up(&self) -> Arc<AtomicBool> {
        self.given_up.clone()
    }

    /// Hands over the next chunk. Never waits: when too much waits already, the copy is given up.
    pub fn send(&mut self, chunk: Bytes) {
        let Some(sender) = self.sender.as_ref().filter(|_| !chunk.is_empty()) else {
            return;
        };
        let len = chunk.len();
        let fits =
            self.waiting_bytes.fetch_add(len, Ordering::Relaxed).saturating_add(len) <= self.budget_bytes;
        let sent = if fits {
            sender.try_send(Piece::Chunk(chunk)).map_err(|error| is_full(&error))
        } else {
            Err(true)
        };
        match sent {
            Ok(()) => {}
            Err(true) => self.give_up(|counters| &counters.overflowed),
            // The answer is complete, or the exchange failed and was counted.
            Err(false) => self.sender = None,
        }
    }

    /// The body is complete.
    pub fn finish(mut self) {
        if let Some(sender) = self.sender.take()
            && sender.try_send(Piece::End).is_err_and(|error| is_full(&error))
        {
            self.sender = Some(sender);
            self.give_up(|counters| &counters.overflowed);
        }
    }

    fn give_up(&mut self, counter: impl FnOnce(&Counters) -> &AtomicU64) {
        self.given_up.store(true, Ordering::Relaxed);
        // The reader meets the end of the channel without an end of the body.
        self.sender = None;
        count(counter(&self.counters));
    }
}

impl Drop for MirrorBody {
    fn drop(&mut self) {
        if self.sender.as_ref().is_some_and(|sender| !sender.is_closed()) {
            self.give_up(|counters| &counters.abandoned);
        }
    }
}

fn is_full(error: &mpsc::error::TrySendError<Piece>) -> bool {
    matches!(error, mpsc::error::TrySendError::Full(_))
}

impl Body for CopyBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let Some(receiver) = self.receiver.as_mut() else {
            return Poll::Ready(None);
        };
        match ready!(receiver.poll_recv(context)) {
            Some(Piece::Chunk(chunk)) => {
                self.waiting_bytes.fetch_sub(chunk.len(), Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Piece::End) => {
                self.receiver = None;
                Poll::Ready(None)
            }
            None => {
                self.receiver = None;
                Poll::Ready(Some(Err(GivenUp)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.receiver.is_none()
    }
}
