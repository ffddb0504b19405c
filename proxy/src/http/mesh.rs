//! What a captured request finds that no gateway has: a port by its host, and the workload's word on plaintext.

use super::context::RequestContext;
use super::request::{Next, authority};
use crate::listen::{Captured, ConnInfo, Destination, Direction};
use crate::mesh::OUTBOUND;
use crate::snapshot::{ByHost, Port, Runtime};
use crate::telemetry::Outcome;
use arc_swap::ArcSwap;
use http::request::Parts;
use pingora_http::RequestHeader;
use std::sync::Arc;

/// Where a captured request goes on.
pub(super) enum Found {
    /// With this port; `None`: it is gone.
    Port(Option<Arc<Port>>),
    /// Not at all, or later.
    Elsewhere(Next),
}

/// The port of a captured request: that of its connection, or of whoever answers for its host. A host that nobody answers
/// for is asked for once a request.
pub(super) fn port(
    runtime: &Runtime,
    captured: Captured,
    header: &RequestHeader,
    context: &mut RequestContext,
) -> Found {
    let lookup = context.connection.as_ref().map(|it| it.port);
    let known = lookup.and_then(|lookup| runtime.ports.get(&lookup));
    // Of an unknown destination somebody may have come to know meanwhile.
    if !captured.by_host || known.is_some() {
        return Found::Port(known.cloned());
    }
    let Ok((host, _)) = sluice_route::host::host_of(authority(header)) else {
        context.port = runtime.ports.get(&OUTBOUND).cloned();
        return Found::Elsewhere(Next::Answer(Outcome::BadRequest));
    };
    let full = runtime.full_name(&host);
    let found = runtime.by_host(captured.original, &full);
    let is_known = matches!(found, ByHost::Known(_));
    if !is_known && !context.has_asked && !host.is_empty() {
        return Found::Elsewhere(Next::Learn(Destination { host: full, port: captured.original.port() }));
    }
    context.full_host = (is_known && *full != *host).then_some(full);
    match found {
        ByHost::Known(port) | ByHost::Passed(port) => Found::Port(Some(port.clone())),
        ByHost::Refused(port) => {
            context.port = Some(port.clone());
            Found::Elsewhere(Next::Answer(Outcome::EgressRefused))
        }
        ByHost::Nothing => Found::Port(None),
    }
}

/// The port of a request that was let in, as it is now; `None`: it is gone, or the destination must not be reached now.
pub(super) fn known<'a>(
    runtime: &'a Runtime,
    connection: &ConnInfo,
    header: &Parts,
) -> Option<&'a Arc<Port>> {
    let known = runtime.ports.get(&connection.port);
    match connection.captured.filter(|it| it.by_host && known.is_none()) {
        None => known,
        Some(captured) => {
            let (host, _) = sluice_route::host::host_of(authority(header)).ok()?;
            match runtime.by_host(captured.original, &runtime.full_name(&host)) {
                ByHost::Known(port) | ByHost::Passed(port) => Some(port),
                ByHost::Refused(_) | ByHost::Nothing => None,
            }
        }
    }
}

/// Whether a workload that has become STRICT meanwhile refuses the request of an older connection in the clear. Costs one
/// comparison at the edge.
pub(super) fn refusal(runtime: &ArcSwap<Runtime>, connection: &ConnInfo) -> Option<Outcome> {
    let captured = connection.captured.filter(|it| it.direction == Direction::Inbound)?;
    let takes = || runtime.load().takes_plaintext(captured.original.port());
    (connection.peer_id.is_none() && !takes()).then_some(Outcome::PlaintextRefused)
}
