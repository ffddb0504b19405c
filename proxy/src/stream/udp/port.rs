//! Receives the datagrams of one port and hands each to its client's session, which the first one begins.

use super::UdpPortConfig;
use super::session::Session;
use super::socket::{Path, PortSocket};
use crate::listen::Slots;
use crate::stream::observe::Caller;
use crate::stream::record::{Record, Speaker};
use crate::stream::{StreamEngine, Way};
use crate::telemetry::Outcome;
use ahash::AHashMap;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Largest datagram.
const MOST_BYTES: usize = 64 * 1024;
/// Datagrams taken before others have their turn.
const BURST: usize = 64;

/// One bound port.
pub(super) struct Port {
    engine: Arc<StreamEngine>,
    key: SocketAddr,
    pub(super) socket: PortSocket,
    pub(super) config: ArcSwap<UdpPortConfig>,
    /// Held for a look-up only.
    sessions: Mutex<AHashMap<Path, Arc<Session>>>,
    slots: Arc<Slots>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Takes no new session.
    is_closing: AtomicBool,
}

impl Port {
    pub(super) fn new(
        engine: Arc<StreamEngine>,
        key: SocketAddr,
        socket: PortSocket,
        config: Arc<UdpPortConfig>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            key,
            socket,
            config: ArcSwap::new(config),
            sessions: Mutex::default(),
            slots: Slots::new(),
            tasks,
            stop,
            is_closing: AtomicBool::new(false),
        })
    }

    /// Takes no new session from now on.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Relaxed);
    }

    /// Receives until the port is released.
    pub(super) async fn receive(self: Arc<Self>) {
        let mut buffer = vec![0; MOST_BYTES];
        loop {
            let readable = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                readable = self.socket.readable() => readable,
            };
            if readable.is_err() {
                return;
            }
            for _ in 0..BURST {
                match self.socket.try_receive(&mut buffer) {
                    Ok((len, path)) => self.guarded(path, &buffer[..len]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Of one datagram; the socket itself is fine.
                    Err(_) => {}
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// A fault of ours costs one datagram, never the port.
    fn guarded(self: &Arc<Self>, path: Path, bytes: &[u8]) {
        if catch_unwind(AssertUnwindSafe(|| self.take(path, bytes))).is_err() {
            self.engine.metrics.panicked();
            tracing::error!(port = %self.key, "a datagram caused a fault; it is dropped");
        }
    }

    fn take(self: &Arc<Self>, path: Path, bytes: &[u8]) {
        let known = self.sessions.lock().get(&path).cloned();
        let session = match known {
            Some(session) if self.is_current(&session) => session,
            other => {
                if let Some(outdated) = other {
                    outdated.end(Outcome::Served);
                }
                let Some(session) = self.begin(path) else { return };
                session
            }
        };
        session.forward(bytes);
    }

    /// A session for a new client; `None` when there can be none.
    fn begin(self: &Arc<Self>, path: Path) -> Option<Arc<Session>> {
        let way = self.way()?;
        let metrics = way.route.as_ref().map(|route| route.metrics(&self.engine.metrics).clone());
        let dropped = || metrics.iter().for_each(|it| it.dropped());
        if self.is_closing.load(Relaxed) {
            dropped();
            return None;
        }
        let config = self.config.load();
        let limits = &config.limits;
        let client = SocketAddr::new(path.client.ip().to_canonical(), path.client.port());
        let slots = self.slots.port(limits.datagram_sessions).and_then(|port| {
            Some((port, self.slots.client(client.ip(), limits.datagram_sessions_per_client)?))
        });
        let Some(slots) = slots else {
            dropped();
            return None;
        };
        let speaker = Speaker {
            address: client,
            server_name: None,
            subject: None,
            tls_version: None,
            caller: Caller::default(),
            host: Box::default(),
        };
        let record = Record::begin(&self.engine, &way, speaker, Instant::now());
        let (session, run) = Session::begin(self.clone(), path, &way, record, slots);
        self.sessions.lock().insert(path, session.clone());
        self.tasks.spawn(run);
        Some(session)
    }

    /// Whether the session may go on.
    fn is_current(&self, session: &Session) -> bool {
        let runtime = self.engine.runtime.load();
        let listener = runtime.datagrams.get(&self.key).and_then(|port| port.listener(None));
        session.is_current(listener.and_then(|it| it.route(None)))
    }

    /// Where new sessions go.
    fn way(&self) -> Option<Way> {
        let runtime = self.engine.runtime.load();
        let port = runtime.datagrams.get(&self.key)?;
        let listener = port.listener(None)?;
        let route = listener.route(None).cloned();
        Some(Way { port: port.clone(), listener: listener.clone(), route })
    }

    /// The session is over: the client's next datagram begins another.
    pub(super) fn forget(&self, path: Path, session: &Arc<Session>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&path).is_some_and(|it| Arc::ptr_eq(it, session)) {
            sessions.remove(&path);
        }
        // A burst of clients must not keep its memory.
        if sessions.is_empty() && sessions.capacity() > 1024 {
            *sessions = AHashMap::new();
        }
    }

    pub(super) fn stopped(&self) -> tokio_util::sync::WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }
}
