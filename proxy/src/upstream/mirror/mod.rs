//! Sends copies of requests elsewhere and forgets the answers (`requestMirror`).
//!
//! In: a request's head, and its body as it passes ([`MirrorBody`]). Out: counts. The client's request never waits
//! for its copy: starting one and handing over a chunk are immediate, and a copy that can't keep up, or that would be
//! one too many, is given up and counted. Copies are sent once, without retries, over connections that are kept for
//! the next copy. Their host ends with `-shadow`.

mod body;
mod exchange;
mod request;
#[cfg(test)]
mod tests;

pub use body::MirrorBody;
pub use request::MirrorRequest;

pub(super) use request::{host, strip, wants_trailers};

use crate::upstream::connections::{Connections, KeepLimits};
use body::CopyBody;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// What copies may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Copies on their way at a time, over all backends. Default 512; further ones are not sent.
    pub concurrent: usize,
    /// Bytes of one copy's body that wait to be sent. Default 128 KiB; above it the copy is given up.
    pub buffered_bytes: usize,
    /// Time to connect. Default 2 s.
    pub connect_timeout: Duration,
    /// Time for the whole copy and its answer. Default 60 s.
    pub total_timeout: Duration,
    /// Bytes of an answer's body that are read to keep its connection. Default 1 MiB; above it the connection, or the
    /// stream, is closed.
    pub response_bytes: usize,
    /// Idle connections that are kept for one address. Default 16.
    pub idle_connections: usize,
    /// How long an idle connection is kept. Default 60 s.
    pub idle_timeout: Duration,
}

impl Default for MirrorLimits {
    fn default() -> Self {
        Self {
            concurrent: 512,
            buffered_bytes: 128 * 1024,
            connect_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(60),
            response_bytes: 1024 * 1024,
            idle_connections: 16,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// How copies ended since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MirrorStats {
    /// Sent whole, and answered.
    pub completed: u64,
    /// Never started: too many were on their way.
    pub refused: u64,
    /// Given up: the receiver was slower than the client.
    pub overflowed: u64,
    /// Given up: the request itself ended early.
    pub abandoned: u64,
    /// Not connected, reset, timed out, or not a request that can be sent on its own.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    completed: AtomicU64,
    refused: AtomicU64,
    overflowed: AtomicU64,
    abandoned: AtomicU64,
    failed: AtomicU64,
}

/// Sends copies. A clone is the same client.
#[derive(Clone, Debug)]
pub struct MirrorClient {
    limits: MirrorLimits,
    permits: Arc<Semaphore>,
    connections: Arc<Connections<CopyBody>>,
    counters: Arc<Counters>,
}

impl MirrorClient {
    /// A client without connections.
    pub fn new(limits: MirrorLimits) -> Self {
        Self {
            limits,
            permits: Arc::new(Semaphore::new(limits.concurrent)),
            connections: Connections::new(KeepLimits {
                connect_timeout: limits.connect_timeout,
                idle_connections: limits.idle_connections,
                idle_timeout: limits.idle_timeout,
            }),
            counters: Arc::default(),
        }
    }

    /// Starts a copy in a task of its own and returns where its body goes. Never waits. Call it inside a tokio
    /// runtime: outside, the copy counts as failed.
    pub fn start(&self, request: MirrorRequest) -> MirrorBody {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            count(&self.counters.refused);
            return MirrorBody::nowhere(self.counters.clone());
        };
        let (writer, reader) =
            body::channel(request.has_body, self.limits.buffered_bytes, self.counters.clone());
        let (limits, connections, counters) = (self.limits, self.connections.clone(), self.counters.clone());
        let given_up = writer.given_up();
        let copy = async move {
            let _permit = permit;
            let exchange = exchange::run(&connections, &limits, request, reader);
            match tokio::time::timeout(limits.total_timeout, exchange).await {
                Ok(Ok(())) => count(&counters.completed),
                // Whoever gave the copy up has counted it.
                Ok(Err(_)) if given_up.load(Ordering::Relaxed) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "copy failed");
                    count(&counters.failed);
                }
                Err(_) => count(&counters.failed),
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(copy)),
            Err(_) => count(&self.counters.failed),
        }
        writer
    }

    /// How copies ended so far.
    pub fn stats(&self) -> MirrorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MirrorStats {
            completed: read(&self.counters.completed),
            refused: read(&self.counters.refused),
            overflowed: read(&self.counters.overflowed),
            abandoned: read(&self.counters.abandoned),
            failed: read(&self.counters.failed),
        }
    }

    /// Copies on their way now.
    pub fn in_flight(&self) -> usize {
        self.limits.concurrent.saturating_sub(self.permits.available_permits())
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
