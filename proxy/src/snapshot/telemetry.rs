//! What a port tells of its requests and connections, besides its metrics by route: compiled from Telemetries.

use crate::telemetry::mesh::{Direction, INBOUND, Mesh, MeshContext, Metric, Overrides};
use crate::telemetry::trace::{Tracer, Tracing};
use sluice_ir::{self as ir, TelemetrySettings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The same for all ports of a Gateway.
pub struct PortTelemetry {
    /// The data plane's part in its mesh; `None`: it is in none.
    pub mesh: Option<MeshContext>,
    /// How requests are traced; `None`: they are not, and what they say of their trace is passed on.
    pub tracing: Option<Arc<Tracing>>,
    /// Form of the access log, where a Telemetry says it.
    pub access_log: Option<ir::AccessLog>,
}

/// What it is compiled from.
#[derive(Default)]
pub(super) struct Sources {
    /// The data plane's part in its mesh.
    pub(super) mesh: Option<Arc<Mesh>>,
    /// Makes spans.
    pub(super) tracer: Arc<Tracer>,
}

impl Sources {
    /// Of a Gateway's ports; `None` where nothing is to be told. `workloads`: what governs the own workload.
    pub(super) fn port(&self, gateway: &ir::Gateway, snapshot: &ir::Snapshot) -> Option<Arc<PortTelemetry>> {
        let mesh = self.mesh.as_ref().map(|mesh| MeshContext::of(mesh, &gateway.key));
        let is_server = gateway.key.as_str().split('/').next() == Some(INBOUND);
        let settings = self.settings(gateway, snapshot, is_server);
        let own = self.mesh.as_ref().map(|it| &it.own);
        let tracing = self.tracer.tracing(&settings, own, gateway.key.as_str());
        let access_log = settings.access_log.or_else(|| own?.access_log);
        let is_silent = mesh.is_none() && tracing.is_none() && access_log.is_none();
        (!is_silent).then(|| Arc::new(PortTelemetry { mesh, tracing, access_log }))
    }

    /// Of a Gateway its own; of a sidecar's ports what governs its workload.
    fn settings(&self, gateway: &ir::Gateway, snapshot: &ir::Snapshot, is_server: bool) -> TelemetrySettings {
        let none = BTreeMap::new();
        let labels = self.mesh.as_ref().map_or(&none, |it| &it.own.labels);
        let of_workload = self.workloads(snapshot).map(|it| &it.telemetry[..]).unwrap_or_default();
        let all = if gateway.telemetry.is_empty() { of_workload } else { &gateway.telemetry };
        TelemetrySettings::of(all.iter().map(Arc::as_ref), labels, is_server)
    }

    fn workloads<'a>(&self, snapshot: &'a ir::Snapshot) -> Option<&'a Arc<ir::Workloads>> {
        let namespace = self.mesh.as_ref()?.own.workload.namespace.as_str();
        snapshot.workloads.get(&ir::WorkloadsKey::new(namespace))
    }

    /// Tells the exposition which metrics and labels are left out.
    pub(super) fn override_metrics(&self, snapshot: &ir::Snapshot) {
        let Some(mesh) = &self.mesh else { return };
        let of_workload = self.workloads(snapshot).map(|it| &it.telemetry[..]).unwrap_or_default();
        let of_gateways = snapshot.gateways.values().flat_map(|it| &it.telemetry);
        let all: Vec<_> = of_workload.iter().chain(of_gateways).map(Arc::as_ref).collect();
        let mut overrides = Overrides::default();
        for direction in [Direction::Outbound, Direction::Inbound] {
            let is_server = direction == Direction::Inbound;
            let settings = TelemetrySettings::of(all.iter().copied(), &mesh.own.labels, is_server);
            for rule in &settings.metrics {
                for metric in metrics(rule.metric.as_deref()) {
                    let change = overrides.entry(metric, direction);
                    change.is_disabled = rule.is_disabled.unwrap_or(change.is_disabled);
                    change.removed.extend(rule.removed_tags.iter().map(|it| it.as_str().into()));
                }
            }
        }
        mesh.set_overrides(overrides);
    }
}

/// The metrics that an override means, by Istio's names.
fn metrics(name: Option<&str>) -> Vec<Metric> {
    let one = match name {
        None | Some("ALL_METRICS") => return Metric::ALL.to_vec(),
        Some("REQUEST_COUNT") => Metric::Requests,
        Some("REQUEST_DURATION") => Metric::Duration,
        Some("REQUEST_SIZE") => Metric::RequestBytes,
        Some("RESPONSE_SIZE") => Metric::ResponseBytes,
        Some("GRPC_REQUEST_MESSAGES") => Metric::RequestMessages,
        Some("GRPC_RESPONSE_MESSAGES") => Metric::ResponseMessages,
        Some("TCP_OPENED_CONNECTIONS") => Metric::Opened,
        Some("TCP_CLOSED_CONNECTIONS") => Metric::Closed,
        Some("TCP_SENT_BYTES") => Metric::Sent,
        Some("TCP_RECEIVED_BYTES") => Metric::Received,
        // The translation has told of it.
        Some(_) => return Vec::new(),
    };
    vec![one]
}
