//! What a mesh learns of a connection that is carried whole: who called whom, and how much went through.

use super::Way;
use crate::snapshot::BackendRuntime;
use crate::telemetry::Outcome;
use crate::telemetry::mesh::metadata;
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
        Direction::Inbound => inbound(mesh, caller, "-"),
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
                ..nobody(mesh, "-")
            }
        }
    };
    Some(mesh.mesh.series(&call, Instant::now()))
}

/// The series of a connection that ended before it reached an endpoint.
pub(super) fn failed(way: &Way, caller: &Caller, outcome: Outcome) -> Option<Arc<Series>> {
    let mesh = mesh_of(way)?;
    let flags = outcome.flags(false);
    let backend = way.route.as_ref().and_then(|route| route.backends.first()?.as_ref().ok());
    let call = match mesh.direction {
        Direction::Inbound => inbound(mesh, caller, flags),
        Direction::Outbound => {
            let service = backend.map_or(&mesh.service, |it| it.service()).clone();
            Call { service, ..nobody(mesh, flags) }
        }
    };
    Some(mesh.mesh.series(&call, Instant::now()))
}

fn inbound(mesh: &MeshContext, caller: &Caller, flags: &'static str) -> Call {
    let peer = caller.identity.as_deref().map(|identity| metadata::party(None, identity));
    Call {
        security: if peer.is_some() { Security::MutualTls } else { Security::None },
        peer: peer.unwrap_or_else(|| mesh.mesh.unknown().clone()),
        service: mesh.service_of(caller.server_name.as_deref()),
        ..nobody(mesh, flags)
    }
}

/// A call of which nothing is known.
fn nobody(mesh: &MeshContext, flags: &'static str) -> Call {
    Call {
        direction: mesh.direction,
        peer: mesh.mesh.unknown().clone(),
        service: mesh.service.clone(),
        security: Security::Unknown,
        protocol: RequestProtocol::Tcp,
        code: 0,
        grpc_status: None,
        flags,
        is_overflow: false,
    }
}

fn mesh_of(way: &Way) -> Option<&MeshContext> {
    way.port.telemetry.as_ref()?.mesh.as_ref()
}
