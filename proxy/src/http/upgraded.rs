//! Connections that have become another protocol (WebSocket): what is forbidden meanwhile goes no further.

use super::authorization;
use super::context::RequestContext;
use super::failure::failure;
use super::mesh;
use super::request::Next;
use crate::policy::AuthorizationRuntime;
use crate::snapshot::Runtime;
use arc_swap::ArcSwap;
use pingora_error::Result;
use pingora_proxy::Session;
use std::sync::Arc;

/// Looks at the policies again where they are others than when they were looked at last. Costs one load a piece of what is
/// carried; a connection on which nothing moves is not looked at.
///
/// # Errors
/// When it must end.
pub(super) fn check(
    runtime: &ArcSwap<Runtime>,
    session: &Session,
    context: &mut RequestContext,
) -> Result<()> {
    let (Some(connection), Some(port)) = (context.connection.clone(), context.port.clone()) else {
        return Ok(());
    };
    if let Some(refused) = mesh::refusal(runtime, &connection) {
        return Err(failure(context, refused));
    }
    let now = runtime.load().ports.get(&connection.port).cloned();
    let Some(now) = now.filter(|now| !is_same(now.authorization.as_ref(), port.authorization.as_ref()))
    else {
        return Ok(());
    };
    if let Some(Next::Answer(refused)) =
        authorization::refusal((&now, &connection), session.req_header(), context)
    {
        return Err(failure(context, refused));
    }
    context.port = Some(now);
    Ok(())
}

fn is_same(now: Option<&Arc<AuthorizationRuntime>>, before: Option<&Arc<AuthorizationRuntime>>) -> bool {
    match (now, before) {
        (Some(now), Some(before)) => Arc::ptr_eq(now, before),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
