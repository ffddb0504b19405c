//! What a sidecar has beyond a gateway: connections that were captured, who its workload is, and what governs it.
//!
//! In: `Workloads` of its namespace and the labels of its pod, which `synthesize` turns into the resources by which what
//! comes in is served as everything else is; the workload's identity (`own`); word of destinations that are not known
//! yet (`finder`). Out: [`Mesh`], the addresses by which captured connections come. TLS to other workloads (`peers`) is
//! the edge's too. How connections find their ports is in `listen`, where requests and streams go in `snapshot`.

mod finder;
mod own;
mod peers;
mod synthesize;

pub use finder::{Destinations, Wanted};
pub use own::Own;
pub use peers::{MeshPeers, Unfit};

pub(crate) use finder::Finder;
pub use synthesize::Names;
pub(crate) use synthesize::Synthesizer;

use crate::Proxy;
use crate::listen::{Direction, OriginalDestination};
use crate::snapshot::Runtime;
use arc_swap::ArcSwap;
use sluice_ir::MutualTlsMode;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// What the configuration of inbound connections is found by; nothing is bound there.
pub(crate) const INBOUND: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 6), 15006));

/// The same of outbound connections whose destination has no port of its own.
pub(crate) const OUTBOUND: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15001));

/// How long an unknown destination, a first configuration and an own identity are waited for.
pub const WAIT: Duration = Duration::from_secs(5);

/// Whose sidecar it is.
pub struct MeshSettings {
    /// Namespace of the pod.
    pub namespace: String,
    /// Labels of the pod; see [`Proxy::set_labels`].
    pub labels: BTreeMap<String, String>,
    /// How long first bytes are waited for where they say what a connection is.
    pub detection: Duration,
}

/// Where captured connections come, and who knows destinations.
pub struct MeshOptions {
    /// Where those of the application come.
    pub outbound: Vec<SocketAddr>,
    /// Where those to the application come.
    pub inbound: Vec<SocketAddr>,
    /// Tells where they were going.
    pub original: OriginalDestination,
    /// Knows destinations that are not part of the configuration yet.
    pub destinations: Arc<dyn Destinations>,
    /// How long it is waited for; [`WAIT`] unless something else is wanted.
    pub wait: Duration,
}

/// The captured side of a running sidecar.
pub struct Mesh {
    proxy: Arc<Proxy>,
    outbound: Vec<SocketAddr>,
    inbound: Vec<SocketAddr>,
}

impl Mesh {
    /// Opens the addresses for a proxy that was made with [`MeshSettings`]. Connections wait for the first configuration.
    ///
    /// # Errors
    /// When an address can't be bound.
    pub async fn start(proxy: &Arc<Proxy>, options: MeshOptions) -> io::Result<Self> {
        let MeshOptions { outbound, inbound, original, destinations, wait } = options;
        proxy.find_destinations_by(destinations, wait);
        let mut mesh = Self { proxy: proxy.clone(), outbound: Vec::new(), inbound: Vec::new() };
        for address in outbound {
            let opened = proxy.open_entry(address, Direction::Outbound, original.clone()).await?;
            mesh.outbound.push(opened);
        }
        for address in inbound {
            mesh.inbound.push(proxy.open_entry(address, Direction::Inbound, original.clone()).await?);
        }
        Ok(mesh)
    }

    /// Where the application's connections come, as the system gave the addresses.
    pub fn outbound(&self) -> &[SocketAddr] {
        &self.outbound
    }

    /// Where connections to the application come.
    pub fn inbound(&self) -> &[SocketAddr] {
        &self.inbound
    }

    /// Connections that are open, both ways.
    pub fn connections(&self) -> usize {
        self.proxy.connections()
    }

    /// The pod is about to end: clients are told to open no more on their connections, and whoever comes all the same is
    /// served. What goes out is as before, since the application still needs it.
    pub async fn announce_end(&self) {
        self.proxy.announce_inbound_end().await;
    }

    /// Takes no more connections and lets those that are open end; returns how many were cut at the deadline.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.proxy.drain(deadline).await
    }
}

/// What captured connections need to know.
pub(crate) struct MeshState {
    pub(crate) finder: Finder,
    pub(crate) own: Arc<Own>,
    pub(crate) runtime: Arc<ArcSwap<Runtime>>,
}

impl MeshState {
    /// What the workload takes on a port; `None`: nothing is known yet.
    pub(crate) fn mode(&self, port: u16) -> Option<MutualTlsMode> {
        self.runtime.load().mesh.as_ref()?.mode(port)
    }
}
