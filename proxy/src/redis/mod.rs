//! A client of a Redis or Valkey server, as small as counting needs it: one kept connection, one script, answers of
//! numbers.
//!
//! In: calls of a script from many requests at a time. Out: its numbers, or why there are none, within the time that the
//! caller gives. Calls are written as they come and answered in their order (pipelining), so that a request costs one
//! round trip and no connection. A server that is away costs a request nothing: while the connection is being made
//! again ([`keeper`]) every call fails at once.
//!
//! Everything that a server may send has a bound ([`resp`]), and so has what waits for it ([`pump`]).

mod keeper;
mod login;
mod pump;
mod resp;
mod script;

pub(crate) use script::Script;

use crate::upstream::Resolver;
use keeper::Keeper;
use pump::Call;
use resp::Reply;
use sluice_ir as ir;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Calls that wait to be written.
const MOST_QUEUED: usize = 1_024;
/// So many calls in a row without a good answer end a connection, and with it the waiting.
const MOST_FAILURES: u32 = 5;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no connection, and none is waited for.
    Down,
    /// Too many calls wait.
    Overflow,
    /// Nothing came in time.
    Timeout,
    /// The connection ended.
    Broken,
    /// The server answered with an error, or with what nobody asked for.
    Error,
}

/// What callers and the keeper of the connection share.
struct Link {
    name: String,
    state: AtomicU8,
    failures: AtomicU32,
    /// Ends the connection.
    end: Notify,
    /// The newest error of the server, for the log.
    error: parking_lot::Mutex<Option<String>>,
}

/// A connection is being made for the first time, or again after one that was good: calls wait for it.
const STARTING: u8 = 0;
/// Calls are written.
const UP: u8 = 1;
/// Calls fail at once.
const DOWN: u8 = 2;

/// A server. Dropping it closes the connection.
pub(crate) struct Redis {
    link: Arc<Link>,
    calls: mpsc::Sender<Call>,
    /// `None` outside of a tokio runtime, and where the server can't be spoken to: every call fails at once.
    _keeper: Option<AbortOnDropHandle<()>>,
}

impl Redis {
    /// Begins to connect at once, within a tokio runtime.
    pub(crate) fn new(server: &ir::RateServer, resolver: Resolver) -> Self {
        let (calls, queue) = mpsc::channel(MOST_QUEUED);
        let link = Arc::new(Link {
            name: name(server),
            state: AtomicU8::new(STARTING),
            failures: AtomicU32::new(0),
            end: Notify::new(),
            error: parking_lot::Mutex::default(),
        });
        let keeper = Keeper::new(server, resolver, link.clone(), queue);
        let keeper = keeper.and_then(|keeper| {
            let runtime = tokio::runtime::Handle::try_current().ok()?;
            Some(AbortOnDropHandle::new(runtime.spawn(keeper.run())))
        });
        if keeper.is_none() {
            link.state.store(DOWN, Relaxed);
        }
        Self { link, calls, _keeper: keeper }
    }

    /// `HOST:PORT/DATABASE`.
    pub(crate) fn name(&self) -> &str {
        &self.link.name
    }

    /// Whether calls are written.
    pub(crate) fn is_up(&self) -> bool {
        self.link.state.load(Relaxed) == UP
    }

    /// Runs a script with these keys, its arguments being those that it was made with. One round trip; a second one when
    /// the server does not know the script yet. Cancelling leaves the connection whole.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<[u8]>],
        time: Duration,
    ) -> Result<Vec<i64>, Failure> {
        if self.link.state.load(Relaxed) == DOWN {
            return Err(Failure::Down);
        }
        let answer = tokio::time::timeout(time, self.ask(script, keys));
        let answer = answer.await.unwrap_or(Err(Failure::Timeout));
        match answer {
            Ok(_) => self.link.failures.store(0, Relaxed),
            // Nothing of the server's making.
            Err(Failure::Overflow) => {}
            Err(_) => self.link.failed(),
        }
        answer
    }

    async fn ask(&self, script: &Script, keys: &[impl AsRef<[u8]>]) -> Result<Vec<i64>, Failure> {
        let mut reply = self.call(script.by_hash(keys)).await?;
        if matches!(&reply, Reply::Error(text) if text.starts_with("NOSCRIPT")) {
            reply = self.call(script.in_full(keys)).await?;
        }
        match reply {
            Reply::Numbers(numbers) => Ok(numbers),
            Reply::Error(text) => {
                *self.link.error.lock() = Some(text);
                Err(Failure::Error)
            }
            Reply::Text(_) | Reply::Other => Err(Failure::Error),
        }
    }

    async fn call(&self, command: Vec<u8>) -> Result<Reply, Failure> {
        let (reply, answer) = oneshot::channel();
        self.calls.try_send(Call { command, reply }).map_err(|_| Failure::Overflow)?;
        answer.await.map_err(|_| Failure::Broken)
    }
}

impl Link {
    /// A call had no good answer. With too many of them in a row nobody waits any more, and the connection is made anew.
    fn failed(&self) {
        if self.failures.fetch_add(1, Relaxed) + 1 >= MOST_FAILURES {
            self.failures.store(0, Relaxed);
            self.state.store(DOWN, Relaxed);
            self.end.notify_waiters();
        }
    }
}

/// As logs and metrics have it.
fn name(server: &ir::RateServer) -> String {
    let (host, port, database) = (&server.host, server.port, server.database);
    if host.contains(':') {
        format!("[{host}]:{port}/{database}")
    } else {
        format!("{host}:{port}/{database}")
    }
}

#[cfg(test)]
mod tests;
