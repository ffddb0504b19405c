//! A running proxy: a compiler, bound ports and the engine between them.

use crate::acme::Challenges;
use crate::generation::Generation;
use crate::http::{Engine, Handler, handler};
use crate::identity::Identity;
use crate::listen::{Direction, OriginalDestination, PortConfig, Ports};
use crate::mesh::{Destinations, Finder, INBOUND, MeshSettings, MeshState, Names, Own, Synthesizer};
use crate::policy::BufferRoom;
use crate::snapshot::{BindPlan, Compiled, Compiler, PlannedPort, Runtime};
use crate::stream::{StreamEngine, UdpPortConfig, UdpPorts, Ways};
use crate::telemetry::mesh::{Mesh, OwnWorkload};
use crate::telemetry::seen::SeenCalls;
use crate::telemetry::trace::{TraceOptions, Tracer};
use crate::telemetry::{AccessLogger, Metrics};
use crate::tls::{Obtain, OnDemand};
use crate::upstream::{Calls, MirrorClient, MirrorLimits, PoolSnapshot, Resolver, Upstreams};
use crate::watcher::Watcher;
use arc_swap::ArcSwap;
use pingora_core::server::configuration::ServerConf;
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, watch};

/// Tries that Pingora may make for one request; our own rules end them far earlier.
const MOST_TRIES: usize = 128;

/// How long the end of the process waits for the access log, and for the collector of spans.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Idle connections to endpoints that are kept in all.
const KEPT_CONNECTIONS: usize = 4096;

/// How a proxy is started.
pub struct ProxyOptions {
    /// Where listeners are bound.
    pub plan: BindPlan,
    /// Resolves the names of backends.
    pub resolver: Resolver,
    /// Where access log lines go.
    pub log: AccessLogger,
    /// Who it is in the mesh, for backends that are spoken to in the mesh's TLS; `None`: nobody.
    pub identity: Option<watch::Receiver<Option<Arc<Identity>>>>,
    /// Whose sidecar it is: connections are captured, and nothing of the plan is bound. `None`: nobody's.
    pub mesh: Option<MeshSettings>,
}

/// The proxy. Dropping it closes its ports.
pub struct Proxy {
    compiler: parking_lot::Mutex<Compiler>,
    /// Held while a delta is applied, so that deltas take effect one after the other.
    planned: Mutex<BTreeMap<SocketAddr, Arc<PortConfig>>>,
    runtime: Arc<ArcSwap<Runtime>>,
    ports: Ports<Handler>,
    datagrams: UdpPorts,
    upstreams: Arc<Upstreams>,
    on_demand: OnDemand,
    /// Advances when what is open may have become forbidden.
    permissions: Arc<Generation>,
    /// What a sidecar has besides.
    mesh: Option<(Arc<MeshState>, Duration)>,
    metrics: Arc<Metrics>,
    tracer: Arc<Tracer>,
    log: AccessLogger,
}

impl Proxy {
    /// A proxy without configuration: nothing is bound yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no socket on loopback or no thread.
    pub fn new(options: ProxyOptions) -> io::Result<Arc<Self>> {
        let metrics = Metrics::new();
        metrics.set_access_log(&options.log);
        let upstreams = match options.mesh {
            None => Upstreams::new(options.resolver),
            Some(_) => Upstreams::of_sidecar(options.resolver),
        };
        metrics.set_upstreams(&upstreams);
        let mirrors = MirrorClient::new(MirrorLimits::default());
        metrics.set_mirrors(&mirrors);
        let runtime: Arc<ArcSwap<Runtime>> = Arc::default();
        let conf = Arc::new(ServerConf {
            max_retries: MOST_TRIES,
            upstream_keepalive_pool_size: KEPT_CONNECTIONS,
            // Nothing is trusted through Pingora's own connector. Left to itself it reads the system's certificates and
            // panics where there are none, as in an image that holds only the program.
            ca_file: Some("/dev/null".to_owned()),
            ..ServerConf::default()
        });
        let own = options.identity.map_or_else(Own::nobody, Own::follow);
        let state = || MeshState { finder: Finder::default(), own: own.clone(), runtime: runtime.clone() };
        let mesh = options.mesh.as_ref().map(|settings| (Arc::new(state()), settings.detection));
        let (plan, synthesizer) = match options.mesh {
            None => (options.plan, None),
            Some(it) => (BindPlan::captured(), Some(Synthesizer::new(it.namespace, it.labels))),
        };
        let buffers = Arc::<BufferRoom>::default();
        metrics.set_buffers(&buffers);
        let engine = Engine {
            runtime: runtime.clone(),
            metrics: metrics.clone(),
            log: options.log.clone(),
            mirrors,
            buffers,
            calls: Calls::default(),
            mesh: mesh.as_ref().map(|(state, _)| state.clone()),
        };
        let observer = Arc::new(Watcher {
            runtime: runtime.clone(),
            metrics: metrics.clone(),
            log: options.log.clone(),
        });
        let handler = handler(&conf, engine)?;
        let on_demand = OnDemand::default();
        let permissions = Arc::<Generation>::default();
        let streams =
            StreamEngine::new(runtime.clone(), metrics.clone(), options.log.clone(), permissions.clone());
        let tracer = Arc::<Tracer>::default();
        metrics.set_spans(tracer.counts().clone());
        let mut compiler = Compiler::new(plan, upstreams.clone(), metrics.clone()).in_mesh(own, synthesizer);
        compiler.trace_by(tracer.clone());
        let mut ports = Ports::new(handler, observer)
            .with_streams(Arc::new(Ways(streams.clone())))
            .with_on_demand(on_demand.clone())
            .with_permissions(permissions.clone());
        if let Some((state, _)) = &mesh {
            ports = ports.captured_by(state.clone());
        }
        Ok(Arc::new(Self {
            compiler: parking_lot::Mutex::new(compiler),
            planned: Mutex::default(),
            runtime,
            ports,
            on_demand,
            datagrams: UdpPorts::new(streams),
            permissions,
            mesh,
            upstreams,
            metrics,
            tracer,
            log: options.log,
        }))
    }

