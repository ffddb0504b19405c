//! Which addresses are bound, for whom, and with which TLS: from the listeners of a snapshot to [`PlannedPort`]s.
//!
//! Binds nothing. A listener that can't be served is left out and reported; the others of its port serve. A change of
//! certificates alone touches the hosts that show them, however many others there are.

use super::asked;
use crate::acme::Challenges;
use crate::listen::Carried;
use crate::mesh::INBOUND;
use crate::tls::{Certificates, Keyring, PortTls};
use ahash::AHashMap;
use ipnet::IpNet;
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
    /// Nothing is bound: connections were captured on their way to these addresses, and find their port by them. Several
    /// Gateways, and protocols, may then share one.
    pub is_captured: bool,
}

impl BindPlan {
    /// That of a sidecar. Listeners without an address are for whoever names their host, whatever the address.
    pub fn captured() -> Self {
        let bind = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { bind, port_offset: 0, cluster_ports: false, is_captured: true }
    }
}

/// One address to bind.
#[derive(Clone)]
pub struct PlannedPort {
    /// Settings of the Gateway that owns it.
    pub gateway: Arc<ir::Gateway>,
    /// TLS by SNI, where it ends here.
    pub tls: Option<Arc<PortTls>>,
    /// What certificate authorities ask its Gateway.
    pub challenges: Arc<Challenges>,
    /// What its connections are.
    pub carried: Carried,
    /// The listeners behind it.
    pub listeners: Arc<[ir::ListenerKey]>,
}

/// The addresses of a snapshot, and what can't be bound.
#[derive(Default)]
pub(super) struct Ports {
    /// By address.
    pub(super) planned: BTreeMap<SocketAddr, PlannedPort>,
    /// Those of protocol UDP.
    pub(super) datagrams: BTreeMap<SocketAddr, PlannedPort>,
    /// Those that several Gateways or protocols share, and those of no address, where connections are captured.
    pub(super) shared: BTreeMap<SocketAddr, Vec<PlannedPort>>,
    /// Those of networks, where connections are captured: by port and network.
    pub(super) networks: BTreeMap<(u16, IpNet), Vec<PlannedPort>>,
    /// Listeners that can't be served, and why.
    pub(super) failures: Vec<(ir::ListenerKey, String)>,
    /// Which hosts show a certificate.
    shown: AHashMap<ir::CertificateKey, Vec<(SocketAddr, ir::HostPattern)>>,
    keyring: Keyring,
}

impl Ports {
    /// Takes over changed certificates where nothing else changed. `false`: listeners, or certificates of handshakes, came
    /// or went with them, and all must be planned again. Cost: as many hosts as show them.
    pub(super) fn recertify(&mut self, certificates: Certificates<'_>) -> bool {
        let is_asked = |key| certificates.all.get(key).is_some_and(|it| it.on_demand.is_some());
        if certificates.changed.iter().any(|key| is_asked(key) && !self.shown.contains_key(key)) {
            return false;
        }
        let mut hosts: BTreeMap<SocketAddr, Vec<&ir::HostPattern>> = BTreeMap::new();
        for (address, host) in certificates.changed.iter().filter_map(|key| self.shown.get(key)).flatten() {
            hosts.entry(*address).or_default().push(host);
        }
        for (address, hosts) in hosts {
            // A port none of whose listeners is served is not planned.
            let Some(port) = self.planned.get_mut(&address) else { return false };
            let next = port
                .tls
                .as_ref()
                .and_then(|tls| tls.with_certificates_of(&hosts, certificates, &mut self.keyring));
            let Some(next) = next else { return false };
            port.tls = Some(Arc::new(next));
        }
        true
    }

