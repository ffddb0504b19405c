//! Which addresses are bound, for whom, and with which TLS: from the listeners of a snapshot to [`PlannedPort`]s.
//!
//! Binds nothing. A listener that can't be served is left out and reported; the others of its port serve.

use crate::acme::Challenges;
use crate::tls::PortTls;
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where listeners are bound.
#[derive(Clone, Copy, Debug)]
pub struct BindPlan {
    /// For listeners whose Gateway names no address.
    pub bind: IpAddr,
    /// Added to each listener's port.
    pub port_offset: u16,
    /// Ports that need a privilege are moved up by [`ir::cluster_port`], as the Service of a Gateway expects.
    pub cluster_ports: bool,
}

/// One address to bind.
#[derive(Clone)]
pub struct PlannedPort {
    /// Settings of the Gateway that owns it.
    pub gateway: Arc<ir::Gateway>,
    /// TLS by SNI, for an HTTPS port.
    pub tls: Option<Arc<PortTls>>,
    /// What certificate authorities ask its Gateway.
    pub challenges: Arc<Challenges>,
    /// The listeners behind it.
    pub listeners: Vec<ir::ListenerKey>,
}

/// The addresses of a snapshot, and what can't be bound.
#[derive(Clone, Default)]
pub(super) struct Ports {
    /// By address.
    pub(super) planned: BTreeMap<SocketAddr, PlannedPort>,
    /// Listeners that can't be served, and why.
    pub(super) failures: Vec<(ir::ListenerKey, String)>,
}

impl Ports {
    /// Groups listeners by the address they are bound to. Two Gateways never share one: the translation has refused
    /// the younger before, and here the first by key wins. TLS that did not change is shared with `before`.
    pub(super) fn plan(plan: BindPlan, snapshot: &ir::Snapshot, before: &Self) -> Self {
        let mut ports = Self::default();
        let mut by_address: BTreeMap<SocketAddr, Vec<Arc<ir::Listener>>> = BTreeMap::new();
        for listener in snapshot.listeners.values() {
            if !matches!(listener.protocol, ir::ListenerProtocol::Http | ir::ListenerProtocol::Https(_)) {
                let reason = "the data plane does not serve this protocol yet".to_owned();
                ports.failures.push((listener.key.clone(), reason));
                continue;
            }
            match addresses(plan, listener) {
                Ok(addresses) => {
                    for address in addresses {
                        by_address.entry(address).or_default().push(listener.clone());
                    }
                }
                Err(reason) => ports.failures.push((listener.key.clone(), reason)),
            }
        }
        for (address, listeners) in by_address {
            if let Some(port) = ports.port(snapshot, address, listeners, before) {
                ports.planned.insert(address, port);
            }
        }
        ports
    }

    fn port(
        &mut self,
        snapshot: &ir::Snapshot,
        address: SocketAddr,
        mut listeners: Vec<Arc<ir::Listener>>,
        before: &Self,
    ) -> Option<PlannedPort> {
        let first = listeners.first()?.clone();
        let gateway = snapshot.gateways.get(&first.gateway)?.clone();
        listeners.retain(|listener| {
            let owned =
                listener.gateway == first.gateway && listener.protocol.sharing() == first.protocol.sharing();
            if !owned {
                let reason = format!("{address} is already taken by {}", first.origin);
                self.failures.push((listener.key.clone(), reason));
            }
            owned
        });
        let tls = if first.protocol.sharing() == ir::Sharing::Tls {
            let previous = before.planned.get(&address).and_then(|port| port.tls.as_deref());
            Some(self.tls(snapshot, &mut listeners, previous)?)
        } else {
            None
        };
        Some(PlannedPort {
            gateway,
            tls,
            challenges: Arc::default(),
            listeners: listeners.iter().map(|it| it.key.clone()).collect(),
        })
    }

    /// TLS of a port. A listener whose certificates can't be used is left out and reported; one that waits for its
    /// certificate stays.
    fn tls(
        &mut self,
        snapshot: &ir::Snapshot,
        listeners: &mut Vec<Arc<ir::Listener>>,
        previous: Option<&PortTls>,
    ) -> Option<Arc<PortTls>> {
        let wanted: Vec<_> = listeners
            .iter()
            .filter_map(|listener| Some((listener.hostname.clone(), listener.protocol.tls()?.clone())))
            .collect();
        let certificate = |key: &ir::CertificateKey| snapshot.certificates.get(key).cloned();
        let (tls, problems) = match PortTls::build(&wanted, certificate, previous) {
            Ok(tls) => {
                let problems: Vec<_> = tls.problems().iter().map(ToString::to_string).collect();
                (Some(tls), problems.join("; "))
            }
            Err(error) => (None, error.to_string()),
        };
        listeners.retain(|listener| {
            let served = tls.as_ref().is_some_and(|tls| waits(listener) || tls.serves(&listener.hostname));
            if !served {
                self.failures.push((listener.key.clone(), problems.clone()));
            }
            served
        });
        if listeners.is_empty() { None } else { tls.map(Arc::new) }
    }
}

/// Whether the listener has no certificate yet.
fn waits(listener: &ir::Listener) -> bool {
    matches!(&listener.protocol, ir::ListenerProtocol::Https(tls) if tls.certificates.is_empty())
}

fn addresses(plan: BindPlan, listener: &ir::Listener) -> Result<Vec<SocketAddr>, String> {
    let own = if plan.cluster_ports { ir::cluster_port(listener.port) } else { listener.port };
    let Some(port) = own.checked_add(plan.port_offset) else {
        return Err(format!(
            "port {} plus the offset {} is above 65535; choose a smaller --port-offset",
            listener.port, plan.port_offset
        ));
    };
    // In a cluster the addresses are those of the Service: a data plane binds its own.
    if listener.addresses.is_empty() || plan.cluster_ports {
        return Ok(vec![SocketAddr::new(plan.bind, port)]);
    }
    Ok(listener.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
}
