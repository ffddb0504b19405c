//! Bound ports and their connections: everything between `accept` and a checked HTTP request.
//!
//! In: the wanted ports ([`PortConfig`] by address) and an HTTP application. Out: calls of
//! [`HttpServerApp::process_new_http`](pingora_core::apps::HttpServerApp::process_new_http), one for each request,
//! with [`ConnInfo`] within reach. In between: limits, PROXY protocol, TLS, the choice between HTTP/1 and HTTP/2, the
//! strict check of HTTP/1 heads, timeouts, drain. Connections that are carried whole go to [`Streams`] instead. It knows
//! no route and no backend.

mod accept;
mod answer;
mod captured;
mod challenge;
mod client_certificate;
mod connection;
mod detect;
pub(crate) mod forward;
mod framing;
mod head;
mod hello;
mod http1;
mod http2;
mod inbound;
mod io;
mod limit;
mod observer;
mod original;
mod peek;
mod ports;
mod proxy_header;
mod resets;
mod secure;
mod stream;
mod transport;
mod under_way;

pub use captured::{Captured, Direction, OriginalDestination};
pub use client_certificate::ClientCertificate;
pub use detect::DETECTION;
pub use forward::Destination;
pub use framing::Body;
pub use head::{HeadEnd, Refusal, check as check_head};
pub use hello::Within;
pub use observer::{Observer, Refused};
pub use original::original_destination;
pub use ports::Ports;
pub use proxy_header::{Parsed as ProxyHeader, parse as parse_proxy_header};
pub use secure::server_name;
pub use stream::{Carried, Chosen, ClientSide, Stream, StreamConnection, Streams};

pub(crate) use hello::server_name as peek_server_name;
pub(crate) use limit::{ClientSlot, PortSlot, Slots};
pub(crate) use under_way::{UnderWay, watch};

use crate::acme::Challenges;
use crate::telemetry::mesh::Party;
use crate::tls::PortTls;
use http::HeaderValue;
use sluice_ir::{GatewayKey, Limits, ProxyProtocol, SpiffeId};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What can change on a port without binding it again. New connections use the new one; those that are open keep
/// theirs.
#[derive(Debug, Default)]
pub struct PortConfig {
    /// Bounds on connections and requests.
    pub limits: Limits,
    /// Whether connections start with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// TLS is terminated; `None`: what comes is plain, or passed through.
    pub tls: Option<Arc<PortTls>>,
    /// TLS-ALPN-01 is answered from here, before the server name chooses.
    pub challenges: Arc<Challenges>,
    /// What the connections are.
    pub carried: Carried,
    /// Whose port it is; `None` in tests of this module alone.
    pub gateway: Option<GatewayKey>,
    /// How long first bytes are waited for where they say what the connection is; `None`: [`DETECTION`].
    pub detection: Option<Duration>,
}

impl PortConfig {
    /// How long first bytes are waited for.
    pub(crate) fn detection(&self) -> Duration {
        self.detection.unwrap_or(DETECTION)
    }
}

/// What is known of a connection; every request finds it with [`ConnInfo::of`].
#[derive(Debug)]
pub struct ConnInfo {
    /// The port's address as wanted (the key given to [`Ports::apply`]), not as bound.
    pub port: SocketAddr,
    /// The client: what the PROXY header says, else the socket's peer.
    pub peer: SocketAddr,
    /// The client's address as a header field has it, written once for all requests of the connection.
    pub peer_field: HeaderValue,
    /// The socket's peer.
    pub direct_peer: SocketAddr,
    /// The socket's own address.
    pub local: SocketAddr,
    /// What was negotiated, if TLS is terminated here.
    pub tls: Option<TlsInfo>,
    /// What the client showed of itself, if it was asked and did.
    pub client_certificate: Option<ClientCertificate>,
    /// The port's configuration when the connection was accepted.
    pub limits: Arc<PortConfig>,
    /// How it was captured; `None`: its client has come here by itself.
    pub captured: Option<Captured>,
    /// Who the client is in the mesh, as it has proven; `None`: it has not.
    pub peer_id: Option<Arc<SpiffeId>>,
    /// What the application is told of that client's certificate (`x-forwarded-client-cert`).
    pub told_of_peer: Option<HeaderValue>,
    /// The workload behind that client, where its proxy has said so for all requests of the connection.
    pub caller: OnceLock<Arc<Party>>,
}

impl ConnInfo {
    /// Where the client wanted to go: of a captured connection what it had dialled, else this socket's own address.
    pub fn destination(&self) -> SocketAddr {
        self.captured.map_or(self.local, |it| it.original)
    }

    /// The own address of connections that go on from here: what is handed to an application beside a sidecar must not be
    /// captured again, which this address says. `None`: what the system chooses.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.captured
            .filter(|it| it.direction == Direction::Inbound)
            .map(|it| captured::source(it.original.ip()))
    }

    /// The address as a header field has it.
    pub(crate) fn field_of(address: IpAddr) -> HeaderValue {
        // An address holds no byte that a field may not.
        HeaderValue::try_from(address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }

    /// Who the peer has proven to be, as a SPIFFE ID; `None`: nobody.
    pub fn peer_identity(&self) -> Option<&str> {
        match &self.peer_id {
            Some(id) => Some(id.as_str()),
            None => self.client_certificate.as_ref()?.spiffe_id(),
        }
    }

    /// The connection of a request, from the digest of its session. `None` only for sessions not made by [`Ports`].
    pub fn of(digest: &pingora_core::protocols::Digest) -> Option<&Arc<Self>> {
        digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref::<Arc<Self>>()
    }
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// The server name the client asked for (SNI): lower case, without trailing dot.
    pub server_name: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// HTTP/2 was chosen by ALPN.
    pub alpn_h2: bool,
    /// The handshake resumed an earlier session.
    pub resumed: bool,
}
