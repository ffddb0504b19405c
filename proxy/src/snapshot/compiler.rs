//! Turns deltas into runtimes. Cost follows the size of the change: an edited route is compiled once and put into the
//! tables of its listeners; a moved endpoint touches its pool and nothing else.

use super::authenticators::Authenticators;
use super::authorizations::Authorizations;
use super::checks;
use super::levels::Levels;
use super::mesh::MeshRuntime;
use super::ports::{BindPlan, PlannedPort, Ports};
use super::rule::{self, Backends};
use super::runtime::{BackendRuntime, ListenerRuntime, Port, RouteRuntime, Runtime};
use super::streams::StreamTables;
use super::telemetry::{PortTelemetry, Sources};
use super::tls::BackendTls;
use super::touched::{Touched, names, names_any, removed_and_changed_routes};
use crate::acme::{self, ByGateway};
use crate::hosts::HostTable;
use crate::jwks::Sources as KeySources;
use crate::listen::Carried;
use crate::mesh::{MeshPeers, Own, Synthesizer};
use crate::policy::{Kept, RateServers};
use crate::telemetry::Metrics;
use crate::telemetry::mesh::Mesh;
use crate::telemetry::metrics::NONE;
use crate::telemetry::trace::Tracer;
use crate::tls::Certificates;
use crate::upstream::{Affinity, EndpointPool, Upstreams};
use ahash::{AHashMap, AHashSet};
use parking_lot::Mutex;
use sluice_ir::{self as ir, ResourceKey};
use sluice_route::{RouteEntry, RouteTable};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The result of a delta.
pub struct Compiled {
    /// What requests read from now on.
    pub runtime: Arc<Runtime>,
    /// What must be bound.
    pub ports: BTreeMap<SocketAddr, PlannedPort>,
    /// What must be bound for protocol UDP.
    pub datagrams: BTreeMap<SocketAddr, PlannedPort>,
    /// Listeners that can't be served, and why.
    pub failures: Vec<(ir::ListenerKey, String)>,
}

/// Owns the current configuration in both forms.
pub struct Compiler {
    plan: BindPlan,
    snapshot: ir::Snapshot,
    upstreams: Arc<Upstreams>,
    metrics: Arc<Metrics>,
    telemetry: Sources,
    backends: AHashMap<ir::BackendKey, Arc<BackendRuntime>>,
    listeners: BTreeMap<ir::ListenerKey, Arc<ListenerRuntime>>,
    streams: StreamTables,
    ports: Ports,
    challenges: ByGateway,
    policies: Mutex<Kept>,
    authorizations: Authorizations,
    authenticators: Authenticators,
    /// Whether it was told that the place of this data plane is not known.
    said_lost: AtomicBool,
    /// Who this data plane is in the mesh.
    own: Arc<Own>,
    /// What a sidecar adds to deltas.
    synthesizer: Option<Synthesizer>,
    runtime: Arc<Runtime>,
    hasher: RandomState,
}

impl Backends for AHashMap<ir::BackendKey, Arc<BackendRuntime>> {
    fn backend(&self, key: &ir::BackendKey) -> Option<Arc<BackendRuntime>> {
        self.get(key).cloned()
    }
}

/// Routes that were compiled for a delta.
type Fresh = AHashMap<ir::RouteKey, Arc<RouteRuntime>>;

impl Compiler {
    /// An empty configuration.
    pub fn new(plan: BindPlan, upstreams: Arc<Upstreams>, metrics: Arc<Metrics>) -> Self {
        let rate_servers = RateServers::new(upstreams.resolver().clone());
        metrics.set_rate_servers(&rate_servers);
        let key_sources = KeySources::new(upstreams.resolver().clone());
        metrics.set_key_sources(&key_sources);
        Self {
            plan,
            snapshot: ir::Snapshot::default(),
            upstreams,
            metrics,
            telemetry: Sources::default(),
            backends: AHashMap::new(),
            listeners: BTreeMap::new(),
            streams: StreamTables::default(),
            ports: Ports::default(),
            challenges: ByGateway::new(),
            policies: Mutex::new(Kept::new(rate_servers)),
            authorizations: Authorizations::default(),
            authenticators: Authenticators::new(key_sources),
            said_lost: AtomicBool::new(false),
            own: Own::nobody(),
            synthesizer: None,
            runtime: Arc::default(),
            hasher: RandomState::new(),
        }
    }

