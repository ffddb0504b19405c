//! The shapes of a compiled configuration.

use crate::hosts::HostTable;
use crate::http::{CompiledFilters, Cors};
use crate::telemetry::RouteMetrics;
use crate::upstream::{EndpointPool, Permits, Sampler, Sessions, Weights};
use ::http::HeaderValue;
use ahash::AHashMap;
use sluice_ir as ir;
use sluice_route::RouteTable;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Everything that requests read, by bound address.
#[derive(Default)]
pub struct Runtime {
    /// By the address that the port was planned for.
    pub ports: AHashMap<SocketAddr, Arc<Port>>,
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
    /// Positions of `listeners` by host.
    pub(crate) hosts: Arc<HostTable<usize>>,
    /// In key order.
    pub listeners: Vec<Arc<ListenerRuntime>>,
    /// Counters of requests that no rule takes.
    pub metrics: Arc<RouteMetrics>,
}

impl Port {
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
    pub table: RouteTable<Arc<RuleRuntime>>,
}

/// What the rules of one route share.
pub struct RouteRuntime {
    /// The IR, for `explain`, logs and dumps.
    pub route: Arc<ir::Route>,
    /// `HTTPRoute shop/cart`, written once.
    pub name: Box<str>,
    /// Counters of the route.
    pub metrics: Arc<RouteMetrics>,
}

/// A compiled rule. What few rules have is boxed: there are thousands of rules.
pub struct RuleRuntime {
    /// The route.
    pub route: Arc<RouteRuntime>,
    /// Position in the route.
    pub index: u32,
    /// Answers every request in place of the backends, when a filter could not be resolved.
    pub fail: Option<Box<ir::Fail>>,
    /// Answers every request with a redirect.
    pub redirect: Option<Box<ir::Redirect>>,
    /// CORS.
    pub cors: Option<Box<Cors>>,
    /// Header edits and rewrites of the rule.
    pub filters: CompiledFilters,
    /// Copies.
    pub mirrors: Box<[MirrorRuntime]>,
    /// Where to, in the order of the manifest.
    pub backends: Box<[RuleBackend]>,
    /// Positions of `backends` by weight.
    pub weights: Weights,
    /// Whole request.
    pub request_timeout: Option<Duration>,
    /// One try.
    pub backend_timeout: Option<Duration>,
    /// Tries after the first, and when.
    pub retry: Option<Box<ir::Retry>>,
    /// Keeps clients at their endpoints.
    pub sessions: Option<Box<Sessions>>,
}

impl RuleRuntime {
    /// The rule of the IR.
    pub fn rule(&self) -> Option<&ir::Rule> {
        self.route.route.rules.iter().find(|rule| rule.index == self.index)
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
    /// Filters of the backendRef, after the rule's.
    pub filters: CompiledFilters,
    /// Copies of what goes to this backend.
    pub mirrors: Box<[MirrorRuntime]>,
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
}
