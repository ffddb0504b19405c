//! Connections that were captured on their way to somewhere else, as a sidecar gets them.
//!
//! Nothing is bound for the ports of the configuration here: they are *virtual*, and a connection finds its port by its
//! original destination. What finds none is asked for at the control plane, within a bound, and goes on by the host that it
//! names. Connections that came to a sidecar by themselves are refused, and so are those that would come back to it.

use super::accept::{self, canonical};
use super::connection::{self, Accepted, Port};
use super::forward::Destination;
use super::observer::{Observer, Refused};
use super::stream::Chosen;
use crate::mesh::{INBOUND, MeshState, OUTBOUND};
use crate::telemetry::Outcome;
use ahash::AHashMap;
use arc_swap::ArcSwap;
use futures::FutureExt;
use pingora_core::apps::HttpServerApp;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Own addresses of connections to the application, by which they are told from others and not captured again.
const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6));

/// Ports where servers speak first, as Istio has them: SMTP, DNS, MySQL, MongoDB.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

/// Tells where a captured connection was going; `None`: it was not captured. Usually
/// [`original_destination`](super::original_destination).
pub type OriginalDestination = Arc<dyn Fn(&TcpStream) -> io::Result<Option<SocketAddr>> + Send + Sync>;

/// Which way a captured connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the application beside the sidecar.
    Outbound,
    /// To it.
    Inbound,
}

/// How a connection was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Which way it goes.
    pub direction: Direction,
    /// Where it was going.
    pub original: SocketAddr,
    /// Nobody has this address alone: what is known of the port is found by the host that the connection, or each of its
    /// requests, names.
    pub(crate) by_host: bool,
}

/// See [`ConnInfo::source`](super::ConnInfo::source).
pub(super) fn source(original: IpAddr) -> IpAddr {
    if original.is_ipv4() { SOURCE_V4 } else { SOURCE_V6 }
}

/// The virtual ports, and the addresses by which connections come.
pub(super) struct Virtual<A> {
    ports: ArcSwap<AHashMap<SocketAddr, Arc<Port<A>>>>,
    changed: Notify,
    /// As bound.
    entries: ArcSwap<Vec<SocketAddr>>,
}

impl<A> Virtual<A> {
    pub(super) fn new() -> Self {
        Self { ports: ArcSwap::default(), changed: Notify::new(), entries: ArcSwap::default() }
    }

    pub(super) fn set(&self, ports: AHashMap<SocketAddr, Arc<Port<A>>>) {
        self.ports.store(Arc::new(ports));
        self.changed.notify_waiters();
    }

    pub(super) fn set_entries(&self, entries: Vec<SocketAddr>) {
        self.entries.store(Arc::new(entries));
    }

    pub(super) fn entries(&self) -> Arc<Vec<SocketAddr>> {
        self.entries.load_full()
    }

    fn get(&self, address: &SocketAddr) -> Option<Arc<Port<A>>> {
        self.ports.load().get(address).cloned()
    }

    /// The port, also when it comes later. Cancel safe.
    async fn wait_for(&self, address: &SocketAddr) -> Arc<Port<A>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            if let Some(port) = self.get(address) {
                return port;
            }
            changed.await;
        }
    }

    /// Whether a connection to this address would come back here.
    fn is_ours(&self, original: SocketAddr, socket: (SocketAddr, SocketAddr)) -> bool {
        let (local, peer) = (socket.0.ip(), socket.1.ip());
        let ip = original.ip();
        let is_here = ip == local || ip == peer || ip.is_loopback() || ip.is_unspecified();
        let is_entry = self.entries.load().iter().any(|it| it.port() == original.port());
        original == INBOUND || original == OUTBOUND || (is_here && is_entry)
    }
}

/// An address by which captured connections come.
pub(super) struct Entry<A> {
    /// As bound: metrics name it.
    pub(super) address: SocketAddr,
    pub(super) direction: Direction,
    pub(super) original: OriginalDestination,
    pub(super) ports: Arc<Virtual<A>>,
    pub(super) mesh: Arc<MeshState>,
    pub(super) observer: Arc<dyn Observer>,
}

/// Accepts until `stop`.
pub(super) async fn run<A>(
    entry: Arc<Entry<A>>,
    listener: tokio::net::TcpListener,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    accept::all(entry.address, &listener, &stop, |socket, peer| {
        accept::prepare(&socket);
        entry.observer.opened(entry.address);
        tasks.spawn(guarded(entry.clone(), socket, canonical(peer), cut.clone()));
    })
    .await;
}

