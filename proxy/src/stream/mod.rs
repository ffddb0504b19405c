//! Connections and datagrams that are carried whole: TLSRoute, TCPRoute and UDPRoute.
//!
//! In: a connection of a port that carries some whole ([`StreamConnection`](crate::listen::StreamConnection)), or the
//! datagrams of a port of protocol UDP ([`UdpPorts`]). Out: bytes at an endpoint of the route's backend, and one record
//! for each connection or session. Endpoints are chosen, watched and sent to rest by what requests use too. Nothing of
//! what is carried is read, but for the server name that chose the route. No Pingora here.
//!
//! `serve` is the way of a connection, in order; `connect` finds its endpoint; `relay` moves its bytes, by `splice`
//! where both sides are sockets and by `copy` where TLS ends on one of them; `record` says how it went, `observe` what a mesh learns of it. `udp` does the
//! same for datagrams.

mod connect;
mod copy;
mod observe;
mod pipes;
mod record;
mod relay;
mod serve;
mod splice;
mod udp;

pub(crate) use udp::{UdpPortConfig, UdpPorts};

use crate::generation::Generation;
use crate::listen::{Chosen, ConnInfo, Destination, Direction, Stream, Streams};
use crate::snapshot::{Runtime, StreamListener, StreamPort, StreamRuntime};
use crate::telemetry::{AccessLogger, Metrics, Outcome};
use arc_swap::ArcSwap;
use pipes::Pipes;
use serve::Carrying;
use sluice_ir::{AccessLog, ListenerProtocol, Settings};
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a tunnel is refused while its listener goes.
const GONE: &str = "the forward proxy is going away";

/// What all streams share.
pub(crate) struct StreamEngine {
    runtime: Arc<ArcSwap<Runtime>>,
    metrics: Arc<Metrics>,
    log: AccessLogger,
    pipes: Pipes,
    /// Advances when what workloads take may have changed.
    permissions: Arc<Generation>,
}

impl StreamEngine {
    pub(crate) fn new(
        runtime: Arc<ArcSwap<Runtime>>,
        metrics: Arc<Metrics>,
        log: AccessLogger,
        permissions: Arc<Generation>,
    ) -> Arc<Self> {
        Arc::new(Self { runtime, metrics, log, pipes: Pipes::default(), permissions })
    }

    /// Ready with the outcome when a stream to a workload becomes forbidden. Cancel safe.
    async fn refusal(&self, info: &ConnInfo) -> Outcome {
        let inbound = info.captured.filter(|it| it.direction == Direction::Inbound);
        let Some(inbound) = inbound else { return std::future::pending().await };
        let mut permissions = self.permissions.watch();
        loop {
            let takes = || self.runtime.load().takes_plaintext(inbound.original.port());
            if info.peer_id.is_none() && !takes() {
                return Outcome::PlaintextRefused;
            }
            permissions.changed().await;
        }
    }
}

/// Where one stream goes, as the configuration said when it began.
#[derive(Clone)]
struct Way {
    port: Arc<StreamPort>,
    listener: Arc<StreamListener>,
    /// `None`: the listener has no route for it.
    route: Option<Arc<StreamRuntime>>,
}

impl Way {
    fn settings(&self) -> &Settings {
        &self.port.gateway.settings
    }

    fn access_log(&self) -> AccessLog {
        self.port.access_log()
    }
}

/// The streams of a running proxy, as its ports know them.
pub(crate) struct Ways(pub(crate) Arc<StreamEngine>);

impl Streams for Ways {
    fn choose(&self, port: SocketAddr, server_name: Option<&str>) -> Chosen {
        let runtime = self.0.runtime.load();
        let found = runtime.streams.get(&port);
        match found.or_else(|| runtime.stream_by_name(port, server_name)) {
            None => Chosen::Nobody,
            Some(port) => self.choose_of(port, server_name),
        }
    }

    fn is_whole(&self, port: SocketAddr) -> bool {
        self.0.runtime.load().is_whole(port)
    }

    fn pass(&self, original: SocketAddr) -> Chosen {
        match self.0.runtime.load().passing(original) {
            None => Chosen::Nobody,
            Some(port) => self.choose_of(port, None),
        }
    }

    fn tunnel(&self, port: SocketAddr, to: &Destination) -> Result<Box<dyn Stream>, &'static str> {
        let runtime = self.0.runtime.load();
        let port = runtime.streams.get(&port).ok_or(GONE)?;
        let listener = port.listener(None).ok_or(GONE)?;
        let route = listener.tunnel(to)?;
        let way = Way { port: port.clone(), listener: listener.clone(), route: Some(route.clone()) };
        let tunnel = Some(to.clone());
        Ok(Box::new(Carrying { engine: self.0.clone(), way, ends_tls: false, tunnel }))
    }
}

impl Ways {
    fn choose_of(&self, port: &Arc<StreamPort>, server_name: Option<&str>) -> Chosen {
        let Some(listener) = port.listener(server_name) else { return Chosen::Nobody };
        let ends_tls = match listener.listener.protocol {
            ListenerProtocol::Http | ListenerProtocol::Https(_) | ListenerProtocol::ForwardProxy => {
                return Chosen::Requests;
            }
            ListenerProtocol::TlsTerminate(_) => true,
            ListenerProtocol::TlsPassthrough
            | ListenerProtocol::Tcp
            | ListenerProtocol::Udp
            | ListenerProtocol::Detect => false,
        };
        let route = listener.route(server_name).cloned();
        let way = Way { port: port.clone(), listener: listener.clone(), route };
        let carrying = Carrying { engine: self.0.clone(), way, ends_tls, tunnel: None };
        Chosen::Stream(Box::new(carrying))
    }
}
