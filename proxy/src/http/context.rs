//! What one request remembers between its phases.

use super::cache::Caching;
use super::decompression::Unpacking;
use super::hedging::Hedge;
use super::observe::Observed;
use super::under_way::{self, UnderWay};
use crate::auth::{Authorizer, Edit};
use crate::listen::ConnInfo;
use crate::policy::{Admitted, Authenticator, Claims, Compressing, Judged, PolicyRuntime, Told, Whole};
use crate::snapshot::{BackendRuntime, ListenerRuntime, Port, RuleBackend, RuleHandle};
use crate::telemetry::{Metrics, Outcome};
use crate::upstream::{
    Admission, AskedName, EndpointPool, MirrorBody, PeerMemory, Permit, Picked, SessionId, Slot, TlsClient,
};
use bytes::Bytes;
use http::HeaderValue;
use pingora_core::protocols::http::server::Session as Downstream;
use sluice_ir as ir;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Counts a request as in flight until it is dropped, however it ends.
pub(super) struct InFlight(Arc<Metrics>);

impl InFlight {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.request_started();
        Self(metrics.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// Created when a request's head is complete, dropped when its answer is.
pub struct RequestContext {
    in_flight: InFlight,
    /// When the head was complete.
    pub(super) started: Instant,
    /// The connection.
    pub(super) connection: Option<Arc<ConnInfo>>,
    /// The bound address, as configured when the request began.
    pub(super) port: Option<Arc<Port>>,
    /// The listener that answers for the host.
    pub(super) listener: Option<Arc<ListenerRuntime>>,
    /// The rule that matched.
    pub(super) rule: Option<RuleHandle>,
    /// How it is answered where no rule takes it.
    pub(super) unrouted: Option<Outcome>,
    /// Whom AuthorizationPolicies have asked.
    pub(super) asked_first: Vec<Arc<Authorizer>>,
    /// What AuthorizationPolicies say, where that is worth telling.
    pub(super) judged: Option<Box<Judged>>,
    /// Who asks, by a verified token.
    pub(super) claims: Option<Arc<Claims>>,
    /// Places whose tokens the backend does not get.
    pub(super) stripped: Option<(Arc<Authenticator>, Box<[usize]>)>,
    /// Why it was refused, where the outcome alone does not say.
    pub(super) reason: Option<&'static str>,
    /// What policies ask for.
    pub(super) policy: Option<Arc<PolicyRuntime>>,
    /// What the answer tells of rate limits.
    pub(super) told: Told,
    /// Bytes of the body that was read to be shown to an authoriser; Pingora keeps them. `None`: it was not.
    pub(super) shown: Option<usize>,
    /// What authorisers change of the answer.
    pub(super) authorized: Vec<Edit>,
    /// Bytes that the request's body may have.
    pub(super) body_limit: Option<u64>,
    /// Length of the path prefix that the rule matched.
    pub(super) matched_prefix: Option<usize>,
    /// Position in the rule's backends.
    pub(super) backend: usize,
    /// How it ended; `None`: not yet, or the backend's answer.
    pub(super) outcome: Option<Outcome>,
    /// End of the whole request.
    pub(super) deadline: Option<Instant>,
    /// End of the current try.
    pub(super) try_deadline: Option<Instant>,
    /// Tries begun.
    pub(super) attempts: u32,
    /// The host that the client named, where the backend knows none itself.
    pub(super) asked: Option<Arc<AskedName>>,
    /// The host as listeners know it, where the client has left its namespace out.
    pub(super) full_host: Option<Arc<str>>,
    /// Whether the control plane was asked for the host.
    pub(super) has_asked: bool,
    /// Who speaks TLS to the endpoints of this request: connections last as long as their clients.
    pub(super) clients: Vec<Arc<TlsClient>>,
    /// Endpoints that failed this request.
    pub(super) tried: Vec<SocketAddr>,
    /// Endpoint of the current try; its load counts while this is held.
    pub(super) picked: Option<Picked>,
    /// Our end of the connection to the endpoint, where the access log tells it.
    pub(super) upstream_local: Option<SocketAddr>,
    /// Whether the proxy at its other end knows us, where it can say so.
    pub(super) peer_memory: Option<Arc<PeerMemory>>,
    /// When the current try began.
    pub(super) try_started: Option<Instant>,
    /// From the try's begin to the head of the answer.
    pub(super) upstream_duration: Option<Duration>,
    /// Share of the backend's pending requests.
    pub(super) permit: Option<Permit>,
    /// What the breakers of the backend let it have: to be on its way, to use a connection, to be tried again.
    pub(super) admission: Option<Admission>,
    pub(super) slot: Option<Slot>,
    pub(super) retry: Option<Admission>,
    /// What the adaptive limit of a policy lets it have.
    pub(super) admitted: Option<Admitted>,
    /// The race of the current try, until it is over.
    pub(super) hedge: Option<Arc<Hedge>>,
    /// Tries that were begun beside others.
    pub(super) further_tries: u32,
    /// What the breakers let the one of them have whose answer is used.
    pub(super) further_admission: Option<Admission>,
    /// The body, where it was read before an endpoint was chosen.
    pub(super) whole: Option<Whole>,
    /// The client's session, while another one stands in for it.
    pub(super) client: Option<Box<Downstream>>,
    /// Whether the current try is spoken to by our connector's protocol.
    pub(super) is_custom: bool,
    /// A key that the client gets by a cookie, so that it comes back to the same endpoint.
    pub(super) given: Option<(u64, HeaderValue)>,
    /// The session that the client named.
    pub(super) session: Option<SessionId>,
    /// Bodies of running copies.
    pub(super) mirrors: Vec<MirrorBody>,
    /// Whether copies were started.
    pub(super) is_copied: bool,
    /// Bytes of the request body so far.
    pub(super) request_body_bytes: u64,
    /// The same of the current try.
    pub(super) try_body_bytes: u64,
    /// Status of the answer that the client got; 0: none yet.
    pub(super) response_status: u16,
    /// Bytes of its body so far, as the client gets it.
    pub(super) response_body_bytes: u64,
    /// Bytes of the body that copies have got so far, as the backend gets it.
    pub(super) copied_bytes: u64,
    /// The same of the current try.
    pub(super) try_copied_bytes: u64,
    /// How a cache takes part.
    pub(super) caching: Caching,
    /// The request's body, where it is unpacked.
    pub(super) unpacking: Option<Box<Unpacking>>,
    /// The answer's body, where it is compressed.
    pub(super) compressing: Option<Box<Compressing>>,
    /// What a mesh learns of it; `None`: the port is in none.
    pub(super) observed: Option<Box<Observed>>,
    /// What judges it anew when policies change; `None`: it is not let in yet, or recorded.
    pub(super) under_way: Option<Arc<UnderWay>>,
    /// Whether failures are answered as gRPC statuses.
    pub(super) grpc: bool,
    /// Whether the connection was switched to another protocol.
    pub(super) upgraded: bool,
    /// Whether the connection to the endpoint carries no further request.
    pub(super) is_last_use: bool,
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        under_way::dropped(self);
    }
}

impl RequestContext {
    pub(super) fn new(now: Instant, in_flight: InFlight) -> Self {
        Self {
            in_flight,
            started: now,
            connection: None,
            port: None,
            listener: None,
            rule: None,
            unrouted: None,
            asked_first: Vec::new(),
            judged: None,
            claims: None,
            stripped: None,
            reason: None,
            policy: None,
            told: Vec::new(),
            shown: None,
            authorized: Vec::new(),
            body_limit: None,
            matched_prefix: None,
            backend: 0,
            outcome: None,
            deadline: None,
            try_deadline: None,
            attempts: 0,
            asked: None,
            full_host: None,
            has_asked: false,
            clients: Vec::new(),
            tried: Vec::new(),
            picked: None,
            upstream_local: None,
            peer_memory: None,
            try_started: None,
            upstream_duration: None,
            permit: None,
            admission: None,
            slot: None,
            retry: None,
            admitted: None,
            hedge: None,
            further_tries: 0,
            further_admission: None,
            whole: None,
            client: None,
            is_custom: false,
            given: None,
            session: None,
            mirrors: Vec::new(),
            is_copied: false,
            request_body_bytes: 0,
            try_body_bytes: 0,
            response_status: 0,
            response_body_bytes: 0,
            copied_bytes: 0,
            try_copied_bytes: 0,
            caching: Caching::default(),
            unpacking: None,
            compressing: None,
            observed: None,
            under_way: None,
            grpc: false,
            upgraded: false,
            is_last_use: false,
        }
    }