    /// Makes the data plane part of a mesh. Ports that are compiled from now on tell of it.
    pub fn join_mesh(&mut self, mesh: Arc<Mesh>) {
        self.telemetry.mesh = Some(mesh);
    }

    /// Has spans made by this from now on.
    pub fn trace_by(&mut self, tracer: Arc<Tracer>) {
        self.telemetry.tracer = tracer;
    }

    /// Speaks the mesh's TLS to backends as this one; a sidecar also adds what it serves besides what it is sent.
    #[must_use]
    pub(crate) fn in_mesh(mut self, own: Arc<Own>, synthesizer: Option<Synthesizer>) -> Self {
        self.own = own;
        self.synthesizer = synthesizer;
        self
    }

    /// The labels of a sidecar's pod are these now; the next delta makes them count.
    pub(crate) fn set_labels(&mut self, labels: BTreeMap<String, String>) {
        if let Some(synthesizer) = &mut self.synthesizer {
            synthesizer.set_labels(labels);
        }
    }

    /// The configuration as the control plane sent it.
    pub fn snapshot(&self) -> &ir::Snapshot {
        &self.snapshot
    }

    /// Applies a delta and compiles what it touches.
    pub fn apply(&mut self, delta: &ir::Delta) -> Compiled {
        match &mut self.synthesizer {
            None => self.apply_all(delta),
            Some(synthesizer) => {
                let extended = synthesizer.extend(delta);
                let domains = synthesizer.workloads().map(|it| it.trust_domains.as_slice());
                self.own.set_domains(domains.unwrap_or_default());
                self.apply_all(&extended)
            }
        }
    }

    fn apply_all(&mut self, delta: &ir::Delta) -> Compiled {
        let before: Vec<_> = removed_and_changed_routes(delta)
            .filter_map(|key| self.snapshot.routes.get(key).cloned().map(|route| (key.clone(), route)))
            .collect();
        self.snapshot.apply(delta);
        let mut touched = Touched::by(delta);
        if touched.endpoints {
            self.upstreams.apply(&self.snapshot.endpoint_sets);
        }
        self.compile_backends(&mut touched);
        self.spread_policies(&mut touched);
        let mut fresh = self.compile_routes(&touched.routes);
        let changed = self.update_tables(&touched, &before, &mut fresh);
        let carried = touched.ports() || !touched.streams.is_empty();
        if carried {
            self.streams.update(&self.snapshot, &touched.streams, &self.backends);
        }
        if touched.gateways {
            let limit = self.pending_requests();
            self.backends.values().for_each(|backend| backend.permits.set_limit(limit));
        }
        let replanned = self.update_ports(&touched);
        if replanned || touched.challenges {
            self.place_challenges();
        }
        let asked = self.authorizations.asks(&touched.backends);
        if replanned || changed || carried || asked || touched.challenges || touched.workloads {
            self.authorizations.update(&self.snapshot.gateways, &self.backends);
            self.assemble();
        }
        if touched.gateways || touched.workloads {
            self.telemetry.override_metrics(&self.snapshot);
        }
        self.retire(delta);
        Compiled {
            runtime: self.runtime.clone(),
            ports: self.ports.planned.clone(),
            datagrams: self.ports.datagrams.clone(),
            failures: self.ports.failures.clone(),
        }
    }

    /// Whether what stands behind the ports may be something else now. New certificates alone change nothing there.
    fn update_ports(&mut self, touched: &Touched) -> bool {
        let certificates = Certificates { all: &self.snapshot.certificates, changed: &touched.certificates };
        if !touched.ports() && self.ports.recertify(certificates) {
            return false;
        }
        self.ports.plan(self.plan, &self.snapshot, certificates);
        true
    }

    /// Gives each port the challenges of its Gateway.
    fn place_challenges(&mut self) {
        self.challenges = acme::tables(&self.snapshot, &self.challenges);
        for port in self.ports.planned.values_mut() {
            match self.challenges.get(&port.gateway.key) {
                Some(challenges) => port.challenges = challenges.clone(),
                None if !port.challenges.is_empty() => port.challenges = Arc::default(),
                None => {}
            }
        }
    }