    /// Groups listeners that are `meant` by the address they are bound to. Two Gateways never share one: the translation has refused
    /// the younger before, and here the first by key wins. TLS that did not change stays.
    pub(super) fn plan(
        &mut self,
        plan: BindPlan,
        snapshot: &ir::Snapshot,
        certificates: Certificates<'_>,
        meant: &dyn Fn(&ir::Listener) -> bool,
    ) {
        let before = std::mem::take(self);
        let ports = self;
        ports.keyring = before.keyring;
        // Ports of UDP are others than those of TCP.
        let mut by_address: BTreeMap<(bool, SocketAddr), Vec<Arc<ir::Listener>>> = BTreeMap::new();
        for listener in snapshot.listeners.values().filter(|it| meant(it)) {
            let is_udp = listener.protocol.sharing() == ir::Sharing::Udp;
            match addresses(plan, listener) {
                Ok(addresses) => {
                    for address in addresses {
                        by_address.entry((is_udp, address)).or_default().push(listener.clone());
                    }
                }
                Err(reason) => ports.failures.push((listener.key.clone(), reason)),
            }
        }
        if plan.is_captured {
            ports.captured_by_network(snapshot, meant);
        }
        for ((is_udp, address), listeners) in by_address {
            if plan.is_captured {
                if !is_udp {
                    ports.captured(snapshot, address, listeners);
                }
                continue;
            }
            let previous = before.planned.get(&address).and_then(|port| port.tls.as_deref());
            let port = ports.port(snapshot, address, listeners, certificates, previous);
            let Some(port) = port else { continue };
            let planned = if is_udp { &mut ports.datagrams } else { &mut ports.planned };
            planned.insert(address, port);
        }
    }

    /// A port that connections are captured for: of one Gateway and protocol where the address belongs to them alone, else
    /// one of several.
    fn captured(&mut self, snapshot: &ir::Snapshot, address: SocketAddr, listeners: Vec<Arc<ir::Listener>>) {
        let mut planned = self.groups(snapshot, address, listeners);
        let is_alone = planned.len() == 1 && !address.ip().is_unspecified();
        match planned.pop() {
            Some(only) if is_alone => drop(self.planned.insert(address, only)),
            Some(last) => {
                planned.push(last);
                self.shared.insert(address, planned);
            }
            None => {}
        }
    }

    /// The ports of networks.
    fn captured_by_network(&mut self, snapshot: &ir::Snapshot, meant: &dyn Fn(&ir::Listener) -> bool) {
        let mut by_network: BTreeMap<(u16, IpNet), Vec<Arc<ir::Listener>>> = BTreeMap::new();
        for listener in snapshot.listeners.values().filter(|it| meant(it)) {
            for network in &listener.networks {
                by_network.entry((listener.port, *network)).or_default().push(listener.clone());
            }
        }
        for ((port, network), listeners) in by_network {
            let planned = self.groups(snapshot, SocketAddr::new(network.addr(), port), listeners);
            self.networks.insert((port, network), planned);
        }
    }

    /// Listeners of captured connections by Gateway and protocol. TLS is not ended there.
    fn groups(
        &mut self,
        snapshot: &ir::Snapshot,
        address: SocketAddr,
        listeners: Vec<Arc<ir::Listener>>,
    ) -> Vec<PlannedPort> {
        let mut groups: BTreeMap<(ir::GatewayKey, ir::Sharing), Vec<Arc<ir::Listener>>> = BTreeMap::new();
        for listener in listeners {
            if listener.protocol.tls().is_some() {
                let reason = format!("{address}: captured connections are not ended in TLS");
                self.failures.push((listener.key.clone(), reason));
                continue;
            }
            groups.entry((listener.gateway.clone(), listener.protocol.sharing())).or_default().push(listener);
        }
        let planned = groups.into_iter().filter_map(|((gateway, _), listeners)| {
            let carried = match address == INBOUND {
                true => Carried::Inbound,
                false => carried(&listeners)?,
            };
            Some(PlannedPort {
                gateway: snapshot.gateways.get(&gateway)?.clone(),
                tls: None,
                challenges: Arc::default(),
                carried,
                listeners: listeners.iter().map(|it| it.key.clone()).collect(),
            })
        });
        planned.collect()
    }

