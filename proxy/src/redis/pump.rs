//! One connection at work: calls go out as they come, answers come back in their order.

use super::resp::{self, Malformed, Reply};
use bytes::BytesMut;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};

/// Calls that are written together.
const BATCH: usize = 64;
/// Calls that wait for an answer.
const MOST_WAITING: usize = 4_096;
/// Read at a time.
const READ_BYTES: usize = 16 * 1_024;

/// A command and who waits for its answer.
pub(super) struct Call {
    pub(super) command: Vec<u8>,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Nobody can call any more.
    #[error("nobody needs it any more")]
    Unused,
    /// Callers gave it up.
    #[error("its answers are late or errors")]
    GivenUp,
    /// The server closed it.
    #[error("it closed the connection")]
    Closed,
    /// The network did.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server says what it should not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

type Waiting = Mutex<VecDeque<oneshot::Sender<Reply>>>;

/// Serves calls until the connection ends. Whoever waits then learns that it is broken.
pub(super) async fn pump(
    stream: impl AsyncRead + AsyncWrite,
    queue: &mut mpsc::Receiver<Call>,
    end: &Notify,
) -> Ended {
    let (mut read, mut write) = tokio::io::split(stream);
    let waiting = Waiting::default();
    let room = Notify::new();
    tokio::select! {
        ended = send(&mut write, queue, &waiting, &room) => ended.unwrap_or_else(|error| error),
        ended = receive(&mut read, &waiting, &room) => ended.unwrap_or_else(|error| error),
        () = end.notified() => Ended::GivenUp,
    }
}

async fn send(
    write: &mut (impl AsyncWrite + Unpin),
    queue: &mut mpsc::Receiver<Call>,
    waiting: &Waiting,
    room: &Notify,
) -> Result<Ended, Ended> {
    let mut calls = Vec::with_capacity(BATCH);
    let mut buffer = Vec::new();
    loop {
        while waiting.lock().len() >= MOST_WAITING {
            room.notified().await;
        }
        if queue.recv_many(&mut calls, BATCH).await == 0 {
            return Ok(Ended::Unused);
        }
        buffer.clear();
        {
            let mut waiting = waiting.lock();
            // Who gave up before the call was written has decided already: it must not be counted as well.
            for call in calls.drain(..).filter(|call| !call.reply.is_closed()) {
                buffer.extend_from_slice(&call.command);
                waiting.push_back(call.reply);
            }
        }
        write.write_all(&buffer).await?;
        write.flush().await?;
    }
}

async fn receive(
    read: &mut (impl AsyncRead + Unpin),
    waiting: &Waiting,
    room: &Notify,
) -> Result<Ended, Ended> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        if read.read_buf(&mut buffer).await? == 0 {
            return Ok(Ended::Closed);
        }
        while let Some(reply) = resp::take(&mut buffer)? {
            let caller = waiting.lock().pop_front().ok_or(Malformed)?;
            // Who no longer waits does not care.
            let _ = caller.send(reply);
        }
        room.notify_one();
    }
}