    /// Applies a delta: new requests see it when this returns, running ones end as they began unless policies forbid them
    /// now. Returns the listeners
    /// that can't be served, and why; everything else is served.
    pub async fn apply(&self, delta: &ir::Delta) -> Vec<(ir::ListenerKey, String)> {
        let started = Instant::now();
        let mut planned = self.planned.lock().await;
        let compiled = self.compiler.lock().apply(delta);
        let Compiled { runtime, ports, datagrams, mut failures, may_forbid } = compiled;
        self.runtime.store(runtime);
        if may_forbid {
            self.permissions.advance();
        }
        let wanted = port_configs(&ports, &planned, self.mesh.as_ref().map(|it| it.1));
        if !same(&wanted, &planned) {
            let refused = self.ports.apply(wanted.clone()).await;
            let bound = self.ports.bound();
            self.metrics.retire_ports_except(|address| bound.iter().any(|(planned, _)| *planned == address));
            *planned = wanted;
            for (address, error) in refused {
                // Not planned, so that the next change tries it again and reports it until it succeeds.
                planned.remove(&address);
                let listeners = ports.get(&address).map(|port| &port.listeners[..]).unwrap_or_default();
                failures.extend(listeners.iter().map(|key| (key.clone(), format!("{address}: {error}"))));
            }
        }
        for (address, error) in self.datagrams.apply(&udp_configs(&datagrams)).await {
            let listeners = datagrams.get(&address).map(|port| &port.listeners[..]).unwrap_or_default();
            failures.extend(listeners.iter().map(|key| (key.clone(), format!("{address} (UDP): {error}"))));
        }
        self.metrics.config_applied(self.compiler.lock().snapshot(), started.elapsed(), failures.len());
        failures
    }

    /// The labels of the sidecar's pod are these now: policies are selected by them anew.
    pub async fn set_labels(&self, labels: BTreeMap<String, String>) {
        self.compiler.lock().set_labels(labels);
        let _ = self.apply(&ir::Delta::default()).await;
    }

    /// Whom a sidecar asks for destinations that it does not know. Only the first word counts.
    pub(crate) fn find_destinations_by(&self, source: Arc<dyn Destinations>, wait: Duration) {
        if let Some((state, _)) = &self.mesh {
            state.finder.set(source, wait);
        }
    }

    /// Opens an address by which captured connections come.
    pub(crate) async fn open_entry(
        &self,
        address: SocketAddr,
        direction: Direction,
        original: OriginalDestination,
    ) -> io::Result<SocketAddr> {
        self.ports.open_entry(address, direction, original).await
    }

    /// See [`Mesh::announce_end`](crate::mesh::Mesh::announce_end).
    pub(crate) async fn announce_inbound_end(&self) {
        self.ports.announce_end(INBOUND).await;
    }

    /// Says who has certificates ordered that clients ask for at handshakes; until then such names are refused. Only the
    /// first word counts.
    pub fn obtain_by(&self, source: Arc<dyn Obtain>) {
        self.on_demand.set_source(source);
    }

    /// Makes this data plane part of a mesh: it tells of calls as the mesh does, in metrics and to other proxies. For ports
    /// that come with the next delta; only the first word counts.
    pub fn join_mesh(&self, own: OwnWorkload) {
        let mesh = Mesh::new(own);
        self.metrics.set_mesh(mesh.clone());
        self.compiler.lock().join_mesh(mesh);
    }