    fn port(
        &mut self,
        snapshot: &ir::Snapshot,
        address: SocketAddr,
        mut listeners: Vec<Arc<ir::Listener>>,
        certificates: Certificates<'_>,
        previous: Option<&PortTls>,
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
            let tls = self.tls(address, &mut listeners, certificates, previous);
            tls.iter().for_each(|tls| tls.set_ticket_secrets(&gateway.ticket_secrets));
            tls
        } else {
            None
        };
        Some(PlannedPort {
            gateway,
            tls,
            challenges: Arc::default(),
            carried: carried(&listeners)?,
            listeners: listeners.iter().map(|it| it.key.clone()).collect(),
        })
    }

    /// TLS of a port; none where all of it is passed through. A listener whose certificates can't be used is left out
    /// and reported; one that waits for its certificate stays.
    fn tls(
        &mut self,
        address: SocketAddr,
        listeners: &mut Vec<Arc<ir::Listener>>,
        certificates: Certificates<'_>,
        previous: Option<&PortTls>,
    ) -> Option<Arc<PortTls>> {
        let wanted: Vec<_> = listeners
            .iter()
            .filter_map(|listener| Some((&listener.hostname, listener.protocol.tls()?)))
            .collect();
        if wanted.is_empty() {
            return None;
        }
        let asked = asked::hosts(&wanted, certificates.all);
        let all: Vec<_> = wanted.into_iter().chain(asked.iter().map(|(host, tls)| (host, tls))).collect();
        let tls = PortTls::build(&all, certificates, &mut self.keyring, previous);
        for (host, tls) in all {
            for key in &tls.certificates {
                self.shown.entry(key.clone()).or_default().push((address, host.clone()));
            }
        }
        let refusal = |listener: &ir::Listener| {
            listener.protocol.tls().and_then(|_| tls.refusal(&listener.hostname)).map(str::to_owned)
        };
        listeners.retain(|listener| match refusal(listener) {
            Some(reason) => {
                self.failures.push((listener.key.clone(), reason));
                false
            }
            None => true,
        });
        listeners.iter().any(|it| it.protocol.tls().is_some()).then(|| Arc::new(tls))
    }
}

/// What the connections of these listeners are; `None` without a listener.
fn carried(listeners: &[Arc<ir::Listener>]) -> Option<Carried> {
    use ir::ListenerProtocol as P;
    let brings_requests = |it: &Arc<ir::Listener>| matches!(it.protocol, P::Http | P::Https(_));
    Some(match listeners.first()?.protocol.sharing() {
        ir::Sharing::Http => Carried::Requests,
        ir::Sharing::Tls if listeners.iter().all(brings_requests) => Carried::Requests,
        ir::Sharing::Tls => Carried::ByServerName,
        ir::Sharing::Detect => Carried::Detect,
        ir::Sharing::Tcp | ir::Sharing::Udp => Carried::Whole,
        ir::Sharing::Forward => Carried::Forward,
    })
}

fn addresses(plan: BindPlan, listener: &ir::Listener) -> Result<Vec<SocketAddr>, String> {
    let own = if plan.cluster_ports { ir::cluster_port(listener.port) } else { listener.port };
    let Some(port) = own.checked_add(plan.port_offset) else {
        return Err(format!(
            "port {} plus the offset {} is above 65535; choose a smaller --port-offset",
            listener.port, plan.port_offset
        ));
    };
    if plan.is_captured && listener.addresses.is_empty() && !listener.networks.is_empty() {
        return Ok(Vec::new());
    }
    // In a cluster the addresses are those of the Service: a data plane binds its own.
    if listener.addresses.is_empty() || plan.cluster_ports {
        return Ok(vec![SocketAddr::new(plan.bind, port)]);
    }
    Ok(listener.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
}
