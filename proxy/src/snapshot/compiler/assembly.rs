//! From planned ports, listeners and streams to the runtime.

use super::Compiler;
use crate::hosts::HostTable;
use crate::listen::Carried;
use crate::snapshot::mesh::MeshRuntime;
use crate::snapshot::ports::PlannedPort;
use crate::snapshot::runtime::{ListenerRuntime, Port, Runtime};
use crate::snapshot::streams::StreamPort;
use crate::snapshot::telemetry::PortTelemetry;
use crate::telemetry::metrics::NONE;
use ahash::AHashMap;
use sluice_ir as ir;
use std::sync::Arc;

/// What the ports of each Gateway tell: compiled once for all of them.
type Told = AHashMap<ir::GatewayKey, Option<Arc<PortTelemetry>>>;

impl Compiler {
    /// Puts the current listeners behind the planned ports.
    pub(super) fn assemble(&mut self) {
        let mut runtime = Runtime::default();
        let mut told = Told::new();
        for (address, planned) in &self.ports.planned {
            if planned.carried != Carried::Requests {
                runtime.streams.insert(*address, Arc::new(self.stream_port(planned, &mut told)));
            }
            if let Some(port) = self.port(planned, self.runtime.ports.get(address), &mut told) {
                runtime.ports.insert(*address, Arc::new(port));
            }
        }
        if let Some(synthesizer) = &self.synthesizer {
            let mut mesh = MeshRuntime::default();
            for (address, planned) in &self.ports.shared {
                for planned in planned {
                    let streams = self.stream_port(planned, &mut told);
                    mesh.share(*address, self.port(planned, None, &mut told), streams);
                }
            }
            for (place, planned) in &self.ports.networks {
                for planned in planned {
                    let streams = self.stream_port(planned, &mut told);
                    mesh.share_network(*place, self.port(planned, None, &mut told), streams);
                }
            }
            mesh.set_terms(synthesizer);
            runtime.mesh = Some(Arc::new(mesh));
        }
        for (address, planned) in &self.ports.datagrams {
            let port = self.streams.port(planned.gateway.clone(), &planned.listeners, (None, None));
            runtime.datagrams.insert(*address, Arc::new(port));
        }
        let gateways = &self.snapshot.gateways;
        self.authenticators.retain(|key| gateways.contains_key(key));
        self.runtime = Arc::new(runtime);
    }

    fn told(&self, gateway: &ir::Gateway, told: &mut Told) -> Option<Arc<PortTelemetry>> {
        let compile = || self.telemetry.port(gateway, &self.snapshot);
        told.entry(gateway.key.clone()).or_insert_with(compile).clone()
    }

    /// What connections of a planned port read that are carried whole.
    fn stream_port(&self, planned: &PlannedPort, told: &mut Told) -> StreamPort {
        let beside = (self.authorizations.watch(&planned.gateway.key), self.told(&planned.gateway, told));
        self.streams.port(planned.gateway.clone(), &planned.listeners, beside)
    }

    /// What requests of a planned port read; `None`: none of its listeners brings any.
    fn port(&self, planned: &PlannedPort, before: Option<&Arc<Port>>, told: &mut Told) -> Option<Port> {
        let all = planned.listeners.iter().filter_map(|key| self.listeners.get(key)).cloned();
        let (listeners, whole): (Vec<_>, Vec<_>) = all.partition(|it| brings_requests(&it.listener));
        let first = listeners.first()?;
        let hosts = match before {
            Some(before) if whole.is_empty() && same_hosts(&before.listeners, &listeners) => {
                before.hosts.clone()
            }
            _ => Arc::new(hosts(&listeners, &whole)),
        };
        Some(Port {
            gateway: planned.gateway.clone(),
            port: first.listener.port,
            port_field: first.listener.port.into(),
            tls: planned.tls.is_some(),
            authorization: self.authorizations.of(&planned.gateway.key),
            challenges: planned.challenges.clone(),
            hosts,
            listeners,
            telemetry: self.told(&planned.gateway, told),
            authentication: self.authenticators.of(&planned.gateway),
            metrics: self.metrics.route(planned.gateway.key.as_str(), NONE),
        })
    }
}

fn brings_requests(listener: &ir::Listener) -> bool {
    use ir::ListenerProtocol as P;
    matches!(listener.protocol, P::Http | P::Https(_) | P::ForwardProxy | P::Detect)
}

/// Positions of `listeners`. The hosts of those whose connections are carried `whole` are theirs alone: nobody answers
/// for them here.
fn hosts(listeners: &[Arc<ListenerRuntime>], whole: &[Arc<ListenerRuntime>]) -> HostTable<usize> {
    let mut table = HostTable::default();
    for listener in whole {
        table.insert(&listener.listener.hostname, usize::MAX);
    }
    for (position, listener) in listeners.iter().enumerate() {
        table.insert(&listener.listener.hostname, position);
    }
    table
}

fn same_hosts(before: &[Arc<ListenerRuntime>], now: &[Arc<ListenerRuntime>]) -> bool {
    // A table with hosts that are carried whole is made anew: it has more than these.
    before.len() == now.len()
        && before.iter().zip(now).all(|(before, now)| before.listener.hostname == now.listener.hostname)
}