    /// The calls that were seen; `None` in no mesh.
    pub fn seen_calls(&self) -> Option<SeenCalls> {
        self.metrics.mesh().map(|mesh| mesh.seen.show())
    }

    /// Sets where spans go, and of which requests, where no Telemetry says it. For ports that come with the next delta; only
    /// the first word counts.
    pub fn trace_to(&self, options: TraceOptions) {
        self.tracer.set_options(options);
    }

    /// Sets where this data plane runs, for rules by which near endpoints come first; `None`: it does not know, and all
    /// are alike.
    pub fn set_locality(&self, own: Option<ir::Locality>) {
        self.upstreams.set_locality(own);
    }

    /// Where this data plane runs, if it knows.
    pub fn locality(&self) -> Option<Arc<ir::Locality>> {
        self.upstreams.locality()
    }

    /// Waits until names have been resolved once, or the time has passed.
    pub async fn wait_resolved(&self, time: Duration) {
        self.upstreams.wait_first(tokio::time::Instant::now() + time).await;
    }

    /// The configuration as the control plane sent it.
    pub fn snapshot(&self) -> ir::Snapshot {
        self.compiler.lock().snapshot().clone()
    }

    /// Hosts that the mesh alone knows, as far as the workload beside a sidecar does; `None`: nobody has said yet.
    pub fn names(&self) -> Option<Arc<Names>> {
        self.compiler.lock().names()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.ports.connections()
    }

    /// Addresses that are bound: as planned, and as the system gave them.
    pub fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.ports.bound()
    }

    /// Addresses that are bound for protocol UDP: as planned, and as the system gave them.
    pub fn bound_udp(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.datagrams.bound()
    }

    /// Endpoints with their load and health.
    pub fn endpoints(&self) -> Vec<PoolSnapshot> {
        self.upstreams.snapshot()
    }

    /// Counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Stops accepting, lets running requests and streams end and closes what is idle. Returns how many connections and
    /// sessions were cut at the deadline.
    pub async fn drain(&self, deadline: Duration) -> usize {
        let (connections, sessions) =
            tokio::join!(self.ports.drain(deadline), self.datagrams.drain(deadline));
        self.tracer.flush(FLUSH_TIME).await;
        let log = self.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.flush_within(FLUSH_TIME)).await;
        connections + sessions
    }
}

/// One configuration for each planned port; unchanged ones are shared, so that nothing is swapped needlessly.
fn port_configs(
    ports: &BTreeMap<SocketAddr, PlannedPort>,
    before: &BTreeMap<SocketAddr, Arc<PortConfig>>,
    detection: Option<Duration>,
) -> BTreeMap<SocketAddr, Arc<PortConfig>> {
    let config = |address: &SocketAddr, port: &PlannedPort| {
        let settings = &port.gateway.settings;
        let kept = before.get(address).filter(|before| {
            before.limits == settings.limits
                && before.proxy_protocol == settings.proxy_protocol
                && before.carried == port.carried
                && before.gateway.as_ref() == Some(&port.gateway.key)
                && same_tls(before.tls.as_ref(), port.tls.as_ref())
                && same_challenges(&before.challenges, &port.challenges)
        });
        kept.cloned().unwrap_or_else(|| {
            Arc::new(PortConfig {
                limits: settings.limits.clone(),
                proxy_protocol: settings.proxy_protocol,
                tls: port.tls.clone(),
                challenges: port.challenges.clone(),
                carried: port.carried,
                gateway: Some(port.gateway.key.clone()),
                detection,
            })
        })
    };
    ports.iter().map(|(address, port)| (*address, config(address, port))).collect()
}

fn udp_configs(ports: &BTreeMap<SocketAddr, PlannedPort>) -> BTreeMap<SocketAddr, Arc<UdpPortConfig>> {
    let config = |port: &PlannedPort| UdpPortConfig { limits: port.gateway.settings.limits.clone() };
    ports.iter().map(|(address, port)| (*address, Arc::new(config(port)))).collect()
}

fn same_tls<T>(before: Option<&Arc<T>>, now: Option<&Arc<T>>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (None, None) => true,
        _ => false,
    }
}

/// Ports without challenges have tables of their own, which are all the same.
fn same_challenges(before: &Arc<Challenges>, now: &Arc<Challenges>) -> bool {
    Arc::ptr_eq(before, now) || (before.is_empty() && now.is_empty())
}

fn same(
    wanted: &BTreeMap<SocketAddr, Arc<PortConfig>>,
    planned: &BTreeMap<SocketAddr, Arc<PortConfig>>,
) -> bool {
    wanted.len() == planned.len()
        && wanted
            .iter()
            .all(|(address, config)| planned.get(address).is_some_and(|before| Arc::ptr_eq(before, config)))
}
