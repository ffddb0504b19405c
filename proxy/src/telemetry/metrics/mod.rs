//! Metrics of a data plane: handles that the request path writes, and their exposition as OpenMetrics text.
//!
//! A handle is looked up once, by the first request of a route or when a port is bound, and then held: a request costs a
//! few atomic additions, without look-up or lock. Handles of objects that are gone are retired, so that the
//! exposition is as large as the configuration, not as its history. All names stand in [`names`].

mod auth;
mod bodies;
mod by_outcome;
mod cache;
mod concurrency;
mod dry_run;
mod encode;
mod histogram;
mod jwt;
pub mod names;
mod port;
mod process;
mod route;
mod stream;

pub use auth::AuthCounts;
pub use bodies::BodyMetrics;
pub use cache::CacheResult;
pub use dry_run::DryRunCounts;
pub use port::PortMetrics;
pub use route::RouteMetrics;
pub use stream::StreamMetrics;

pub(crate) use jwt::JwtVerdict;

use super::access_log::{AccessLogCounts, AccessLogger};
use super::mesh::Mesh;
use super::stripe::StripedGauge;
use super::trace::TraceCounts;
use crate::jwks::Sources;
use crate::policy::{BufferRoom, Limiter, RateServers};
use crate::upstream::{MirrorClient, Upstreams};
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use sluice_ir::{BackendKey, Origin, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Value of the labels `gateway` and `route` for requests that ended before they had one.
pub const NONE: &str = "none";

/// What an exposition ends with.
const END: &str = "# EOF\n";

/// Gateway and route. The Gateway's name is shared by all of its routes.
type RouteLabels = (Arc<str>, Box<str>);

/// All metrics of the process.
pub struct Metrics {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    routes: Handles<RouteLabels, RouteMetrics>,
    streams: Handles<RouteLabels, StreamMetrics>,
    /// Names of Gateways that have routes.
    gateways: Mutex<BTreeSet<Arc<str>>>,
    ports: Handles<SocketAddr, PortMetrics>,
    connect_failures: Handles<String, AtomicU64>,
    authorizers: Handles<String, AuthCounts>,
    dry_runs: Handles<String, DryRunCounts>,
    upstreams: Mutex<Weak<Upstreams>>,
    in_flight: StripedGauge,
    mirrors: Mutex<Option<MirrorClient>>,
    buffers: Mutex<Weak<BufferRoom>>,
    concurrency: concurrency::Limiters,
    rate_servers: Mutex<Option<RateServers>>,
    tokens: jwt::JwtCounts,
    key_sources: Mutex<Option<Sources>>,
    panics: AtomicU64,
    bodies: BodyMetrics,
    cache: cache::CacheMetrics,
    config: Mutex<Config>,
    access_log: Mutex<Option<Arc<AccessLogCounts>>>,
    mesh: OnceLock<Arc<Mesh>>,
    spans: OnceLock<Arc<TraceCounts>>,
}

#[derive(Clone, Default)]
struct Config {
    applied: u64,
    failed: u64,
    took: Duration,
    listeners_refused: usize,
    resources: Vec<(&'static str, usize)>,
}

impl Metrics {
    /// Metrics that start at 0.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Arc::default() })
    }

    /// Everything as OpenMetrics 1.0 text. Reads `/proc`; costs about a microsecond per series.
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(encode::View(self.state.clone())));
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => {
                if let Some(mesh) = self.state.mesh.get() {
                    text.truncate(text.len() - END.len());
                    mesh.write(&mut text);
                    text.push_str(END);
                }
                text
            }
            // A String takes every write; should that change, half an exposition would be worse than none.
            Err(std::fmt::Error) => END.to_owned(),
        }
    }

    /// The handle of a route: the same for the same labels, until it is retired. `route` names the object in words
    /// of `kubectl`, `HTTPRoute shop/cart`, or is [`NONE`].
    pub fn route(&self, gateway: &str, route: &str) -> Arc<RouteMetrics> {
        self.state.routes.get_or(self.labels(gateway, route), || RouteMetrics::named(route))
    }

    /// Takes a route out of the exposition. Who still holds the handle may go on writing to it unseen.
    pub fn retire(&self, gateway: &str, route: &str) {
        self.state.routes.remove(&self.labels(gateway, route));
    }

    fn labels(&self, gateway: &str, route: &str) -> RouteLabels {
        let mut gateways = self.state.gateways.lock();
        let known = gateways.get(gateway).cloned();
        let gateway = known.unwrap_or_else(|| {
            gateways.retain(|it| Arc::strong_count(it) > 1);
            let name: Arc<str> = gateway.into();
            gateways.insert(name.clone());
            name
        });
        (gateway, route.into())
    }

    /// Retires every route for which `keep(gateway, route)` is false; routes named [`NONE`] are always kept.
    pub fn retire_routes_except(&self, keep: impl Fn(&str, &str) -> bool) {
        self.state.routes.retain(|(gateway, route), _| **route == *NONE || keep(gateway, route));
    }

    /// The handle of a stream route, named as a route is.
    pub fn stream(&self, gateway: &str, route: &str) -> Arc<StreamMetrics> {
        self.state.streams.get_or(self.labels(gateway, route), || StreamMetrics::named(route))
    }

    /// Retires every stream route for which `keep(gateway, route)` is false; those named [`NONE`] are always kept.
    pub fn retire_streams_except(&self, keep: impl Fn(&str, &str) -> bool) {
        self.state.streams.retain(|(gateway, route), _| **route == *NONE || keep(gateway, route));
    }

    /// The handle of a bound address.
    pub fn port(&self, address: SocketAddr) -> Arc<PortMetrics> {
        self.state.ports.get(address)
    }

    /// A connection of the address ended; with the last one, an address that is no longer bound leaves the exposition.
    pub fn connection_closed(&self, address: SocketAddr) {
        let port = self.port(address);
        port.closed();
        if port.is_retired() {
            self.state.ports.retain(|_, port| !port.is_over());
        }
    }

    /// Retires every address for which `bound` is false: it leaves the exposition with its last connection. One that
    /// is bound again counts on.
    pub fn retire_ports_except(&self, bound: impl Fn(SocketAddr) -> bool) {
        for (address, port) in self.state.ports.list() {
            port.set_retired(!bound(address));
        }
        self.state.ports.retain(|_, port| !port.is_over());
    }

    /// A connection to an endpoint of a backend, named by its key `Service/shop/cart:8080`, could not be opened.
    /// Costs a look-up: for a try that failed anyway.
    pub fn connect_failed(&self, backend: &str) {
        self.state.connect_failures.get(backend.to_owned()).fetch_add(1, Relaxed);
    }

    /// The handle of an authoriser, named by the key of its backend; [`NONE`] for those that have none.
    pub fn authorizer(&self, backend: &str) -> Arc<AuthCounts> {
        self.state.authorizers.get(backend.to_owned())
    }

    /// The handle of the AuthorizationPolicies of a Gateway that are in a dry run.
    pub fn dry_run(&self, gateway: &str) -> Arc<DryRunCounts> {
        self.state.dry_runs.get(gateway.to_owned())
    }

    /// Retires what was counted for every Gateway for which `keep` is false.
    pub fn retire_dry_runs_except(&self, keep: impl Fn(&str) -> bool) {
        self.state.dry_runs.retain(|gateway, _| keep(gateway));
    }

    /// Retires every backend for which `keep` is false.
    pub fn retire_backends_except(&self, keep: impl Fn(&str) -> bool) {
        self.state.connect_failures.retain(|backend, _| keep(backend));
        self.state.authorizers.retain(|backend, _| backend == NONE || keep(backend));
    }

    /// Shows the endpoints of these upstreams from now on, as long as they live. Costs requests nothing: a scrape
    /// reads what the pools know.
    pub fn set_upstreams(&self, upstreams: &Arc<Upstreams>) {
        *self.state.upstreams.lock() = Arc::downgrade(upstreams);
    }

    /// A request begins to be served. Each needs one [`Metrics::request_ended`], on whatever thread.
    pub fn request_started(&self) {
        self.state.in_flight.add(1);
    }

    /// A request ended, however.
    pub fn request_ended(&self) {
        self.state.in_flight.add(-1);
    }

    /// Shows how the copies of this client ended, from now on.
    pub fn set_mirrors(&self, mirrors: &MirrorClient) {
        *self.state.mirrors.lock() = Some(mirrors.clone());
    }

    /// Shows these servers of global rate limits, and what became of requests that they were asked about, from now on.
    pub(crate) fn set_rate_servers(&self, servers: &RateServers) {
        *self.state.rate_servers.lock() = Some(servers.clone());
    }

    /// Shows what these fetch, from now on.
    pub(crate) fn set_key_sources(&self, sources: &Sources) {
        *self.state.key_sources.lock() = Some(sources.clone());
    }

    /// What came of a request's tokens.
    pub(crate) fn token_judged(&self, verdict: JwtVerdict) {
        self.state.tokens.count(verdict);
    }

    /// A request that a cache was asked for ended so.
    pub fn cached(&self, result: CacheResult) {
        self.state.cache.count(result);
    }

    /// Bodies that change their coding.
    pub fn bodies(&self) -> &BodyMetrics {
        &self.state.bodies
    }

    /// Shows what requests take of this room, from now on.
    pub fn set_buffers(&self, room: &Arc<BufferRoom>) {
        *self.state.buffers.lock() = Arc::downgrade(room);
    }

    /// Shows this limit of a policy for a backend, as long as it lives.
    pub fn watch_concurrency(&self, policy: &Origin, backend: &BackendKey, limiter: &Arc<Limiter>) {
        self.state.concurrency.watch(policy, backend, limiter);
    }

    /// A fault of ours ended a request or connection.
    pub fn panicked(&self) {
        self.state.panics.fetch_add(1, Relaxed);
    }

    /// A configuration is served from now on but for `listeners_refused` of its listeners; `took` counts from its
    /// receipt.
    pub fn config_applied(&self, snapshot: &Snapshot, took: Duration, listeners_refused: usize) {
        let mut config = self.state.config.lock();
        config.applied += 1;
        config.listeners_refused = listeners_refused;
        config.took = took;
        config.resources = vec![
            ("Gateway", snapshot.gateways.len()),
            ("Listener", snapshot.listeners.len()),
            ("Route", snapshot.routes.len()),
            ("StreamRoute", snapshot.stream_routes.len()),
            ("Backend", snapshot.backends.len()),
            ("EndpointSet", snapshot.endpoint_sets.len()),
            ("Certificate", snapshot.certificates.len()),
        ];
    }

    /// A configuration could not be served; the last good one stays.
    pub fn config_failed(&self) {
        self.state.config.lock().failed += 1;
    }

    /// Shows what became of spans, from now on. Only the first word counts.
    pub fn set_spans(&self, counts: Arc<TraceCounts>) {
        let _ = self.state.spans.set(counts);
    }

    /// This data plane's part in a mesh, where it has one.
    pub fn mesh(&self) -> Option<&Arc<Mesh>> {
        self.state.mesh.get()
    }

    /// Shows what this part in a mesh counts, from now on. Only the first word counts.
    pub fn set_mesh(&self, mesh: Arc<Mesh>) {
        let _ = self.state.mesh.set(mesh);
    }

    /// Shows the counts of this access log from now on.
    pub fn set_access_log(&self, log: &AccessLogger) {
        *self.state.access_log.lock() = Some(log.counts());
    }
}

/// Handles by label, created on demand. Locked when a configuration changes, at a scrape, and by the
/// first request of a route.
struct Handles<K, H>(RwLock<BTreeMap<K, Arc<H>>>);

impl<K, H> Default for Handles<K, H> {
    fn default() -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone, H: Default> Handles<K, H> {
    fn get(&self, key: K) -> Arc<H> {
        self.get_or(key, H::default)
    }

    fn get_or(&self, key: K, make: impl FnOnce() -> H) -> Arc<H> {
        if let Some(handle) = self.0.read().get(&key) {
            return handle.clone();
        }
        self.0.write().entry(key).or_insert_with(|| Arc::new(make())).clone()
    }

    fn remove(&self, key: &K) {
        self.0.write().remove(key);
    }

    fn retain(&self, keep: impl Fn(&K, &H) -> bool) {
        self.0.write().retain(|key, handle| keep(key, handle));
    }

    fn list(&self) -> Vec<(K, Arc<H>)> {
        self.0.read().iter().map(|(key, handle)| (key.clone(), handle.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
