//! What a sidecar's connections read besides ports: addresses that several Gateways share, what the workload takes, and
//! what becomes of destinations that nobody knows.

use super::runtime::{Port, Runtime};
use super::streams::StreamPort;
use crate::hosts::HostTable;
use crate::mesh::{INBOUND, OUTBOUND, Synthesizer};
use ahash::AHashMap;
use ipnet::IpNet;
use sluice_ir::{self as ir, ListenerProtocol, MutualTlsMode};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// See the module.
#[derive(Default)]
pub struct MeshRuntime {
    /// By address; those of no address by `0.0.0.0`.
    shared: AHashMap<SocketAddr, Shared>,
    /// By port, then by network.
    networks: AHashMap<u16, ir::Networks<Shared>>,
    /// `None`: nobody has said yet what governs the workload.
    terms: Option<Terms>,
    /// That of the pod: names without a dot are within.
    namespace: Box<str>,
}

/// What governs the workload.
#[derive(PartialEq)]
struct Terms {
    outbound: ir::Outbound,
    always_allowed: Vec<IpNet>,
    /// What is taken on ports that are not in `ports`.
    mode: MutualTlsMode,
    ports: BTreeMap<u16, MutualTlsMode>,
}

/// An address that several Gateways, or protocols, share.
#[derive(Default)]
struct Shared {
    requests: HostTable<Arc<Port>>,
    names: HostTable<Arc<StreamPort>>,
    whole: Option<Arc<StreamPort>>,
    /// Whether any of them goes by a name.
    is_by_name: bool,
}

