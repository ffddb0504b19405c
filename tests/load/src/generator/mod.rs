//! The load: N connections that send requests and judge every answer.
//!
//! Closed loop (each connection sends its next request when the last one is answered) or open loop (requests are due
//! at a fixed rate; latency counts from the moment a request was due, so a stalled proxy can't hide its stall).
//! Everything that is not a 200 with the right body is a failure, by name. Latencies are kept one by one: percentiles
//! are exact. All of it runs on the calling thread's `LocalSet`, next to the backend.

mod connection;
pub(crate) mod link;
mod pace;
pub(crate) mod response;
mod tally;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;

pub(crate) use link::{Link, Target};
pub(crate) use tally::Tally;

/// Failures after which a load gives up: the proxy is gone, and spinning on it says nothing more.
const MOST_FAILURES: u64 = 10_000;
/// How long requests that are under way may still take when a load has sent its last one.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How requests follow each other.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as they are answered.
    Closed,
    /// So many a second over all connections, however fast they are answered.
    PerSecond(u32),
}

/// When the load ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many requests.
    Requests(u64),
    /// When `Load::stop` is called or, after `Load::expect_drain`, connections are refused.
    Told,
}

/// What to send.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Where to.
    pub(crate) target: Target,
    /// Whole requests, with their bodies; they are taken in turn.
    pub(crate) requests: Rc<[Bytes]>,
    /// Body bytes that every answer must have.
    pub(crate) body_bytes: u64,
    /// Connections that are open at once.
    pub(crate) connections: usize,
    /// How requests follow each other.
    pub(crate) pace: Pace,
    /// When it ends.
    pub(crate) until: Until,
    /// Open a connection for each request.
    pub(crate) reconnect: bool,
    /// Server names that are asked for in turn, one for each request; absent: always the target's.
    pub(crate) server_names: Option<Rc<[ServerName<'static>]>>,
    /// A 503 is no failure: it is counted apart.
    pub(crate) may_refuse: bool,
}

impl Plan {
    /// Where the request of this number goes.
    fn target(&self, number: u64) -> Cow<'_, Target> {
        let (Some(names), Some((config, _))) = (&self.server_names, &self.target.tls) else {
            return Cow::Borrowed(&self.target);
        };
        let name = names[usize::try_from(number).unwrap_or(0) % names.len()].clone();
        Cow::Owned(Target::tls(self.target.address, config.clone(), name))
    }
}

/// What all connections of a load share.
struct Shared {
    plan: Plan,
    started: Instant,
    sent: Cell<u64>,
    stopped: Cell<bool>,
    draining: Cell<bool>,
    tally: RefCell<Tally>,
}

impl Shared {
    /// The number of the next request; `None`: the load is over.
    fn next(&self, now: Instant) -> Option<u64> {
        let sent = self.sent.get();
        let over = match self.plan.until {
            Until::Elapsed(time) => now.duration_since(self.started) >= time,
            Until::Requests(count) => sent >= count,
            Until::Told => false,
        };
        if over || self.stopped.get() {
            return None;
        }
        self.sent.set(sent + 1);
        Some(sent)
    }

    fn failed(&self, reason: String) {
        let mut tally = self.tally.borrow_mut();
        tally.fail(reason);
        if tally.failed() >= MOST_FAILURES {
            self.stopped.set(true);
        }
    }
}

/// A load that is running.
pub(crate) struct Load {
    shared: Rc<Shared>,
    connections: JoinSet<()>,
    _pacer: Option<pace::Pacer>,
}

impl Load {
    /// Starts it on the current `LocalSet`.
    pub(crate) fn start(plan: Plan) -> Self {
        let shared = Rc::new(Shared {
            started: Instant::now(),
            sent: Cell::new(0),
            stopped: Cell::new(false),
            draining: Cell::new(false),
            tally: RefCell::new(Tally::default()),
            plan,
        });
        let mut connections = JoinSet::new();
        let count = shared.plan.connections;
        let pacer = match shared.plan.pace {
            Pace::Closed => {
                for _ in 0..count {
                    connections.spawn_local(connection::closed(shared.clone()));
                }
                None
            }
            Pace::PerSecond(rate) => {
                let (pacer, turns) = pace::Pacer::start(rate, count);
                for due in turns {
                    connections.spawn_local(connection::paced(shared.clone(), due));
                }
                Some(pacer)
            }
        };
        Self { shared, connections, _pacer: pacer }
    }

    /// Requests answered well so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.tally.borrow().answered()
    }

    /// Requests that failed so far.
    pub(crate) fn failed(&self) -> u64 {
        self.shared.tally.borrow().failed()
    }

    /// No further requests.
    pub(crate) fn stop(&self) {
        self.shared.stopped.set(true);
    }

    /// From now on the proxy may refuse connections; that ends the load and is no failure.
    pub(crate) fn expect_drain(&self) {
        self.shared.draining.set(true);
    }

    /// Whether every connection has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.connections.is_empty() || self.shared.stopped.get()
    }

    /// Waits for the last answer, at most `limit` (plus the time that the last requests may take); what is still
    /// without an answer then is a failure.
    pub(crate) async fn finish(mut self, limit: Duration) -> Tally {
        let all = async { while self.connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limit + LAST_ANSWERS, all).await.is_err() {
            self.shared.stopped.set(true);
            for _ in 0..self.connections.len() {
                self.shared.failed("no answer: in time".to_owned());
            }
            self.connections.shutdown().await;
        }
        let mut tally = self.shared.tally.take();
        tally.close(self.shared.started.elapsed());
        tally
    }

    /// Runs `plan` to its end.
    pub(crate) async fn run(plan: Plan) -> Tally {
        let limit = match plan.until {
            Until::Elapsed(time) => time,
            Until::Requests(_) | Until::Told => Duration::from_secs(300),
        };
        Self::start(plan).finish(limit).await
    }
}
