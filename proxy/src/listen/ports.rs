//! The ports of the data plane: bound, released and reconfigured at run time. Those of a sidecar are virtual: they are found
//! by the original destination of connections that come by its entries.

use super::PortConfig;
use super::accept;
use super::captured::{self, Direction, Entry, OriginalDestination, Virtual};
use super::connection::{Current, Port};
use super::limit::Slots;
use super::observer::Observer;
use super::stream::Streams;
use crate::generation::Generation;
use crate::mesh::MeshState;
use crate::tls::OnDemand;
use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerApp;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long cut connections may take to end.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// All ports, and every connection that came through them.
pub struct Ports<A> {
    app: Arc<A>,
    observer: Arc<dyn Observer>,
    streams: Arc<dyn Streams>,
    on_demand: OnDemand,
    permissions: Arc<Generation>,
    /// Held while ports are changed; never on the way of a request.
    bound: Mutex<BTreeMap<SocketAddr, Bound<A>>>,
    /// What [`Ports::bound`] shows.
    shown: ArcSwap<Vec<(SocketAddr, SocketAddr)>>,
    connections: TaskTracker,
    cut: CancellationToken,
    /// How ports are found that are not bound; `None`: all are.
    virtual_ports: Option<(Arc<Virtual<A>>, Arc<MeshState>)>,
    /// Held while entries come or go.
    entries: Mutex<Vec<OpenEntry>>,
}

/// One bound port, or a virtual one.
struct Bound<A> {
    port: Arc<Port<A>>,
    actual: SocketAddr,
    stop: CancellationToken,
    shutdown: watch::Sender<bool>,
    /// `None`: nothing is bound.
    accepting: Option<JoinHandle<()>>,
}

/// An address by which captured connections come.
struct OpenEntry {
    actual: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl<A> Ports<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// No port yet.
    pub fn new(app: Arc<A>, observer: Arc<dyn Observer>) -> Self {
        Self {
            app,
            observer,
            streams: Arc::new(()),
            on_demand: OnDemand::default(),
            permissions: Arc::default(),
            bound: Mutex::new(BTreeMap::new()),
            shown: ArcSwap::default(),
            connections: TaskTracker::new(),
            cut: CancellationToken::new(),
            virtual_ports: None,
            entries: Mutex::default(),
        }
    }

    /// Binds none of the ports: connections find theirs by their original destination.
    #[must_use]
    pub(crate) fn captured_by(mut self, mesh: Arc<MeshState>) -> Self {
        self.virtual_ports = Some((Arc::new(Virtual::new()), mesh));
        self
    }

    /// Binds an address by which captured connections come; returns it as the system gave it.
    ///
    /// # Errors
    /// When it can't be bound, or ports are not found by original destinations.
    pub(crate) async fn open_entry(
        &self,
        address: SocketAddr,
        direction: Direction,
        original: OriginalDestination,
    ) -> io::Result<SocketAddr> {
        let Some((ports, mesh)) = &self.virtual_ports else {
            return Err(io::Error::other("the ports of this proxy are bound"));
        };
        let mut entries = self.entries.lock().await;
        let listener = accept::bind(address, false)?;
        let actual = listener.local_addr()?;
        let stop = CancellationToken::new();
        let entry = Arc::new(Entry {
            address: actual,
            direction,
            original,
            ports: ports.clone(),
            mesh: mesh.clone(),
            observer: self.observer.clone(),
        });
        let run = captured::run(entry, listener, stop.clone(), self.cut.clone(), self.connections.clone());
        entries.push(OpenEntry { actual, stop, accepting: tokio::spawn(run) });
        ports.set_entries(entries.iter().map(|it| it.actual).collect());
        tracing::info!(%address, %actual, ?direction, "captured connections are taken");
        drop(entries);
        self.show(&*self.bound.lock().await);
        Ok(actual)
    }

    /// Gives connections that are carried whole to `streams`; without, all bring requests.
    #[must_use]
    pub fn with_streams(mut self, streams: Arc<dyn Streams>) -> Self {
        self.streams = streams;
        self
    }

    /// Has certificates obtained by `on_demand` for names of handshakes; without, such names are refused.
    #[must_use]
    pub fn with_on_demand(mut self, on_demand: OnDemand) -> Self {
        self.on_demand = on_demand;
        self
    }

    /// Has requests that are being answered judged again when this advances; without, they end as they began.
    #[must_use]
    pub(crate) fn with_permissions(mut self, permissions: Arc<Generation>) -> Self {
        self.permissions = permissions;
        self
    }