/// Where a request goes by its host.
pub enum ByHost<'a> {
    /// Somebody answers for the host.
    Known(&'a Arc<Port>),
    /// Nobody does: it goes where the connection was going.
    Passed(&'a Arc<Port>),
    /// Nobody does, and so it must not go on; told by this port.
    Refused(&'a Arc<Port>),
    /// There is no configuration.
    Nothing,
}

impl MeshRuntime {
    /// What the workload takes on a port.
    pub(crate) fn mode(&self, port: u16) -> Option<MutualTlsMode> {
        let terms = self.terms.as_ref()?;
        Some(terms.ports.get(&port).copied().unwrap_or(terms.mode))
    }

    fn may_pass(&self, address: IpAddr) -> bool {
        self.terms.as_ref().is_some_and(|terms| {
            terms.outbound == ir::Outbound::AllowAny
                || terms.always_allowed.iter().any(|it| it.contains(&address))
        })
    }

    /// Those of an address: who has it, then the networks that hold it, the most specific first.
    fn addressed(&self, original: SocketAddr) -> impl Iterator<Item = &Shared> {
        let networks = self.networks.get(&original.port());
        let holding = networks.into_iter().flat_map(move |it| it.holding(original.ip()));
        self.shared.get(&original).into_iter().chain(holding)
    }

    /// Those of a port that have no address.
    fn of_none(&self, port: u16) -> Option<&Shared> {
        self.shared.get(&SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    }

    pub(super) fn share(&mut self, address: SocketAddr, requests: Option<Port>, streams: StreamPort) {
        self.shared.entry(address).or_default().add(requests, streams);
    }

    pub(super) fn share_network(
        &mut self,
        (port, network): (u16, IpNet),
        requests: Option<Port>,
        streams: StreamPort,
    ) {
        self.networks.entry(port).or_default().entry(network).add(requests, streams);
    }

    pub(super) fn set_terms(&mut self, by: &Synthesizer) {
        self.namespace = by.namespace().into();
        self.terms = by.workloads().map(|workloads| {
            let ports = workloads.mutual_tls.iter().flat_map(|it| it.ports.keys().copied());
            Terms {
                outbound: by.outbound(workloads),
                always_allowed: workloads.always_allowed.clone(),
                // No workload has a port 0.
                mode: by.mode(workloads, 0),
                ports: ports.map(|port| (port, by.mode(workloads, port))).collect(),
            }
        });
    }
}

/// Whether the same governs the workload.
pub(super) fn same_terms(before: Option<&MeshRuntime>, now: Option<&MeshRuntime>) -> bool {
    before.map(|it| &it.terms) == now.map(|it| &it.terms)
}

impl Shared {
    fn add(&mut self, requests: Option<Port>, streams: StreamPort) {
        if let Some(port) = requests.map(Arc::new) {
            self.is_by_name = true;
            for listener in &port.listeners {
                self.requests.insert(&listener.listener.hostname, port.clone());
            }
        }
        let streams = Arc::new(streams);
        for listener in streams.listeners() {
            match listener.listener.protocol {
                ListenerProtocol::TlsPassthrough => {
                    self.is_by_name = true;
                    self.names.insert(&listener.listener.hostname, streams.clone());
                }
                ListenerProtocol::Detect => {
                    self.names.insert(&listener.listener.hostname, streams.clone());
                    self.whole.get_or_insert_with(|| streams.clone());
                }
                ListenerProtocol::Tcp => {
                    self.whole.get_or_insert_with(|| streams.clone());
                }
                _ => {}
            }
        }
    }

    /// Whether connections are carried whole whatever they bring.
    fn is_whole(&self) -> bool {
        !self.is_by_name && self.whole.is_some()
    }
}

impl Runtime {
    /// The port of a request whose connection belongs to whoever answers for its host, by its [full
    /// name](Self::full_name).
    pub(crate) fn by_host(&self, original: SocketAddr, host: &str) -> ByHost<'_> {
        let (Some(mesh), Some(unknown)) = (&self.mesh, self.ports.get(&OUTBOUND)) else {
            return ByHost::Nothing;
        };
        let mut all = mesh.addressed(original).chain(mesh.of_none(original.port()));
        match all.find_map(|it| it.requests.find(Some(host))) {
            Some(port) => ByHost::Known(port),
            None if mesh.may_pass(original.ip()) => ByHost::Passed(unknown),
            None => ByHost::Refused(unknown),
        }
    }

    /// A host's name as it is known: one without a dot is of the pod's own namespace, as the pod's resolver takes it.
    pub(crate) fn full_name(&self, host: &str) -> Arc<str> {
        match &self.mesh {
            Some(mesh) if !host.contains(['.', ':']) => format!("{host}.{}", mesh.namespace).into(),
            _ => host.into(),
        }
    }

    /// The port of a connection that is carried whole, by the name of its ClientHello; `None`: it is no TLS. Who has the
    /// address takes any name.
    pub(crate) fn stream_by_name(
        &self,
        original: SocketAddr,
        name: Option<&str>,
    ) -> Option<&Arc<StreamPort>> {
        let mesh = self.mesh.as_ref()?;
        let of_none = || mesh.of_none(original.port());
        let Some(_) = name else {
            return mesh.addressed(original).chain(of_none()).find_map(|it| it.whole.as_ref());
        };
        let mut addressed = mesh.addressed(original);
        let found = addressed.find_map(|it| it.names.find(name).or(it.whole.as_ref()));
        found.or_else(|| of_none()?.names.find(name))
    }

    /// Whether those that share an address take connections whole, and nothing by name.
    pub(crate) fn is_whole(&self, original: SocketAddr) -> bool {
        let Some(mesh) = &self.mesh else { return false };
        let first = mesh.addressed(original).next().or_else(|| mesh.of_none(original.port()));
        first.is_some_and(Shared::is_whole)
    }

    /// The port of what goes where it was going, if it may.
    pub(crate) fn passing(&self, original: SocketAddr) -> Option<&Arc<StreamPort>> {
        let mesh = self.mesh.as_ref()?;
        self.streams.get(&OUTBOUND).filter(|_| mesh.may_pass(original.ip()))
    }

    /// Whether what came in the clear may go on to the workload.
    pub(crate) fn takes_plaintext(&self, port: u16) -> bool {
        let mode = self.mesh.as_ref().and_then(|it| it.mode(port));
        mode.is_some_and(|it| it != MutualTlsMode::Strict) && self.streams.contains_key(&INBOUND)
    }
}