    /// Whether it got so far that policies say who may go on: to a rule, or to where one would be.
    pub(super) fn may_be_authorized(&self) -> bool {
        matches!(self.unrouted, None | Some(Outcome::NoRoute))
    }

    /// Where everything is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.in_flight.0
    }

    /// The chosen backendRef.
    pub(super) fn rule_backend(&self) -> Option<&RuleBackend> {
        self.rule.as_ref()?.backends.get(self.backend)
    }

    /// The chosen backend.
    pub(super) fn target(&self) -> Option<&Arc<BackendRuntime>> {
        self.rule_backend()?.target.as_ref().ok()
    }

    /// The endpoints of the chosen backend.
    pub(super) fn pool(&self) -> Option<&Arc<EndpointPool>> {
        let asked = self.asked.as_ref().map(|name| name.pool());
        asked.or_else(|| self.target().map(|target| &target.pool))
    }

    /// Bounds of the whole request and of one try: the rule's own, else a policy's.
    pub(super) fn timeouts(&self) -> ir::Timeouts {
        let own = self.rule.as_ref().map(|rule| rule.timeouts()).unwrap_or_default();
        match self.policy.as_ref().and_then(|policy| policy.timeouts()) {
            Some(below) => own.over(below),
            None => own,
        }
    }

    /// Counts a piece of the current try's body, unless an earlier try has had it.
    pub(super) fn count(&mut self, bytes: &Bytes) {
        self.try_body_bytes += bytes.len() as u64;
        self.request_body_bytes = self.request_body_bytes.max(self.try_body_bytes);
    }

    /// What of a piece of the current try's body, as the backend gets it, no earlier try has had.
    pub(super) fn uncopied(&mut self, bytes: &Bytes) -> Bytes {
        let known = self.copied_bytes.saturating_sub(self.try_copied_bytes);
        self.try_copied_bytes += bytes.len() as u64;
        self.copied_bytes = self.copied_bytes.max(self.try_copied_bytes);
        bytes.slice(usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len())..)
    }

    /// Time left until a deadline; `None`: no bound.
    pub(super) fn remaining(deadline: Option<Instant>, now: Instant) -> Option<Duration> {
        deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Which deadline has passed, if any.
    pub(super) fn overdue(&self, now: Instant) -> Option<Outcome> {
        if self.upgraded {
            return None;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Outcome::RequestTimeout);
        }
        self.try_deadline.is_some_and(|deadline| deadline <= now).then_some(Outcome::BackendTimeout)
    }
}