    /// Makes the wanted ports the bound ones. A port that stays gets its configuration swapped, which touches no
    /// open connection; one that goes stops accepting, tells its connections to finish and closes its socket before
    /// this returns; a new one is bound. Returns what could not be bound; calling again tries again. Must run within
    /// a tokio runtime. Cancelling it may leave ports unchanged that were not reached yet.
    pub async fn apply(&self, wanted: BTreeMap<SocketAddr, Arc<PortConfig>>) -> Vec<(SocketAddr, io::Error)> {
        let mut bound = self.bound.lock().await;
        let gone: Vec<_> = bound.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if let Some(port) = bound.remove(&key) {
                port.release().await;
                tracing::info!(port = %key, "port released");
            }
        }
        let mut failed = Vec::new();
        let keys: Vec<_> = wanted.keys().copied().collect();
        for (key, config) in wanted {
            if let Some(kept) = bound.get(&key) {
                kept.port.config.set(config);
                continue;
            }
            match self.bind(key, config, is_dual_stack(key, &keys)) {
                Ok(port) => {
                    if port.accepting.is_some() {
                        tracing::info!(port = %key, actual = %port.actual, "port bound");
                    }
                    bound.insert(key, port);
                }
                Err(error) => failed.push((key, error)),
            }
        }
        self.show(&bound);
        failed
    }

    /// The bound ports: the address as wanted and as bound. They differ where the port is 0.
    pub fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.shown.load().to_vec()
    }

    /// Tells the connections of a port to finish, and those that still come that they are the last: nothing is closed while
    /// it is used, and nothing is refused.
    pub(crate) async fn announce_end(&self, key: SocketAddr) {
        if let Some(port) = self.bound.lock().await.get(&key) {
            port.shutdown.send_replace(true);
        }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Releases all ports and lets connections finish: idle ones are closed after a second, HTTP/2 clients are told to go
    /// away, requests in flight are answered and their connections closed. What is left at the deadline is cut;
    /// returns how many that were.
    pub async fn drain(&self, deadline: Duration) -> usize {
        for entry in std::mem::take(&mut *self.entries.lock().await) {
            entry.stop.cancel();
            // The task ends as soon as it sees the token; an error would mean that it is gone already.
            let _ = entry.accepting.await;
        }
        let ports = std::mem::take(&mut *self.bound.lock().await);
        self.shown.store(Arc::default());
        for port in ports.into_values() {
            port.release().await;
        }
        self.app.http_cleanup().await;
        self.connections.close();
        if tokio::time::timeout(deadline, self.connections.wait()).await.is_ok() {
            return 0;
        }
        let left = self.connections.len();
        self.cut.cancel();
        // They end at their next poll; the bound is for one that never yields.
        let _ = tokio::time::timeout(CUT_TIMEOUT, self.connections.wait()).await;
        left
    }

    fn bind(&self, key: SocketAddr, config: Arc<PortConfig>, dual_stack: bool) -> io::Result<Bound<A>> {
        let listener = match self.virtual_ports {
            None => Some(accept::bind(key, dual_stack)?),
            Some(_) => None,
        };
        let actual = listener.as_ref().map_or(Ok(key), |it| it.local_addr())?;
        let (shutdown, watch) = watch::channel(false);
        let port = Arc::new(Port {
            key,
            app: self.app.clone(),
            observer: self.observer.clone(),
            streams: self.streams.clone(),
            config: Arc::new(Current::new(config)),
            on_demand: self.on_demand.clone(),
            slots: Slots::new(),
            mesh: self.virtual_ports.as_ref().map(|(_, mesh)| mesh.clone()),
            permissions: self.permissions.clone(),
            shutdown: watch,
        });
        let stop = CancellationToken::new();
        let accepting = listener.map(|listener| {
            let (stop, cut, tasks) = (stop.clone(), self.cut.clone(), self.connections.clone());
            tokio::spawn(accept::run(port.clone(), listener, stop, cut, tasks))
        });
        Ok(Bound { port, actual, stop, shutdown, accepting })
    }

    fn show(&self, bound: &BTreeMap<SocketAddr, Bound<A>>) {
        if let Some((ports, _)) = &self.virtual_ports {
            ports.set(bound.iter().map(|(key, it)| (*key, it.port.clone())).collect());
        }
        let entries = self.virtual_ports.as_ref().map(|(ports, _)| ports.entries()).unwrap_or_default();
        let bound = bound.iter().map(|(key, port)| (*key, port.actual));
        self.shown.store(Arc::new(bound.chain(entries.iter().map(|it| (*it, *it))).collect()));
    }
}

impl<A> Bound<A> {
    /// Closes the port's socket, then tells its connections to finish: a client whose idle connection is closed and
    /// that comes again must not be let in for nothing.
    async fn release(self) {
        self.stop.cancel();
        if let Some(accepting) = self.accepting {
            // The task ends as soon as it sees the token; an error would mean that it is gone already.
            let _ = accepting.await;
        }
        self.shutdown.send_replace(true);
    }
}

/// `[::]` takes IPv4 as well, unless `0.0.0.0` is wanted with the same port.
fn is_dual_stack(key: SocketAddr, wanted: &[SocketAddr]) -> bool {
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), key.port());
    key.ip().is_unspecified() && !wanted.contains(&v4)
}
