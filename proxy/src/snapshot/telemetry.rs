//! What a port tells of its requests and connections, besides its metrics by route.

use crate::telemetry::mesh::{Mesh, MeshContext};
use sluice_ir as ir;
use std::sync::Arc;

/// The same for all ports of a Gateway.
pub struct PortTelemetry {
    /// The data plane's part in its mesh; `None`: it is in none.
    pub mesh: Option<MeshContext>,
}

impl PortTelemetry {
    /// Of a Gateway's ports; `None` where nothing is to be told.
    pub(super) fn of(mesh: Option<&Arc<Mesh>>, gateway: &ir::Gateway) -> Option<Arc<Self>> {
        let mesh = mesh?;
        Some(Arc::new(Self { mesh: Some(MeshContext::of(mesh, &gateway.key)) }))
    }
}
