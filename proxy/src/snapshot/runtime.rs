//! The shapes of a compiled configuration.

use super::levels::ByListener;
use super::mesh::MeshRuntime;
use super::streams::StreamPort;
use super::telemetry::PortTelemetry;
use super::tls::BackendTls;
use crate::acme::Challenges;
use crate::auth::Authorizer;
use crate::hosts::HostTable;
use crate::http::{CompiledFilters, Cors};
use crate::mesh::{MeshPeers, Unfit};
use crate::policy::{Authenticator, AuthorizationRuntime, PolicyRuntime};
use crate::telemetry::mesh::ServiceName;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::upstream::{
    Affinity, Choice, Circuit, EndpointPool, Permits, Picked, Sampler, Sessions, TlsClient, Uses, Weights,
    preface,
};
use ::http::HeaderValue;
use ahash::AHashMap;
use sluice_ir as ir;
use sluice_route::{Found, RouteTable, RuleEntry, TableRoute};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Everything that requests read, by bound address.
#[derive(Default)]
pub struct Runtime {
    /// Ports with requests, by the address that the port was planned for.
    pub ports: AHashMap<SocketAddr, Arc<Port>>,
    /// Ports some of whose connections are carried whole.
    pub streams: AHashMap<SocketAddr, Arc<StreamPort>>,
    /// Ports of protocol UDP.
    pub datagrams: AHashMap<SocketAddr, Arc<StreamPort>>,
    /// What a sidecar has besides; `None` at the edge.
    pub mesh: Option<Arc<MeshRuntime>>,
}

/// One bound address and the listeners behind it.
pub struct Port {
    /// The only Gateway that has this address and port.
    pub gateway: Arc<ir::Gateway>,
    /// Port as written in the manifest; redirects name it.
    pub port: u16,
    /// The same as a header field has it.
    pub port_field: HeaderValue,
    /// Whether TLS is terminated.
    pub tls: bool,
    /// Who may do what; `None`: everybody everything.
    pub authorization: Option<Arc<AuthorizationRuntime>>,
    /// What certificate authorities ask the Gateway.
    pub challenges: Arc<Challenges>,
    /// Positions of `listeners` by host; of none for hosts whose connections are carried whole.
    pub(crate) hosts: Arc<HostTable<usize>>,
    /// In key order.
    pub listeners: Vec<Arc<ListenerRuntime>>,
    /// What is told of its requests besides; `None`: nothing.
    pub telemetry: Option<Arc<PortTelemetry>>,
    /// Which tokens are believed; `None`: nobody looks for any.
    pub(crate) authentication: Option<Arc<Authenticator>>,
    /// Counters of requests that no rule takes.
    pub metrics: Arc<RouteMetrics>,
}

impl Port {
    /// Form of the access log.
    pub fn access_log(&self) -> ir::AccessLog {
        let told = self.telemetry.as_ref().and_then(|it| it.access_log);
        told.unwrap_or(self.gateway.settings.access_log)
    }

    /// The listener that answers for a host.
    pub fn listener(&self, host: &str) -> Option<&Arc<ListenerRuntime>> {
        self.listeners.get(*self.hosts.find(Some(host))?)
    }
}

/// A listener and its routes.
#[derive(Clone)]
pub struct ListenerRuntime {
    /// The IR.
    pub listener: Arc<ir::Listener>,
    /// Where its requests go.
    pub table: RouteTable<RouteRuntime>,
    /// What holds for requests whose rule has no policy of its own.
    pub policy: Option<Arc<PolicyRuntime>>,
}

/// A route and its compiled rules, in one place: what one request reads of it stands together, and there are thousands.
pub struct RouteRuntime {
    /// The IR, for the table, `explain`, logs and dumps.
    pub route: Arc<ir::Route>,
    /// The Gateway that serves the route, for its metrics; the first where there are several.
    pub gateway: ir::GatewayKey,
    /// In the order of the manifest.
    pub rules: Box<[RuleEntry<RuleRuntime>]>,
    /// Counters, made by the first request: most of many routes are seldom called.
    metrics: OnceLock<Arc<RouteMetrics>>,
}

impl RouteRuntime {
    /// A route that no request has met.
    pub(super) fn new(
        route: Arc<ir::Route>,
        gateway: ir::GatewayKey,
        rules: Box<[RuleEntry<RuleRuntime>]>,
    ) -> Self {
        Self { route, gateway, rules, metrics: OnceLock::new() }
    }

    /// Counters of the route among `all`.
    pub fn metrics(&self, all: &Metrics) -> &Arc<RouteMetrics> {
        self.metrics.get_or_init(|| all.route(self.gateway.as_str(), &self.route.origin.to_string()))
    }
}

impl TableRoute for RouteRuntime {
    type Target = RuleRuntime;

    fn key(&self) -> &ir::RouteKey {
        &self.route.key
    }

    fn created_s(&self) -> i64 {
        self.route.created_s
    }

    fn rules(&self) -> &[RuleEntry<RuleRuntime>] {
        &self.rules
    }
}

