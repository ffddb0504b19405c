//! Backends and the endpoints behind them.

use crate::{
    BackendKey, BackendPolicy, EndpointSetKey, HealthCheck, HostPattern, MeshTls, Origin, Topology,
    UpstreamTls, Workload,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// How to talk to one port of a service. Endpoints travel apart, so that a moved pod touches no backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `Service/NAMESPACE/NAME:PORT` or `Hostname/HOST:PORT`, perhaps with `+h2c`, `+tcp` or `+udp`.
    pub key: BackendKey,
    /// The Service or ServiceEntry.
    pub origin: Origin,
    /// What it speaks.
    pub protocol: BackendProtocol,
    /// Where its endpoints are.
    pub endpoints: EndpointSetKey,
    /// TLS towards its endpoints; `None`: plain. What a listener passes through keeps its own TLS instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<UpstreamTls>>,
    /// What a DestinationRule says; most backends have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Box<BackendPolicy>>,
    /// How its endpoints are asked whether they are well; `None`: they are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<HealthCheck>>,
    /// Whether the mesh's TLS is spoken to its endpoints.
    #[serde(default, skip_serializing_if = "MeshTls::is_off")]
    pub mesh: MeshTls,
}

/// What a backend speaks (`appProtocol`, GEP-1911).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendProtocol {
    /// HTTP/1.1, with upgrades to WebSocket.
    Http1,
    /// HTTP/2 by prior knowledge.
    H2c,
    /// Whole connections; only stream routes name it.
    Tcp,
    /// Datagrams; only stream routes name it.
    Udp,
}

/// How an endpoint is chosen among those that are ready and not ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum Balancing {
    /// The one with fewer requests in flight of two taken at random.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
}

/// The endpoints of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSet {
    /// `Service/NAMESPACE/NAME:PORT` or `Hostname/HOST:PORT`, perhaps with `+udp`.
    pub key: EndpointSetKey,
    /// The Service or ServiceEntry.
    pub origin: Origin,
    /// Sorted; without duplicates; without endpoints that are neither ready nor serving.
    pub endpoints: Vec<Endpoint>,
    /// Whether names of endpoints stand for hosts of the internet, so that private, loopback and link-local addresses are
    /// no answers to them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_external: bool,
    /// Whether only the first address that DNS gives for a name is an endpoint, at any one time (ServiceEntry resolution
    /// `DNS_ROUND_ROBIN`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_first: bool,
    /// Endpoints that only clients name; `None`: those of `endpoints` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<AskedHosts>>,
}

/// Hosts that clients name themselves, by the server name of a handshake, the Host of a request or the destination of a
/// tunnel. They are looked up when somebody asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedHosts {
    /// Names that may be looked up, all others are refused; `None`: none is, and who names no address of `networks` gets
    /// the endpoints of the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<HostPattern>,
    /// Addresses that a client of a forward proxy may name; connections go to them as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// Port at whatever was named, or at where a captured connection was going; 0: the one that the client named with it, and
    /// addresses and names of this machine are nobody's.
    pub port: u16,
    /// Connections that were captured go where the client sent them, whatever it said, and names of endpoints are not looked
    /// up (ServiceEntry resolution `NONE`, and pods that are called by their own addresses). For all others it counts as not
    /// said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub original: bool,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Whether it takes new requests.
    pub state: EndpointState,
    /// Relative share, at least 1.
    pub weight: u32,
    /// Where it is, if anything is known of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Arc<Topology>>,
    /// The workload behind it, if it has a sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Arc<Workload>>,
}

/// An address, or a name that the data plane resolves and keeps fresh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointAddress {
    /// IPv4 or IPv6 and port.
    Socket(SocketAddr),
    /// Name and port; all its addresses are endpoints.
    Dns {
        /// Lower case, without trailing dot.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
}

/// From the conditions of an EndpointSlice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// Takes requests.
    Ready,
    /// Terminating but still serving: takes requests only when no other endpoint is ready, and those of sessions.
    Draining,
}