async fn guarded<A>(entry: Arc<Entry<A>>, socket: TcpStream, peer: SocketAddr, cut: CancellationToken)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let served = AssertUnwindSafe(serve(&entry, socket, peer)).catch_unwind();
    let panicked = tokio::select! {
        biased;
        () = cut.cancelled() => false,
        served = served => served.is_err(),
    };
    if panicked {
        entry.observer.panicked(entry.address);
    }
    entry.observer.closed(entry.address);
}

async fn serve<A>(entry: &Entry<A>, socket: TcpStream, direct_peer: SocketAddr)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let Ok(local) = socket.local_addr().map(canonical) else { return };
    let original = match (entry.original)(&socket) {
        Ok(Some(original)) => canonical(original),
        Ok(None) | Err(_) => {
            return entry.refuse(direct_peer, Outcome::NotCaptured, "the connection was not captured");
        }
    };
    if original == local || entry.ports.is_ours(original, (local, direct_peer)) {
        return entry.refuse(direct_peer, Outcome::NotCaptured, "the connection would come back here");
    }
    let Some((port, by_host)) = entry.port(original).await else {
        return entry.refuse(direct_peer, Outcome::NotConfigured, "there is no configuration yet");
    };
    let config = port.config.get();
    let Some(slot) = port.slots.port(config.limits.connections) else {
        return connection::overloaded_silently(&port, direct_peer, &config);
    };
    let captured = Captured { direction: entry.direction, original, by_host };
    let lookup = if entry.direction == Direction::Inbound { INBOUND } else { original };
    let accepted = Accepted { socket, direct_peer, slot, config, lookup, captured: Some(captured) };
    connection::serve(port, accepted).await;
}

impl<A> Entry<A> {
    /// The virtual port of an original destination, and whether hosts say more; `None`: nothing is known at all.
    async fn port(&self, original: SocketAddr) -> Option<(Arc<Port<A>>, bool)> {
        if self.direction == Direction::Inbound {
            return Some((self.door(INBOUND).await?, false));
        }
        if let Some(port) = self.ports.get(&original) {
            return Some((port, false));
        }
        let to = Destination { host: original.ip().to_string().into(), port: original.port() };
        let learnt = self.mesh.finder.learn(to).await;
        match self.ports.get(&original).filter(|_| learnt) {
            Some(port) => Some((port, false)),
            None => Some((self.door(OUTBOUND).await?, true)),
        }
    }

    /// The port of what has no other; it is there from the first configuration on.
    async fn door(&self, address: SocketAddr) -> Option<Arc<Port<A>>> {
        timeout(self.mesh.finder.wait(), self.ports.wait_for(&address)).await.ok()
    }

    fn refuse(&self, peer: SocketAddr, outcome: Outcome, reason: &str) {
        self.observer.refused(&Refused {
            port: self.address,
            peer,
            tls: false,
            outcome,
            reason,
            server_name: None,
            head: None,
            connection: None,
        });
    }
}

/// Whether all connections to a destination without a port of its own are carried whole, whatever they bring.
pub(super) fn is_whole<A>(port: &Port<A>, lookup: SocketAddr, captured: Option<Captured>) -> bool {
    let by_host = captured.filter(|it| it.by_host);
    by_host.is_some_and(|it| SERVER_FIRST.contains(&it.original.port()) || port.streams.is_whole(lookup))
}

/// Where a connection goes whose first bytes are no request; `name`: of its ClientHello, empty without one.
pub(super) async fn choose<A>(
    port: &Port<A>,
    lookup: SocketAddr,
    captured: Option<Captured>,
    name: Option<&str>,
) -> Chosen {
    let known = port.streams.choose(lookup, name);
    let (Chosen::Nobody, Some(captured), Some(mesh)) = (&known, captured.filter(|it| it.by_host), &port.mesh)
    else {
        return known;
    };
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        let to = Destination { host: name.into(), port: captured.original.port() };
        if mesh.finder.learn(to).await {
            let learnt = port.streams.choose(lookup, Some(name));
            if !matches!(learnt, Chosen::Nobody) {
                return learnt;
            }
        }
    }
    port.streams.pass(captured.original)
}
