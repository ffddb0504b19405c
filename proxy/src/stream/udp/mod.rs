//! Ports of protocol UDP: bound, released and reconfigured at run time.
//!
//! `port` receives and keeps the sessions of a port, `session` is one client's way to one endpoint, `socket` is the bound
//! socket.

mod port;
mod session;
mod socket;

use super::StreamEngine;
use arc_swap::ArcSwap;
use port::Port;
use sluice_ir::Limits;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long cut sessions may take to end.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// What can change on a port without binding it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UdpPortConfig {
    /// Bounds on sessions.
    pub(crate) limits: Limits,
}

/// All ports of protocol UDP, and their sessions.
pub(crate) struct UdpPorts {
    engine: Arc<StreamEngine>,
    bound: Mutex<BTreeMap<SocketAddr, Bound>>,
    /// What [`UdpPorts::bound`] shows.
    shown: ArcSwap<Vec<(SocketAddr, SocketAddr)>>,
    sessions: TaskTracker,
}

struct Bound {
    port: Arc<Port>,
    actual: SocketAddr,
    /// Ends the port with its sessions.
    stop: CancellationToken,
    receiving: tokio::task::JoinHandle<()>,
}

impl UdpPorts {
    pub(crate) fn new(engine: Arc<StreamEngine>) -> Self {
        Self { engine, bound: Mutex::default(), shown: ArcSwap::default(), sessions: TaskTracker::new() }
    }

    /// Makes the wanted ports the bound ones. A port that stays keeps its sessions; one that goes ends them, since
    /// nothing can be replied without it. Returns what could not be bound; calling again tries again. Must run within a
    /// tokio runtime.
    pub(crate) async fn apply(
        &self,
        wanted: &BTreeMap<SocketAddr, Arc<UdpPortConfig>>,
    ) -> Vec<(SocketAddr, io::Error)> {
        let mut bound = self.bound.lock().await;
        let gone: Vec<_> = bound.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if let Some(port) = bound.remove(&key) {
                port.release().await;
                tracing::info!(port = %key, "UDP port released");
            }
        }
        let mut failed = Vec::new();
        for (key, config) in wanted {
            if let Some(kept) = bound.get(key) {
                kept.port.config.store(config.clone());
                continue;
            }
            match self.bind(*key, config.clone(), is_dual_stack(*key, wanted)) {
                Ok(port) => {
                    tracing::info!(port = %key, actual = %port.actual, "UDP port bound");
                    bound.insert(*key, port);
                }
                Err(error) => failed.push((*key, error)),
            }
        }
        self.show(&bound);
        failed
    }

    /// The bound ports: the address as wanted and as bound. They differ where the port is 0.
    pub(crate) fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.shown.load().to_vec()
    }

    /// Takes no new session and lets those that are there end by themselves. What is left at the deadline is cut;
    /// returns how many that were.
    pub(crate) async fn drain(&self, deadline: Duration) -> usize {
        let ports = std::mem::take(&mut *self.bound.lock().await);
        self.shown.store(Arc::default());
        ports.values().for_each(|it| it.port.close());
        self.sessions.close();
        let ended = tokio::time::timeout(deadline, self.sessions.wait()).await.is_ok();
        let left = if ended { 0 } else { self.sessions.len() };
        for port in ports.into_values() {
            port.release().await;
        }
        let _ = tokio::time::timeout(CUT_TIMEOUT, self.sessions.wait()).await;
        left
    }

    fn bind(&self, key: SocketAddr, config: Arc<UdpPortConfig>, dual_stack: bool) -> io::Result<Bound> {
        let stop = CancellationToken::new();
        let socket = socket::PortSocket::bind(key, dual_stack)?;
        let actual = socket.local_addr()?;
        let port = Port::new(self.engine.clone(), key, socket, config, self.sessions.clone(), stop.clone());
        let receiving = tokio::spawn(port.clone().receive());
        Ok(Bound { port, actual, stop, receiving })
    }

    fn show(&self, bound: &BTreeMap<SocketAddr, Bound>) {
        self.shown.store(Arc::new(bound.iter().map(|(key, port)| (*key, port.actual)).collect()));
    }
}

impl Bound {
    /// Ends the sessions and closes the socket.
    async fn release(self) {
        self.stop.cancel();
        // The task ends as soon as it sees the token; an error would mean that it is gone already.
        let _ = self.receiving.await;
    }
}

/// `[::]` takes IPv4 as well, unless `0.0.0.0` is wanted with the same port.
fn is_dual_stack(key: SocketAddr, wanted: &BTreeMap<SocketAddr, Arc<UdpPortConfig>>) -> bool {
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), key.port());
    key.ip().is_unspecified() && !wanted.contains_key(&v4)
}
