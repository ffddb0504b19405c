//! The endpoints of a backend whose hosts only clients name: found by the request's host, before the first try.

use super::context::RequestContext;
use super::failure::failure;
use super::request::{authority, is_forward_proxy};
use crate::telemetry::Outcome;
use crate::upstream::Unreachable;
use pingora_error::Result;
use pingora_proxy::Session;
use std::time::Instant;

/// Finds them; costs one load where the backend's endpoints are all known. All tries of a request have the same name. What
/// counts is the host that the client asked for, whatever filters make of it later.
pub(super) async fn find(session: &Session, context: &mut RequestContext) -> Result<()> {
    if context.asked.is_some() {
        return Ok(());
    }
    let Some(asked) = context.target().and_then(|target| target.pool.asked()) else { return Ok(()) };
    let (mut host, port) = sluice_route::host::host_of(authority(session.req_header())).unwrap_or_default();
    let captured = context.connection.as_ref().and_then(|it| it.captured);
    context.asked = asked.original(captured.map(|it| it.original), &host);
    if context.asked.is_some() {
        return Ok(());
    }
    if asked.wants_port() {
        host = format!("{host}:{}", port.unwrap_or(80)).into();
    }
    let finding = asked.find(&host, is_forward_proxy(context));
    let found = match RequestContext::remaining(context.deadline, Instant::now()) {
        None => finding.await,
        Some(left) => match tokio::time::timeout(left, finding).await {
            Ok(found) => found,
            Err(_) => return Err(failure(context, Outcome::RequestTimeout)),
        },
    };
    match found {
        Ok(name) => {
            context.asked = name;
            Ok(())
        }
        Err(reason) => Err(failure(context, outcome(reason))),
    }
}

/// How it ends when nothing can be reached.
pub(crate) fn outcome(reason: Unreachable) -> Outcome {
    match reason {
        Unreachable::NotNamed | Unreachable::Inside => Outcome::EgressRefused,
        Unreachable::NoAddress(_) => Outcome::NameUnresolved,
    }
}
