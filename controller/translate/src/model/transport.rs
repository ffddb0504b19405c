//! What ports are told apart by besides their number.

use serde::{Serialize, Serializer};

/// A protocol with ports of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// That of a port of a Service or an EndpointSlice; absent: TCP. `None` for one that nobody here speaks.
    pub(crate) fn of_port(protocol: Option<&str>) -> Option<Self> {
        match protocol.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }

    /// That of a listener of a protocol; `None` for one that is unknown.
    pub(crate) fn of_listener(protocol: &str) -> Option<Self> {
        match protocol {
            "HTTP" | "HTTPS" | "TLS" | "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }

    /// `TCP`, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}
