//! Stream routes in compiled form: for each port its listeners by server name, for each listener its routes.

use super::authorizations::Policies;
use super::runtime::BackendRuntime;
use super::telemetry::PortTelemetry;
use crate::hosts::HostTable;
use crate::http::is_disguised_address;
use crate::listen::{ConnInfo, Destination};
use crate::policy::{AuthorizationRuntime, Facts, Judged, Peer};
use crate::telemetry::{Metrics, Outcome, StreamMetrics};
use crate::upstream::Weights;
use ahash::AHashMap;
use sluice_ir as ir;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// One bound address whose connections, or some of them, are carried whole.
pub struct StreamPort {
    /// The only Gateway that has this address and port.
    pub gateway: Arc<ir::Gateway>,
    /// What is told of its connections besides metrics by route; `None`: nothing.
    pub telemetry: Option<Arc<PortTelemetry>>,
    /// Who may do what, now and later; `None`: nobody will say.
    authorization: Option<watch::Receiver<Policies>>,
    /// Every listener of the port, those of requests too: the most specific takes a name away from the others.
    listeners: Vec<Arc<StreamListener>>,
    /// Positions of `listeners` by host.
    hosts: HostTable<usize>,
}

impl StreamPort {
    /// The listener that answers for a server name; without one, that for every name.
    pub fn listener(&self, server_name: Option<&str>) -> Option<&Arc<StreamListener>> {
        self.listeners.get(*self.hosts.find(server_name)?)
    }

    /// What AuthorizationPolicies say of a connection to `listener` that is carried whole; `server_name` is the one of its
    /// ClientHello. `None`: there are none.
    pub(crate) fn judge(
        &self,
        info: &ConnInfo,
        server_name: Option<&str>,
        listener: &StreamListener,
    ) -> Option<(Arc<AuthorizationRuntime>, Judged)> {
        let authorization = self.authorization.as_ref()?.borrow().clone()?;
        let judged = authorization.check(&facts(info, server_name, listener));
        Some((authorization, judged))
    }

    /// Ready when policies have changed so that they forbid such a connection: with what they say. Cancel safe.
    pub(crate) async fn forbidden(
        &self,
        info: &ConnInfo,
        server_name: Option<&str>,
        listener: &StreamListener,
    ) -> Judged {
        let Some(mut changes) = self.authorization.clone() else { return std::future::pending().await };
        while changes.changed().await.is_ok() {
            let policies = changes.borrow_and_update().clone();
            let judged = policies.map(|it| it.check(&facts(info, server_name, listener)));
            if let Some(judged) = judged.filter(|it| !it.verdict.is_allowed()) {
                return judged;
            }
        }
        // The Gateway is gone; others say what becomes of its streams.
        std::future::pending().await
    }

    /// Form of the access log.
    pub fn access_log(&self) -> ir::AccessLog {
        let told = self.telemetry.as_ref().and_then(|it| it.access_log);
        told.unwrap_or(self.gateway.settings.access_log)
    }

    /// Every listener of the port, in key order.
    pub fn listeners(&self) -> &[Arc<StreamListener>] {
        &self.listeners
    }
}

fn facts<'a>(info: &'a ConnInfo, server_name: Option<&'a str>, listener: &StreamListener) -> Facts<'a> {
    Facts {
        peer: info.peer_identity().map(Peer::of),
        source: info.direct_peer.ip(),
        remote: info.peer.ip(),
        destination: info.destination().ip(),
        // Of a workload it is the workload's port.
        port: info.captured.map_or(listener.listener.port, |it| it.original.port()),
        server_name: server_name.or_else(|| info.tls.as_ref()?.server_name.as_deref()),
        request: None,
    }
}

/// A listener and its stream routes.
pub struct StreamListener {
    /// The IR.
    pub listener: Arc<ir::Listener>,
    routes: HostTable<Arc<StreamRuntime>>,
}

impl StreamListener {
    /// The route for a server name: the most specific hostname, then the oldest.
    pub fn route(&self, server_name: Option<&str>) -> Option<&Arc<StreamRuntime>> {
        self.routes.find(server_name)
    }
}