/// A compiled rule.
pub struct RuleRuntime {
    /// Where to, in the order of the manifest.
    pub backends: Box<[RuleBackend]>,
    /// Positions of `backends` by weight.
    pub weights: Weights,
    /// What few rules have.
    pub(super) extras: Option<Box<RuleExtras>>,
}

/// The rarer parts of a rule.
#[derive(Default)]
pub(super) struct RuleExtras {
    pub(super) fail: Option<Box<ir::Fail>>,
    pub(super) redirect: Option<Box<ir::Redirect>>,
    pub(super) cors: Option<Box<Cors>>,
    pub(super) filters: CompiledFilters,
    pub(super) mirrors: Box<[MirrorRuntime]>,
    pub(super) timeouts: ir::Timeouts,
    pub(super) retry: Option<Box<ir::Retry>>,
    pub(super) sessions: Option<Box<Sessions>>,
    /// Who is asked by the rule's filter.
    pub(super) authorizer: Option<Arc<Authorizer>>,
    /// What policies of the rule or its route ask for, by listener.
    pub(super) policies: ByListener,
}

impl RuleRuntime {
    /// What policies ask of requests that come by this listener.
    pub fn policy<'a>(&'a self, listener: &'a ListenerRuntime) -> Option<&'a Arc<PolicyRuntime>> {
        match &self.extras {
            Some(extras) if !extras.policies.is_empty() => extras
                .policies
                .iter()
                .find(|(key, _)| *key == listener.listener.key)
                .map(|(_, policy)| policy),
            _ => listener.policy.as_ref(),
        }
    }

    /// Answers every request in place of the backends, when a filter could not be resolved.
    pub fn fail(&self) -> Option<&ir::Fail> {
        self.extras.as_ref()?.fail.as_deref()
    }

    /// Answers every request with a redirect.
    pub fn redirect(&self) -> Option<&ir::Redirect> {
        self.extras.as_ref()?.redirect.as_deref()
    }

    /// Who is asked by the rule's filter whether a request may go on.
    pub(crate) fn authorizer(&self) -> Option<&Arc<Authorizer>> {
        self.extras.as_ref()?.authorizer.as_ref()
    }

    /// CORS.
    pub(crate) fn cors(&self) -> Option<&Cors> {
        self.extras.as_ref()?.cors.as_deref()
    }

    /// Header edits and rewrites of the rule; `None`: nothing to change.
    pub fn filters(&self) -> Option<&CompiledFilters> {
        self.extras.as_ref().map(|it| &it.filters)
    }

    /// Copies.
    pub fn mirrors(&self) -> &[MirrorRuntime] {
        self.extras.as_ref().map_or(&[], |it| &it.mirrors)
    }

    /// Bounds of the whole request and of one try.
    pub fn timeouts(&self) -> ir::Timeouts {
        self.extras.as_ref().map(|it| it.timeouts.clone()).unwrap_or_default()
    }

    /// Tries after the first, and when.
    pub fn retry(&self) -> Option<&ir::Retry> {
        self.extras.as_ref()?.retry.as_deref()
    }

    /// Keeps clients at their endpoints.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.extras.as_ref()?.sessions.as_deref()
    }
}

/// A rule of a route, held for as long as a request needs it.
#[derive(Clone)]
pub struct RuleHandle {
    route: Arc<RouteRuntime>,
    position: usize,
}

impl RuleHandle {
    /// The rule that a search found.
    pub fn of(found: &Found<'_, RouteRuntime>) -> Self {
        Self { route: found.route.clone(), position: found.rule_position as usize }
    }

    /// The route.
    pub fn route(&self) -> &RouteRuntime {
        &self.route
    }

    /// Its position in the manifest.
    pub fn index(&self) -> u32 {
        self.route.rules[self.position].index
    }

    /// The rule of the IR.
    pub fn rule(&self) -> Option<&ir::Rule> {
        let index = self.route.rules[self.position].index;
        self.route.route.rules.iter().find(|rule| rule.index == index)
    }
}

impl Deref for RuleHandle {
    type Target = RuleRuntime;

    fn deref(&self) -> &RuleRuntime {
        // A search found it there.
        &self.route.rules[self.position].target
    }
}

/// Where a share of the copies goes.
pub struct MirrorRuntime {
    /// To.
    pub backend: Arc<BackendRuntime>,
    /// How many.
    pub sampler: Sampler,
}

/// A backendRef of a rule.
pub struct RuleBackend {
    /// The backend, or the answer in its place.
    pub target: Result<Arc<BackendRuntime>, Box<ir::Fail>>,
    /// What few have.
    pub(super) extras: Option<Box<BackendExtras>>,
}

/// The rarer parts of a backendRef.
pub(super) struct BackendExtras {
    pub(super) filters: CompiledFilters,
    pub(super) mirrors: Box<[MirrorRuntime]>,
}

impl RuleBackend {
    /// Filters of the backendRef, after the rule's; `None`: nothing to change.
    pub fn filters(&self) -> Option<&CompiledFilters> {
        self.extras.as_ref().map(|it| &it.filters)
    }

    /// Copies of what goes to this backend.
    pub fn mirrors(&self) -> &[MirrorRuntime] {
        self.extras.as_ref().map_or(&[], |it| &it.mirrors)
    }
}