    /// Takes what is gone out of the metrics, and what moved to another Gateway out of its old place.
    fn retire(&self, delta: &ir::Delta) {
        let any = |kind: fn(&ResourceKey) -> bool| delta.removals.iter().any(kind);
        if any(|key| matches!(key, ResourceKey::Route(_) | ResourceKey::Gateway(_))) {
            self.metrics.retire_routes_except(|gateway, route| self.serves(gateway, route));
        }
        if any(|key| matches!(key, ResourceKey::StreamRoute(_) | ResourceKey::Gateway(_))) {
            self.metrics.retire_streams_except(|gateway, route| self.streams.serves(gateway, route));
        }
        if any(|key| matches!(key, ResourceKey::Gateway(_))) {
            let keys: AHashSet<_> = self.snapshot.gateways.keys().map(ir::GatewayKey::as_str).collect();
            self.metrics.retire_dry_runs_except(|gateway| keys.contains(gateway));
        }
        if any(|key| matches!(key, ResourceKey::Backend(_))) {
            self.upstreams.retain_circuits(|key| self.backends.contains_key(key));
            let keys: AHashSet<_> = self.backends.keys().map(ir::BackendKey::as_str).collect();
            self.metrics.retire_backends_except(|backend| keys.contains(backend));
        }
    }

    /// Whether a Gateway serves a route, by the names that metrics have: `NAMESPACE/NAME`, `HTTPRoute shop/cart`.
    fn serves(&self, gateway: &str, route: &str) -> bool {
        let key = ir::RouteKey::new(route.replacen(' ', "/", 1));
        let served = |it: &Arc<ir::Route>| self.gateway_of(it).as_str() == gateway;
        // A ServiceEntry makes a route of each of its destinations, all with its name.
        let of_entry = || {
            let mut all = self.snapshot.routes.values();
            route.starts_with("ServiceEntry ")
                && all.any(|it| {
                    it.origin.kind == "ServiceEntry" && served(it) && it.origin.to_string() == route
                })
        };
        self.snapshot.routes.get(&key).is_some_and(served) || of_entry()
    }

