//! One client's way to one endpoint: a socket that is connected to it, so that the system tells when nobody is there
//! (ICMP), and a bound on how long it may be silent.

use super::port::Port;
use super::socket::Path;
use crate::listen::{ClientSlot, PortSlot};
use crate::snapshot::{BackendRuntime, StreamRuntime};
use crate::stream::Way;
use crate::stream::record::Record;
use crate::stream::relay::Counts;
use crate::telemetry::{Outcome, StreamMetrics};
use crate::upstream::{EjectPolicy, Picked};
use parking_lot::Mutex;
use sluice_ir::BackendKey;
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// Largest datagram.
const MOST_BYTES: usize = 64 * 1024;
/// Replies taken before others have their turn.
const BURST: usize = 32;
/// How long a session that can't be served drops what its client sends, before it is tried anew.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// A session.
pub(super) struct Session {
    /// `None`: its datagrams are dropped.
    served: Option<Served>,
    metrics: Arc<StreamMetrics>,
    counts: Arc<Counts>,
    /// Ends it, with the outcome.
    ended: CancellationToken,
    outcome: Mutex<Outcome>,
}

/// Where it goes.
struct Served {
    route: Arc<StreamRuntime>,
    backend: Arc<BackendRuntime>,
    picked: Picked,
    socket: UdpSocket,
}

impl Session {
    /// A session, and what keeps it going: to be spawned.
    pub(super) fn begin(
        port: Arc<Port>,
        path: Path,
        way: &Way,
        mut record: Record,
        slots: (PortSlot, ClientSlot),
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let opened = open(way, &mut record);
        let (served, outcome) = match opened {
            Ok(served) => (Some(served), Outcome::Served),
            Err(outcome) => (None, outcome),
        };
        let session = Arc::new(Self {
            served,
            metrics: record.counts.metrics().clone(),
            counts: record.counts.clone(),
            ended: CancellationToken::new(),
            outcome: Mutex::new(outcome),
        });
        let policy = EjectPolicy::from(way.settings());
        let running = session.clone();
        let run = async move {
            let _slots = slots;
            let outcome = match &running.served {
                Some(served) => running.run(served, &port, path, policy).await,
                None => running.refuse(&port).await,
            };
            port.forget(path, &running);
            record.end(outcome);
        };
        (session, run)
    }

    /// Sends a client's datagram on. One for which there is no room is dropped, as the network would.
    pub(super) fn forward(&self, bytes: &[u8]) {
        let Some(served) = &self.served else {
            self.metrics.dropped();
            return;
        };
        // Past the runtime, which does not know yet whether a new socket has room.
        match SockRef::from(&served.socket).send(bytes) {
            Ok(len) => self.counts.to_endpoint().moved(len),
            Err(error) => {
                self.metrics.dropped();
                if is_gone(&error) {
                    self.end(Outcome::UpstreamReset);
                }
            }
        }
    }

    /// Ends the session.
    pub(super) fn end(&self, outcome: Outcome) {
        *self.outcome.lock() = outcome;
        self.ended.cancel();
    }

    /// Whether the client may stay: its endpoint is there, and the route of the moment leads to its backend.
    pub(super) fn is_current(&self, route: Option<&Arc<StreamRuntime>>) -> bool {
        if self.ended.is_cancelled() {
            return false;
        }
        let Some(served) = &self.served else { return true };
        let key: &BackendKey = &served.backend.backend.key;
        let leads = route.is_some_and(|it| Arc::ptr_eq(it, &served.route) || it.leads_to(key));
        leads && served.backend.pool.holds(&served.picked.session_id())
    }

    /// Takes replies until the session ends.
    async fn run(&self, served: &Served, port: &Port, path: Path, policy: EjectPolicy) -> Outcome {
        let idle = port.config.load().limits.datagram_idle_timeout;
        let outcome = tokio::select! {
            biased;
            () = port.stopped() => Outcome::Cut,
            () = self.ended.cancelled() => *self.outcome.lock(),
            outcome = self.replies(served, port, path) => outcome,
            // The usual end: nobody says good-bye in datagrams.
            () = self.counts.idle(idle) => Outcome::Served,
        };
        match outcome {
            Outcome::UpstreamReset => served.picked.failed(Instant::now(), policy),
            _ if self.counts.bytes().1 > 0 => served.picked.succeeded(),
            _ => {}
        }
        outcome
    }

    async fn replies(&self, served: &Served, port: &Port, path: Path) -> Outcome {
        loop {
            if served.socket.readable().await.is_err() {
                return Outcome::UpstreamReset;
            }
            // Not kept while the session is silent.
            let mut buffer = vec![0; MOST_BYTES];
            for _ in 0..BURST {
                let len = match served.socket.try_recv(&mut buffer) {
                    Ok(len) => len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Outcome::UpstreamReset,
                };
                match port.socket.try_reply(path, &buffer[..len]) {
                    Ok(()) => self.counts.to_client().moved(len),
                    Err(_) => self.metrics.dropped(),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Drops for a moment what the client sends.
    async fn refuse(&self, port: &Port) -> Outcome {
        let outcome = *self.outcome.lock();
        tokio::select! {
            () = port.stopped() => {}
            () = tokio::time::sleep(REFUSED_FOR) => {}
        }
        outcome
    }
}

/// Chooses the endpoint and connects to it, which sends nothing.
fn open(way: &Way, record: &mut Record) -> Result<Served, Outcome> {
    let route = way.route.as_ref().ok_or(Outcome::NoRoute)?;
    let backend = route.next()?;
    let picked = backend.pool.pick(way.settings().balancing, &[], None).ok_or(Outcome::NoEndpoint)?;
    record.attempts = 1;
    record.endpoint = Some(picked.address);
    let socket = connected(picked.address).map_err(|_| Outcome::ConnectFailed)?;
    Ok(Served { route: route.clone(), backend: backend.clone(), picked, socket })
}

fn connected(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match endpoint {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(endpoint)?;
    UdpSocket::from_std(socket)
}

/// Nobody is at the endpoint (ICMP port or host unreachable).
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionRefused | E::HostUnreachable | E::NetworkUnreachable)
}
