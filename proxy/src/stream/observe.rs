//! What a mesh learns of a connection that is carried whole: who called whom, and how much went through.

use super::Way;
use crate::snapshot::BackendRuntime;
use crate::telemetry::Outcome;
use crate::telemetry::mesh::{Call, Direction, MeshContext, RequestProtocol, Security, Series, ServiceName};
use crate::telemetry::seen::{self, CallResult, OutsideProtocol, To};
use crate::upstream::Picked;
use sluice_ir as ir;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Who speaks, as far as a mesh is concerned.
#[derive(Default)]
pub(super) struct Caller {
    /// Whom the client has proven to be.
    pub(super) identity: Option<Box<str>>,
    /// The name that its handshake asked for, where TLS ends here.
    pub(super) server_name: Option<Box<str>>,
}

/// The series of a connection that has reached an endpoint. `None`: the port is in no mesh.
pub(super) fn connected(
    way: &Way,
    caller: &Caller,
    backend: &BackendRuntime,
    picked: &Picked,
) -> Option<Arc<Series>> {
    let mesh = mesh_of(way)?;
    let call = match mesh.direction {
        Direction::Inbound => known(mesh, caller),
        Direction::Outbound => {
            let is_mutual = match backend.backend.mesh {
                ir::MeshTls::Off => false,
                ir::MeshTls::Auto(_) => picked.workload().is_some_and(|it| it.mutual_tls),
                ir::MeshTls::Required(_) => true,
            };
            let peer = picked.party(|workload| mesh.mesh.party_of(workload));
            Call {
                peer: peer.unwrap_or_else(|| mesh.mesh.unknown()).clone(),
                service: backend.service().clone(),
                security: if is_mutual { Security::MutualTls } else { Security::None },
                ..known(mesh, caller)
            }
        }
    };
    Some(mesh.mesh.series(&call, Instant::now()))
}

/// The series of a connection that ended before it reached an endpoint.
pub(super) fn failed(way: &Way, caller: &Caller, outcome: Outcome) -> Option<Arc<Series>> {
    let mesh = mesh_of(way)?;
    let flags = outcome.flags_of_connection();
    let backend = way.route.as_ref().and_then(|route| route.backends.first()?.as_ref().ok());
    let call = match mesh.direction {
        Direction::Inbound => Call { flags, ..known(mesh, caller) },
        Direction::Outbound => {
            let service = backend.map_or(&mesh.service, |it| it.service()).clone();
            Call { service, flags, ..known(mesh, caller) }
        }
    };
    Some(mesh.mesh.series(&call, Instant::now()))
}

/// Of a connection nothing more than this is known.
fn known(mesh: &MeshContext, caller: &Caller) -> Call {
    mesh.call(RequestProtocol::Tcp, caller.identity.as_deref(), caller.server_name.as_deref())
}

/// What a connection that was carried whole tells of who needs what.
pub(super) struct Ended<'a> {
    pub(super) outcome: Outcome,
    /// Port that the client wanted to go to.
    pub(super) port: u16,
    /// The name that the client's own handshake asks for.
    pub(super) server_name: Option<&'a str>,
    /// Where it came to.
    pub(super) endpoint: Option<SocketAddr>,
}

/// Notes a call to the workload, or to a host or address that nobody has named. Nothing of ports that are in no mesh.
pub(super) fn seen(way: &Way, caller: &Caller, ended: &Ended<'_>) {
    let Some(mesh) = mesh_of(way) else { return };
    let address;
    let to = match (mesh.direction, ended.server_name, ended.endpoint) {
        (Direction::Inbound, ..) => To::Here(ended.port),
        (Direction::Outbound, ..) if !is_outside(way) => return,
        (Direction::Outbound, Some(name), _) => To::Outside(name, ended.port, OutsideProtocol::Tls),
        (Direction::Outbound, None, Some(endpoint)) => {
            address = endpoint.ip().to_canonical().to_string();
            To::Outside(&address, ended.port, OutsideProtocol::Tcp)
        }
        (Direction::Outbound, None, None) => return,
    };
    let caller = caller.identity.as_deref().filter(|_| mesh.direction == Direction::Inbound);
    let result = CallResult::of(ended.outcome, 0);
    let call = seen::Call { to, caller, method: "", path: "", is_grpc: false, result };
    mesh.mesh.seen.count(&call, Instant::now());
}

fn is_outside(way: &Way) -> bool {
    let backend = way.route.as_ref().and_then(|route| route.backends.first()?.as_ref().ok());
    backend.is_some_and(|it| ServiceName::is_outside(&it.backend))
}

fn mesh_of(way: &Way) -> Option<&MeshContext> {
    way.port.telemetry.as_ref()?.mesh.as_ref()
}