    fn levels(&self) -> Levels<'_> {
        Levels { snapshot: &self.snapshot, kept: &self.policies, backends: &self.backends }
    }

    /// Marks the listeners whose policies changed, or the backends of those, and the routes that lay policies of their
    /// own over them.
    fn spread_policies(&self, touched: &mut Touched) {
        let levels = self.levels();
        let is_changed = |listener: &ir::Listener| match self.listeners.get(&listener.key) {
            None => true,
            Some(known) => {
                levels.of_listener(listener).as_ref() != known.policy.as_ref().map(|it| &it.settings)
            }
        };
        let listeners = &self.snapshot.listeners;
        let mut changed: AHashSet<ir::ListenerKey> = if touched.gateways {
            listeners.values().filter(|it| is_changed(it)).map(|it| it.key.clone()).collect()
        } else {
            let named = touched.listeners.iter().filter_map(|key| listeners.get(key));
            named.filter(|it| is_changed(it)).map(|it| it.key.clone()).collect()
        };
        if !touched.backends.is_empty() {
            let calls = |listener: &&Arc<ir::Listener>| {
                levels
                    .above(listener)
                    .flat_map(ir::TrafficSettings::targets)
                    .any(|it| names(it, &touched.backends))
            };
            changed.extend(listeners.values().filter(calls).map(|it| it.key.clone()));
        }
        if changed.is_empty() {
            return;
        }
        for (key, route) in &self.snapshot.routes {
            if route.traffic.is_some() && route.attachments.iter().any(|it| changed.contains(&it.listener)) {
                touched.routes.insert(key.clone());
            }
        }
        touched.listeners.extend(changed);
    }

    /// Rebuilds the backends that changed and marks the routes that name them.
    fn compile_backends(&mut self, touched: &mut Touched) {
        let shown = |gateway: &Arc<ir::Gateway>| {
            gateway.backend_certificate.as_ref().is_some_and(|key| touched.certificates.contains(key))
        };
        if touched.gateways || self.snapshot.gateways.values().any(shown) {
            // Gateways may show their backends other certificates now.
            let outdated = self.backends.iter().filter(|(_, backend)| {
                backend.tls.as_ref().is_some_and(|tls| !tls.is_current(&self.snapshot))
            });
            touched.backends.extend(outdated.map(|(key, _)| key.clone()));
        }
        if touched.backends.is_empty() {
            return;
        }
        let mut asked = AHashSet::new();
        for key in &touched.backends {
            let versions = [self.backends.get(key).map(|it| &it.backend), self.snapshot.backends.get(key)];
            asked.extend(checks::sets(versions));
            match self.snapshot.backends.get(key).and_then(|backend| self.backend(backend)) {
                Some(runtime) => drop(self.backends.insert(key.clone(), runtime)),
                None => {
                    self.backends.remove(key);
                }
            }
        }
        checks::place(&asked, &self.backends, &self.snapshot, &self.upstreams);
        for (key, route) in &self.snapshot.routes {
            if !touched.routes.contains(key) && names_any(route, &touched.backends) {
                touched.routes.insert(key.clone());
            }
        }
        for (key, route) in &self.snapshot.stream_routes {
            if route.backends.iter().any(|it| names(&it.target, &touched.backends)) {
                touched.streams.insert(key.clone());
            }
        }
    }

    fn backend(&self, backend: &Arc<ir::Backend>) -> Option<Arc<BackendRuntime>> {
        let pool = self.upstreams.pool(&backend.endpoints)?;
        let policy = backend.policy.as_deref();
        let affinity = policy.and_then(|it| it.affinity.as_ref());
        let locality = policy.and_then(|it| it.locality.as_ref());
        pool.arrange(affinity.map(|it| &it.table), locality);
        if locality.is_some() {
            self.say_if_lost(backend, &pool);
        }
        let before = self.backends.get(&backend.key).map(Arc::as_ref);
        let terms = policy.map(|it| &it.connections);
        let counts = terms.is_some_and(|it| it.requests.is_some());
        let mut runtime = BackendRuntime {
            pool,
            permits: self.upstreams.permits(&backend.key, self.pending_requests()),
            group: self.hasher.hash_one(backend.key.as_str()),
            tls: BackendTls::compile(backend, &self.snapshot, before),
            mesh: MeshPeers::of(&self.own, backend, before.and_then(|it| it.mesh.as_ref())),
            circuit: self.upstreams.circuit(backend),
            affinity: affinity.and_then(|it| Affinity::new(&it.key)).map(Box::new),
            backend: backend.clone(),
            uses: counts.then(|| before.and_then(|it| it.uses.clone()).unwrap_or_default()),
            service: OnceLock::new(),
            cluster: OnceLock::new(),
            twin: None,
        };
        if terms.is_some_and(|it| it.speaks_as_client) {
            runtime.twin = self.twin(&runtime, before.and_then(|it| it.twin.as_deref()));
        }
        Some(Arc::new(runtime))
    }

    /// The backend in the other version of HTTP: all is shared but the connections.
    fn twin(&self, of: &BackendRuntime, before: Option<&BackendRuntime>) -> Option<Arc<BackendRuntime>> {
        let protocol = match of.backend.protocol {
            ir::BackendProtocol::Http1 => ir::BackendProtocol::H2c,
            ir::BackendProtocol::H2c => ir::BackendProtocol::Http1,
            ir::BackendProtocol::Tcp | ir::BackendProtocol::Udp => return None,
        };
        let backend = ir::Backend { protocol, ..ir::Backend::clone(&of.backend) };
        Some(Arc::new(BackendRuntime {
            pool: of.pool.clone(),
            permits: of.permits.clone(),
            group: of.group,
            tls: BackendTls::compile(&backend, &self.snapshot, before),
            mesh: MeshPeers::of(&self.own, &backend, before.and_then(|it| it.mesh.as_ref())),
            circuit: of.circuit.clone(),
            affinity: None,
            backend: Arc::new(backend),
            uses: of.uses.clone(),
            service: OnceLock::new(),
            cluster: OnceLock::new(),
            twin: None,
        }))
    }

    /// Tells once that rules go by places and that nobody has said where this data plane runs.
    fn say_if_lost(&self, backend: &ir::Backend, pool: &EndpointPool) {
        let is_lost = self.upstreams.locality().is_none() && pool.knows_places();
        if is_lost && !self.said_lost.swap(true, Relaxed) {
            tracing::info!(
                backend = %backend.key,
                "near endpoints come first by a rule, but where this data plane runs is not known: all are alike; see --locality"
            );
        }
    }

    /// The bound on a backend's pending requests: the largest of the Gateways', since they share it.
    fn pending_requests(&self) -> u32 {
        let limits = self.snapshot.gateways.values().map(|gateway| gateway.settings.limits.pending_requests);
        limits.max().unwrap_or_else(|| ir::Limits::default().pending_requests)
    }

    fn compile_routes(&self, keys: &BTreeSet<ir::RouteKey>) -> Fresh {
        let routes = keys.iter().filter_map(|key| self.snapshot.routes.get(key));
        routes.map(|route| (route.key.clone(), self.compile_route(route))).collect()
    }

    fn compile_route(&self, route: &Arc<ir::Route>) -> Arc<RouteRuntime> {
        Arc::new(rule::compile(route, self.gateway_of(route), &self.backends, &self.levels()))
    }

    /// The Gateway that serves a route; the first where there are several.
    fn gateway_of(&self, route: &ir::Route) -> ir::GatewayKey {
        let mut listeners =
            route.attachments.iter().filter_map(|it| self.snapshot.listeners.get(&it.listener));
        listeners.next().map_or_else(|| ir::GatewayKey::new(""), |listener| listener.gateway.clone())
    }

    /// The compiled form of a route: the one of this delta, else that of the tables.
    fn compiled(&self, route: &Arc<ir::Route>, fresh: &mut Fresh) -> Arc<RouteRuntime> {
        if let Some(compiled) = fresh.get(&route.key) {
            return compiled.clone();
        }
        let mut tables = route.attachments.iter().filter_map(|it| self.listeners.get(&it.listener));
        let known = tables.find_map(|listener| listener.table.route(&route.key).cloned());
        let compiled = known.unwrap_or_else(|| self.compile_route(route));
        fresh.insert(route.key.clone(), compiled.clone());
        compiled
    }

    /// Puts changed routes into the tables of the listeners they are or were attached to, and builds the tables of
    /// new listeners. Whether any listener or table is another one now.
    fn update_tables(
        &mut self,
        touched: &Touched,
        before: &[(ir::RouteKey, Arc<ir::Route>)],
        fresh: &mut Fresh,
    ) -> bool {
        let keys = &touched.routes;
        let (there, gone): (Vec<_>, Vec<_>) =
            touched.listeners.iter().partition(|key| self.snapshot.listeners.contains_key(*key));
        for key in gone {
            self.listeners.remove(key);
        }
        let new: AHashSet<_> = there.into_iter().filter(|key| !self.listeners.contains_key(*key)).collect();
        let mut edits: BTreeMap<&ir::ListenerKey, Edits> = BTreeMap::new();
        for (key, route) in before {
            for attachment in &route.attachments {
                edits.entry(&attachment.listener).or_default().removals.push(key.clone());
            }
        }
        let routes: Vec<_> = if new.is_empty() {
            keys.iter().filter_map(|key| self.snapshot.routes.get(key)).collect()
        } else {
            self.snapshot.routes.values().collect()
        };
        for route in routes {
            let changed = keys.contains(&route.key);
            for attachment in &route.attachments {
                if changed || new.contains(&attachment.listener) {
                    let route = self.compiled(route, fresh);
                    let entry = RouteEntry { route, hostnames: attachment.hostnames.clone() };
                    edits.entry(&attachment.listener).or_default().upserts.push(entry);
                }
            }
        }
        let mut tables = Vec::with_capacity(edits.len());
        for (key, mut edit) in edits {
            let kept: AHashSet<_> = edit.upserts.iter().map(|entry| &entry.route.route.key).collect();
            edit.removals.retain(|removed| !kept.contains(removed));
            let table = match self.listeners.get(key) {
                Some(listener) => listener.table.with(edit.upserts, &edit.removals),
                None => RouteTable::build(edit.upserts),
            };
            tables.push((key.clone(), table));
        }
        self.store_tables(tables, &touched.listeners)
    }

    fn store_tables(
        &mut self,
        tables: Vec<(ir::ListenerKey, RouteTable<RouteRuntime>)>,
        listeners: &BTreeSet<ir::ListenerKey>,
    ) -> bool {
        let changed = !(tables.is_empty() && listeners.is_empty());
        let mut tables: BTreeMap<_, _> = tables.into_iter().map(|(key, table)| (key, Some(table))).collect();
        for key in listeners {
            tables.entry(key.clone()).or_insert(None);
        }
        for (key, table) in tables {
            // A route may name a listener that is not here yet.
            let Some(listener) = self.snapshot.listeners.get(&key) else { continue };
            let current = self.listeners.get(&key);
            let table = table.or_else(|| current.map(|current| current.table.clone())).unwrap_or_default();
            let policy = self.levels().listener(listener);
            let runtime = ListenerRuntime { listener: listener.clone(), table, policy };
            self.listeners.insert(key, Arc::new(runtime));
        }
        changed
    }

    /// Puts the current listeners behind the planned ports.
    fn assemble(&mut self) {
        let mut runtime = Runtime::default();
        for (address, planned) in &self.ports.planned {
            if planned.carried != Carried::Requests {
                let telemetry = self.telemetry(&planned.gateway);
                let beside = (self.authorizations.watch(&planned.gateway.key), telemetry);
                let port = self.streams.port(planned.gateway.clone(), &planned.listeners, beside);
                runtime.streams.insert(*address, Arc::new(port));
            }
            if let Some(port) = self.port(planned, self.runtime.ports.get(address)) {
                runtime.ports.insert(*address, Arc::new(port));
            }
        }
        if let Some(synthesizer) = &self.synthesizer {
            let mut mesh = MeshRuntime::default();
            for (address, planned) in &self.ports.shared {
                for planned in planned {
                    let telemetry = self.telemetry(&planned.gateway);
                    let beside = (self.authorizations.watch(&planned.gateway.key), telemetry);
                    let streams = self.streams.port(planned.gateway.clone(), &planned.listeners, beside);
                    mesh.share(*address, self.port(planned, None), streams);
                }
            }
            mesh.set_terms(synthesizer);
            runtime.mesh = Some(Arc::new(mesh));
        }
        for (address, planned) in &self.ports.datagrams {
            let port = self.streams.port(planned.gateway.clone(), &planned.listeners, (None, None));
            runtime.datagrams.insert(*address, Arc::new(port));
        }
        let gateways = &self.snapshot.gateways;
        self.authenticators.retain(|key| gateways.contains_key(key));
        self.runtime = Arc::new(runtime);
    }

    fn telemetry(&self, gateway: &ir::Gateway) -> Option<Arc<PortTelemetry>> {
        self.telemetry.port(gateway, &self.snapshot)
    }

    /// What requests of a planned port read; `None`: none of its listeners brings any.
    fn port(&self, planned: &PlannedPort, before: Option<&Arc<Port>>) -> Option<Port> {
        let all = planned.listeners.iter().filter_map(|key| self.listeners.get(key)).cloned();
        let (listeners, whole): (Vec<_>, Vec<_>) = all.partition(|it| brings_requests(&it.listener));
        let first = listeners.first()?;
        let hosts = match before {
            Some(before) if whole.is_empty() && same_hosts(&before.listeners, &listeners) => {
                before.hosts.clone()
            }
            _ => Arc::new(hosts(&listeners, &whole)),
        };
        Some(Port {
            gateway: planned.gateway.clone(),
            port: first.listener.port,
            port_field: first.listener.port.into(),
            tls: planned.tls.is_some(),
            authorization: self.authorizations.of(&planned.gateway.key),
            challenges: planned.challenges.clone(),
            hosts,
            listeners,
            telemetry: self.telemetry(&planned.gateway),
            authentication: self.authenticators.of(&planned.gateway),
            metrics: self.metrics.route(planned.gateway.key.as_str(), NONE),
        })
    }
}

#[derive(Default)]
struct Edits {
    upserts: Vec<RouteEntry<RouteRuntime>>,
    removals: Vec<ir::RouteKey>,
}

fn brings_requests(listener: &ir::Listener) -> bool {
    use ir::ListenerProtocol as P;
    matches!(listener.protocol, P::Http | P::Https(_) | P::ForwardProxy | P::Detect)
}

/// Positions of `listeners`. The hosts of those whose connections are carried `whole` are theirs alone: nobody answers
/// for them here.
fn hosts(listeners: &[Arc<ListenerRuntime>], whole: &[Arc<ListenerRuntime>]) -> HostTable<usize> {
    let mut table = HostTable::default();
    for listener in whole {
        table.insert(&listener.listener.hostname, usize::MAX);
    }
    for (position, listener) in listeners.iter().enumerate() {
        table.insert(&listener.listener.hostname, position);
    }
    table
}

fn same_hosts(before: &[Arc<ListenerRuntime>], now: &[Arc<ListenerRuntime>]) -> bool {
    // A table with hosts that are carried whole is made anew: it has more than these.
    before.len() == now.len()
        && before.iter().zip(now).all(|(before, now)| before.listener.hostname == now.listener.hostname)
}
