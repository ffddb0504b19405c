//! Backends and the endpoints behind them.

use crate::{BackendKey, BackendPolicy, EndpointSetKey, HealthCheck, Origin, Topology, UpstreamTls};
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
