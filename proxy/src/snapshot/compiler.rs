//! Turns deltas into runtimes. Cost follows the size of the change: an edited route is compiled once and put into the
//! tables of its listeners; a moved endpoint touches its pool and nothing else.

mod assembly;
mod backends;
mod tables;

use super::authenticators::Authenticators;
use super::authorizations::Authorizations;
use super::levels::Levels;
use super::mesh::same_terms;
use super::ports::{BindPlan, PlannedPort, Ports};
use super::rule::Backends;
use super::runtime::{BackendRuntime, ListenerRuntime, Runtime};
use super::streams::StreamTables;
use super::telemetry::Sources;
use super::touched::{Touched, names, removed_and_changed_routes};
use crate::acme::{self, ByGateway};
use crate::jwks::Sources as KeySources;
use crate::mesh::{Names, Own, Synthesizer};
use crate::policy::{Kept, RateServers};
use crate::telemetry::Metrics;
use crate::telemetry::mesh::Mesh;
use crate::telemetry::trace::Tracer;
use crate::tls::Certificates;
use crate::upstream::Upstreams;
use ahash::{AHashMap, AHashSet};
use parking_lot::Mutex;
use sluice_ir::{self as ir, ResourceKey};
use std::collections::BTreeMap;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
    /// Whether it may forbid what was allowed before.
    pub may_forbid: bool,
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

    /// The names that a sidecar's workload knows; `None` before the control plane has said anything.
    pub(crate) fn names(&self) -> Option<Arc<Names>> {
        self.synthesizer.as_ref()?.names().cloned()
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
        let mut may_forbid = false;
        let asked = self.authorizations.asks(&touched.backends);
        if replanned || changed || carried || asked || touched.challenges || touched.workloads {
            may_forbid = self.authorizations.update(&self.snapshot.gateways, &self.backends);
            let before = self.runtime.mesh.clone();
            self.assemble();
            may_forbid |= !same_terms(before.as_deref(), self.runtime.mesh.as_deref());
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
            may_forbid,
        }
    }

    /// Whether what stands behind the ports may be something else now. New certificates alone change nothing there.
    fn update_ports(&mut self, touched: &Touched) -> bool {
        let certificates = Certificates { all: &self.snapshot.certificates, changed: &touched.certificates };
        // A Sidecar may name other destinations now.
        let is_narrowed = touched.workloads && self.synthesizer.is_some();
        if !touched.ports() && !is_narrowed && self.ports.recertify(certificates) {
            return false;
        }
        let synthesizer = self.synthesizer.as_ref();
        let knows = |listener: &ir::Listener| synthesizer.is_none_or(|it| it.knows(listener));
        self.ports.plan(self.plan, &self.snapshot, certificates, &knows);
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
}
