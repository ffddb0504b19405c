//! What a mesh learns of a connection that is carried whole: who called whom, and how much went through.

use super::Way;
use crate::snapshot::BackendRuntime;
use crate::telemetry::Outcome;
use crate::telemetry::mesh::{Call, Direction, MeshContext, RequestProtocol, Security, Series};
use crate::upstream::Picked;
use sluice_ir as ir;
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

fn mesh_of(way: &Way) -> Option<&MeshContext> {
    way.port.telemetry.as_ref()?.mesh.as_ref()
}
