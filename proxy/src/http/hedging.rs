//! Further tries beside one that is slow: who may have them, where they go, how they are counted.

use super::attempt;
use super::context::RequestContext;
use crate::policy::Hedging;
use crate::snapshot::{BackendRuntime, Port, RuleHandle};
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::{Admission, Course, EjectPolicy, Heat, Picked, Runner, TlsClient, Verdict};
use parking_lot::Mutex;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The hedged try of a request.
pub(super) struct Hedge {
    target: Arc<BackendRuntime>,
    /// What the client speaks.
    is_http2: bool,
    port: Arc<Port>,
    rule: RuleHandle,
    metrics: Arc<RouteMetrics>,
    hedging: Arc<Hedging>,
    /// Ends of the request and of the try.
    ends: [Option<Instant>; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tried: Vec<SocketAddr>,
    started: u32,
    has_won: bool,
    winner: Option<(Picked, Option<Admission>)>,
    /// Held as long as their connections may be in use.
    clients: Vec<Arc<TlsClient>>,
}

/// Makes the try a hedged one, if the policy says so and the request can be sent twice: it has no body, or one that was
/// read whole, and no session that ties it to an endpoint.
pub(super) fn prepare(
    session: &mut Session,
    context: &mut RequestContext,
    peer: Box<HttpPeer>,
    address: SocketAddr,
) -> Box<HttpPeer> {
    let Some(hedging) = context.policy.as_ref().and_then(|it| it.hedging.clone()) else { return peer };
    let (Some(target), Some(port), Some(rule)) =
        (context.target().cloned(), context.port.clone(), context.rule.clone())
    else {
        return peer;
    };
    let whole = session.is_body_empty() || context.whole.is_some();
    let method = &session.req_header().method;
    if !whole
        || context.asked.is_some()
        || rule.sessions().is_some()
        || target.pool.len() < 2
        || !hedging.takes(method)
    {
        return peer;
    }
    let is_idempotent = method.is_idempotent();
    let metrics = rule.route().metrics(context.metrics()).clone();
    let mut tried = context.tried.clone();
    tried.push(address);
    let state = Mutex::new(State { tried, ..State::default() });
    let ends = [context.deadline, context.try_deadline];
    let is_http2 = session.is_http2();
    let hedge = Arc::new(Hedge { target, is_http2, port, rule, metrics, hedging, ends, state });
    context.hedge = Some(hedge.clone());
    context.is_custom = true;
    Heat { first: *peer, is_idempotent, course: hedge }.into_peer()
}

/// The race is over: whoever won is the endpoint of the try.
pub(super) fn settle(context: &mut RequestContext) {
    let Some(hedge) = context.hedge.take() else { return };
    let mut state = hedge.state.lock();
    context.further_tries += state.started;
    context.clients.append(&mut state.clients);
    if let Some((picked, admission)) = state.winner.take() {
        context.picked = Some(picked);
        context.further_admission = admission;
    }
}

impl Course for Hedge {
    fn delay(&self) -> Duration {
        self.hedging.delay
    }

    fn further(&self) -> Option<Runner> {
        let settings = &self.port.gateway.settings;
        let mut state = self.state.lock();
        if state.started >= self.hedging.extra_tries {
            return None;
        }
        let picked = self.target.pool.pick_by(self.target.choice(settings), &state.tried, None)?;
        if state.tried.contains(&picked.address) {
            return None;
        }
        if !self.hedging.spend() {
            self.metrics.hedge_refused();
            return None;
        }
        let admission = match &self.target.circuit {
            None => None,
            Some(circuit) => match circuit.admit_retry() {
                Some(admission) => Some(admission),
                None => {
                    self.metrics.hedge_refused();
                    return None;
                }
            },
        };
        let spoken = self.target.spoken(self.is_http2);
        let of_mesh = spoken.mesh_client(&picked).ok()?;
        let client =
            of_mesh.as_ref().map_or_else(|| spoken.client(&self.port.gateway), |it| Ok(Some(it))).ok()?;
        let now = Instant::now();
        let left = self.ends.iter().filter_map(|end| RequestContext::remaining(*end, now)).min();
        let peer = attempt::peer_of(spoken, client, &picked, settings, left);
        state.clients.extend(of_mesh);
        state.started += 1;
        state.tried.push(picked.address);
        Some(Runner { peer, picked, admission })
    }

    fn is_good(&self, status: u16) -> bool {
        status < 500 && !self.rule.retry().is_some_and(|retry| retry.codes.contains(&status))
    }

    fn lost(&self, runner: &Runner, status: Option<u16>) {
        let verdict = status.map_or(Verdict::Failed, Verdict::Answered);
        let policy = EjectPolicy::from(&self.port.gateway.settings);
        runner.picked.report(verdict, Instant::now(), self.target.ejection(), policy);
    }

    fn won(&self, runner: Runner) {
        let mut state = self.state.lock();
        state.has_won = true;
        state.winner = Some((runner.picked, runner.admission));
        self.metrics.hedge_won();
    }
}

impl Drop for Hedge {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.metrics.hedges_lost(u64::from(state.started) - u64::from(state.has_won));
    }
}
