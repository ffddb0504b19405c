//! A request that has been let in, as far as it must be known to judge it again and to record it when it is cut.
//!
//! What a later policy may look at is not known before, and nobody can reach into Pingora's session while it waits. So the
//! head is kept a second time, once a request that goes to an endpoint: as much as Pingora copies for each try.

use super::context::RequestContext;
use super::record::{self, Exchange};
use super::{authorization, mesh};
use crate::listen::{self, ConnInfo};
use crate::policy::{AuthorizationRuntime, Claims, Judged};
use crate::snapshot::{Port, Runtime};
use crate::telemetry::{AccessLogger, Outcome};
use arc_swap::ArcSwap;
use http::request::Parts;
use pingora_proxy::Session;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// See the module.
pub(super) struct UnderWay {
    runtime: Arc<ArcSwap<Runtime>>,
    log: AccessLogger,
    connection: Arc<ConnInfo>,
    /// By whose policies it was let in.
    port: Arc<Port>,
    claims: Option<Arc<Claims>>,
    head: Parts,
    is_http2: bool,
    /// Why it must not go on.
    refused: OnceLock<Refused>,
    /// Whether all is done and recorded.
    is_over: AtomicBool,
}

struct Refused {
    outcome: Outcome,
    judged: Option<Judged>,
}

/// From now on the request is judged anew whenever policies change.
pub(super) fn begin(
    (runtime, log): (&Arc<ArcSwap<Runtime>>, &AccessLogger),
    session: &Session,
    context: &mut RequestContext,
) {
    let (Some(connection), Some(port)) = (context.connection.clone(), context.port.clone()) else { return };
    let it = Arc::new(UnderWay {
        runtime: runtime.clone(),
        log: log.clone(),
        connection,
        port,
        claims: context.claims.clone(),
        head: Parts::clone(session.req_header()),
        is_http2: session.is_http2(),
        refused: OnceLock::new(),
        is_over: AtomicBool::new(false),
    });
    context.under_way = Some(it.clone());
    listen::watch(it);
}

/// The request has ended and is recorded.
pub(super) fn end(context: &mut RequestContext) {
    if let Some(it) = context.under_way.take() {
        it.is_over.store(true, Relaxed);
    }
}

/// Records a request whose phases end before their time, where that is because it was cut.
pub(super) fn dropped(context: &mut RequestContext) {
    let Some(it) = context.under_way.take() else { return };
    let Some(refused) = it.refused.get() else { return };
    context.outcome = Some(refused.outcome);
    context.judged = refused.judged.clone().map(Box::new);
    let exchange = Exchange {
        header: &it.head,
        is_http2: it.is_http2,
        status: context.response_status,
        sent: context.response_body_bytes,
    };
    record::write(&it.log, &exchange, context, Instant::now());
}

impl UnderWay {
    /// Why it must not go on, as things are now.
    fn refusal(&self) -> Option<Refused> {
        if let Some(outcome) = mesh::refusal(&self.runtime, &self.connection) {
            return Some(Refused { outcome, judged: None });
        }
        let runtime = self.runtime.load();
        // A port that is gone has no policies; others say what becomes of its requests.
        let now = mesh::known(&runtime, &self.connection, &self.head)?;
        if is_same(now.authorization.as_ref(), self.port.authorization.as_ref()) {
            return None;
        }
        let authorization = now.authorization.as_ref()?;
        let judged =
            authorization::judge(authorization, (now, &self.connection), &self.head, self.claims.as_deref())?;
        (!judged.verdict.is_allowed())
            .then_some(Refused { outcome: Outcome::Forbidden, judged: Some(judged) })
    }
}

impl listen::UnderWay for UnderWay {
    fn is_forbidden(&self) -> bool {
        if self.is_over.load(Relaxed) {
            return false;
        }
        match self.refusal() {
            Some(refused) => {
                let _ = self.refused.set(refused);
                true
            }
            None => false,
        }
    }
}

fn is_same(now: Option<&Arc<AuthorizationRuntime>>, before: Option<&Arc<AuthorizationRuntime>>) -> bool {
    match (now, before) {
        (Some(now), Some(before)) => Arc::ptr_eq(now, before),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
