//! What a request tells of who needs what: a call to the workload, or to a host that nobody has named.

use super::context::RequestContext;
use super::observe::End;
use super::request::authority;
use crate::telemetry::mesh::{Direction, MeshContext, ServiceName};
use crate::telemetry::seen::{Call, CallResult, OutsideProtocol, To};
use sluice_route::host::host_of;
use std::time::Instant;

/// Counts a request that ended.
pub(super) fn note(mesh: &MeshContext, end: &End<'_>, context: &RequestContext, now: Instant) {
    let Some(connection) = &context.connection else { return };
    let header = end.header;
    let port = connection.destination().port();
    let result = CallResult::of(end.outcome, end.status);
    match mesh.direction {
        Direction::Inbound => {
            let call = Call {
                to: To::Here(port),
                caller: connection.peer_identity(),
                method: header.method.as_str(),
                path: header.uri.path(),
                is_grpc: context.grpc,
                result,
            };
            mesh.mesh.seen.count(&call, now);
        }
        Direction::Outbound => {
            let is_outside = context.target().is_some_and(|it| ServiceName::is_outside(&it.backend));
            if !is_outside {
                return;
            }
            let Ok((host, _)) = host_of(authority(header)) else { return };
            let to = To::Outside(&host, port, OutsideProtocol::Http);
            let call = Call { to, caller: None, method: "", path: "", is_grpc: false, result };
            mesh.mesh.seen.count(&call, now);
        }
    }
}