/// Why a tunnel is refused.
const NO_ADDRESS: &str = "no ServiceEntry lets the address be reached";
const DISGUISED: &str = "the destination is neither a name nor an address as it is written";
const NO_ENTRY: &str = "no ServiceEntry lets the destination be reached";
const ONLY_REQUESTS: &str = "routes shape the requests to the destination: no tunnel leads there";

impl StreamListener {
    /// The route of a tunnel, where the listener is a forward proxy.
    ///
    /// # Errors
    /// Why it must not lead there.
    pub fn tunnel(&self, to: &Destination) -> Result<&Arc<StreamRuntime>, &'static str> {
        if is_disguised_address(&to.host) {
            return Err(DISGUISED);
        }
        // Attachments to forward proxies name HOST:PORT, or a network.
        let is_address = to.host.parse::<IpAddr>().is_ok();
        let route = ir::destination_names(&to.host, to.port).find_map(|name| match is_address {
            // What is for every name is for no address.
            true => self.routes.get(&ir::HostPattern::Exact(name.into())),
            false => self.route(Some(&name)),
        });
        let route = route.ok_or(if is_address { NO_ADDRESS } else { NO_ENTRY })?;
        if route.backends.is_empty() { Err(ONLY_REQUESTS) } else { Ok(route) }
    }
}

/// A stream route.
pub struct StreamRuntime {
    /// The IR.
    pub route: Arc<ir::StreamRoute>,
    /// The Gateway that serves the route, for its metrics; the first where there are several.
    pub gateway: ir::GatewayKey,
    /// In the order of the manifest; or why a reference does not resolve.
    pub backends: Box<[Result<Arc<BackendRuntime>, Box<ir::Fail>>]>,
    weights: Weights,
    metrics: OnceLock<Arc<StreamMetrics>>,
}

impl StreamRuntime {
    /// The backend of the next connection or session, by weight; or how it ends without one.
    ///
    /// # Errors
    /// When there is none, or what was chosen does not resolve.
    pub fn next(&self) -> Result<&Arc<BackendRuntime>, Outcome> {
        let chosen = self.weights.next().and_then(|position| self.backends.get(position));
        match chosen {
            None => Err(Outcome::NoBackend),
            Some(Err(_)) => Err(Outcome::InvalidBackend),
            Some(Ok(backend)) => Ok(backend),
        }
    }

    /// Whether it leads to a backend, so that who is there may stay.
    pub fn leads_to(&self, backend: &ir::BackendKey) -> bool {
        let weights = self.route.backends.iter().map(|it| it.weight);
        let mut named = self.backends.iter().zip(weights);
        named.any(|(it, weight)| weight > 0 && it.as_ref().is_ok_and(|it| it.backend.key == *backend))
    }

    /// Counters of the route among `all`.
    pub fn metrics(&self, all: &Metrics) -> &Arc<StreamMetrics> {
        self.metrics.get_or_init(|| all.stream(self.gateway.as_str(), &self.route.origin.to_string()))
    }
}

/// The compiled stream routes, kept from delta to delta: what did not change is shared.
#[derive(Default)]
pub(super) struct StreamTables {
    routes: AHashMap<ir::StreamRouteKey, Arc<StreamRuntime>>,
    listeners: BTreeMap<ir::ListenerKey, Arc<StreamListener>>,
}

impl StreamTables {
    /// Compiles the routes of `keys` anew, and the tables of the listeners that they are or were attached to. Listeners
    /// that changed get a table too. Costs a look at each stream route, and work for those that changed.
    pub(super) fn update(
        &mut self,
        snapshot: &ir::Snapshot,
        keys: &BTreeSet<ir::StreamRouteKey>,
        backends: &AHashMap<ir::BackendKey, Arc<BackendRuntime>>,
    ) {
        let mut touched: BTreeSet<ir::ListenerKey> = BTreeSet::new();
        for key in keys {
            if let Some(old) = self.routes.remove(key) {
                touched.extend(old.route.attachments.iter().map(|it| it.listener.clone()));
            }
            if let Some(route) = snapshot.stream_routes.get(key) {
                touched.extend(route.attachments.iter().map(|it| it.listener.clone()));
                self.routes.insert(key.clone(), Arc::new(compile(snapshot, route, backends)));
            }
        }
        self.listeners.retain(|key, _| snapshot.listeners.contains_key(key));
        let is_outdated = |listener: &&Arc<ir::Listener>| {
            let known = self.listeners.get(&listener.key);
            touched.contains(&listener.key)
                || known.is_none_or(|known| !Arc::ptr_eq(&known.listener, listener))
        };
        let outdated: Vec<_> = snapshot.listeners.values().filter(is_outdated).cloned().collect();
        if outdated.is_empty() {
            return;
        }
        let mut tables = self.tables(&outdated);
        for listener in outdated {
            let routes = tables.remove(&listener.key).unwrap_or_default();
            let compiled = Arc::new(StreamListener { listener: listener.clone(), routes });
            self.listeners.insert(listener.key.clone(), compiled);
        }
    }