/// A backend, shared by all routes that name it.
pub struct BackendRuntime {
    /// The IR.
    pub backend: Arc<ir::Backend>,
    /// Endpoints with their health and load; the same pool for every protocol and route.
    pub pool: Arc<EndpointPool>,
    /// Requests that may wait or be in flight.
    pub permits: Arc<Permits>,
    /// Keeps connections of different backends and protocols apart in the connection pool.
    pub group: u64,
    /// TLS towards its endpoints; `None`: plain.
    pub tls: Option<BackendTls>,
    /// The mesh's TLS towards those of its endpoints that take it; `None`: none does.
    pub mesh: Option<Arc<MeshPeers>>,
    /// Circuit breakers of its rule; `None`: none.
    pub circuit: Option<Arc<Circuit>>,
    /// What of a request decides where it goes; `None`: nothing.
    pub affinity: Option<Box<Affinity>>,
    /// What its connections have carried; `None`: nobody counts.
    pub(super) uses: Option<Arc<Uses>>,
    /// What it is called in a mesh, made by the first call.
    pub(super) service: OnceLock<Arc<ServiceName>>,
    /// What Envoy would call it, made by the first record that says so.
    pub(super) cluster: OnceLock<Box<str>>,
    /// The same in the other version of HTTP, where clients choose that.
    pub(super) twin: Option<Arc<BackendRuntime>>,
}

impl BackendRuntime {
    /// How an endpoint is chosen: by its rule, else as the Gateway has it.
    pub fn choice(&self, settings: &ir::Settings) -> Choice<'_> {
        match self.backend.policy.as_deref() {
            None => Choice::plain(settings.balancing),
            Some(policy) => Choice {
                how: policy.balancing.unwrap_or(settings.balancing),
                rule: policy.ejection.as_ref(),
                key: None,
                warmup: policy.warmup.as_ref(),
            },
        }
    }

    /// What it is called in a mesh.
    pub fn service(&self) -> &Arc<ServiceName> {
        self.service.get_or_init(|| Arc::new(ServiceName::of_backend(&self.backend)))
    }

    /// Its port, as its key has it.
    pub fn port(&self) -> &str {
        let rest = self.backend.key.as_str().split_once(':').map_or("", |(_, rest)| rest);
        rest.split(['/', '+', '@']).next().unwrap_or_default()
    }

    /// What Envoy would call it: `outbound|PORT|SUBSET|HOST`, `inbound|PORT||`.
    pub fn cluster(&self) -> &str {
        self.cluster.get_or_init(|| self.service().cluster_of(&self.backend).into())
    }

    /// The backend in the version of HTTP that a client speaks, where that matters; else itself.
    pub fn spoken(&self, is_http2: bool) -> &Self {
        match &self.twin {
            Some(twin) if is_http2 == (twin.backend.protocol == ir::BackendProtocol::H2c) => twin,
            _ => self,
        }
    }

    /// What its connections have carried, and how many requests each may.
    pub fn uses(&self) -> Option<(&Uses, u32)> {
        Some((self.uses.as_deref()?, self.connections()?.requests?))
    }

    /// Where its endpoints are asked to connect to; `None`: they are what is spoken to.
    pub fn tunnel(&self) -> Option<&ir::Tunnel> {
        self.backend.policy.as_deref()?.tunnel.as_ref()
    }

    /// The detection of its rule; `None`: as the Gateway has it.
    pub fn ejection(&self) -> Option<&ir::Ejection> {
        self.backend.policy.as_deref()?.ejection.as_ref()
    }

    /// What connections begin with, for a client that came to `local`; `None`: nothing.
    pub fn preface(&self, client: SocketAddr, local: SocketAddr) -> Option<Vec<u8>> {
        Some(preface(self.backend.policy.as_deref()?.proxy_header?, client, local))
    }

    /// What its rule says of connections.
    pub fn connections(&self) -> Option<&ir::ConnectionTerms> {
        Some(&self.backend.policy.as_deref()?.connections)
    }

    /// Time to connect.
    pub fn connect_timeout(&self, settings: &ir::Settings) -> Duration {
        self.connections().and_then(|it| it.connect_timeout).unwrap_or(settings.limits.connect_timeout)
    }

    /// Who speaks the mesh's TLS to an endpoint; `Ok(None)`: nobody, it is spoken to as if there were no mesh. Costs a
    /// comparison where there is none.
    ///
    /// # Errors
    /// Why the endpoint is not spoken to at all.
    pub fn mesh_client(&self, picked: &Picked) -> Result<Option<Arc<TlsClient>>, Unfit> {
        match &self.mesh {
            None => Ok(None),
            Some(mesh) => mesh.client(picked.workload().map(Arc::as_ref)),
        }
    }

    /// Who speaks TLS to it for that Gateway; `Ok(None)`: it is spoken to plainly.
    ///
    /// # Errors
    /// Why it can't be spoken to at all.
    pub fn client(&self, gateway: &ir::Gateway) -> Result<Option<&Arc<TlsClient>>, &str> {
        self.tls.as_ref().map(|tls| tls.client(gateway)).transpose()
    }
}