    /// The tables of these listeners. The first of a host stays, so the oldest route comes first.
    fn tables(
        &self,
        listeners: &[Arc<ir::Listener>],
    ) -> BTreeMap<ir::ListenerKey, HostTable<Arc<StreamRuntime>>> {
        let mut tables: BTreeMap<_, HostTable<Arc<StreamRuntime>>> =
            listeners.iter().map(|it| (it.key.clone(), HostTable::default())).collect();
        let mut routes: Vec<_> = self.routes.values().collect();
        routes.sort_by(|a, b| age(&a.route).cmp(&age(&b.route)));
        for route in routes {
            for attachment in &route.route.attachments {
                let Some(table) = tables.get_mut(&attachment.listener) else { continue };
                attachment.hostnames.iter().for_each(|host| table.insert(host, route.clone()));
            }
        }
        tables
    }

    /// The listeners of a port.
    pub(super) fn port(
        &self,
        gateway: Arc<ir::Gateway>,
        listeners: &[ir::ListenerKey],
        (authorization, telemetry): (Option<watch::Receiver<Policies>>, Option<Arc<PortTelemetry>>),
    ) -> StreamPort {
        let listeners: Vec<_> = listeners.iter().filter_map(|key| self.listeners.get(key)).cloned().collect();
        let mut hosts = HostTable::default();
        for (position, listener) in listeners.iter().enumerate() {
            hosts.insert(&listener.listener.hostname, position);
        }
        StreamPort { gateway, telemetry, authorization, listeners, hosts }
    }

    /// Whether a Gateway serves a stream route, by the names that metrics have.
    pub(super) fn serves(&self, gateway: &str, route: &str) -> bool {
        let key = ir::StreamRouteKey::new(route.replacen(' ', "/", 1));
        let served = |it: &Arc<StreamRuntime>| it.gateway.as_str() == gateway;
        // A ServiceEntry makes a route of each of its destinations, all with its name.
        let of_entry = || {
            route.starts_with("ServiceEntry ")
                && self.routes.values().any(|it| served(it) && it.route.origin.to_string() == route)
        };
        self.routes.get(&key).is_some_and(served) || of_entry()
    }
}

/// Oldest first, then by namespace and name (Gateway API, conflict resolution).
fn age(route: &ir::StreamRoute) -> (i64, &str, &str) {
    (route.created_s, &route.origin.namespace, &route.origin.name)
}

fn compile(
    snapshot: &ir::Snapshot,
    route: &Arc<ir::StreamRoute>,
    backends: &AHashMap<ir::BackendKey, Arc<BackendRuntime>>,
) -> StreamRuntime {
    let target = |it: &ir::WeightedBackend| match &it.target {
        ir::BackendTarget::Fail(fail) => Err(fail.clone()),
        ir::BackendTarget::Backend(key) => backends.get(key).cloned().ok_or_else(|| {
            let reason = format!("backend {key} is not part of the configuration");
            Box::new(ir::Fail { status: 500, reason })
        }),
    };
    let mut listeners = route.attachments.iter().filter_map(|it| snapshot.listeners.get(&it.listener));
    StreamRuntime {
        route: route.clone(),
        gateway: listeners.next().map_or_else(|| ir::GatewayKey::new(""), |it| it.gateway.clone()),
        backends: route.backends.iter().map(target).collect(),
        weights: Weights::new(&route.backends.iter().map(|it| it.weight).collect::<Vec<_>>()),
        metrics: OnceLock::new(),
    }
}
