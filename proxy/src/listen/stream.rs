//! Connections that are carried whole, as the ports hand them out.

use super::ConnInfo;
use super::forward::Destination;
use super::limit::{ClientSlot, PortSlot};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What the connections of a port are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Carried {
    /// All bring requests.
    #[default]
    Requests,
    /// The server name of each ClientHello says what it brings.
    ByServerName,
    /// All are carried whole.
    Whole,
    /// The first request of each says whether it is a tunnel.
    Forward,
    /// The first bytes of each say what it brings.
    Detect,
    /// The same, and the mesh's TLS, which ends here; plaintext where the workload takes it.
    Inbound,
}

/// What a connection is.
pub enum Chosen {
    /// Nobody answers for the name.
    Nobody,
    /// It brings requests.
    Requests,
    /// It is carried whole.
    Stream(Box<dyn Stream>),
}

/// Knows where whole connections go.
pub trait Streams: Send + Sync + 'static {
    /// What a connection of a port is, by the name that its client asks for. One look at the configuration: what is
    /// chosen stays, whatever changes meanwhile.
    fn choose(&self, port: SocketAddr, server_name: Option<&str>) -> Chosen;

    /// Whether nothing at a captured port goes by host or server name.
    fn is_whole(&self, port: SocketAddr) -> bool {
        let _ = port;
        false
    }

    /// Where a captured connection goes that no port and no name leads anywhere: where it was going, if it may.
    fn pass(&self, original: SocketAddr) -> Chosen {
        let _ = original;
        Chosen::Nobody
    }

    /// Where a tunnel of a forward proxy goes.
    ///
    /// # Errors
    /// Why it must not lead there.
    fn tunnel(&self, port: SocketAddr, to: &Destination) -> Result<Box<dyn Stream>, &'static str>;
}

/// Takes one connection to its end.
#[async_trait]
pub trait Stream: Send {
    /// Whether the client's TLS ends here; else the connection goes on as it is.
    fn ends_tls(&self) -> bool;

    /// Whether it leads anywhere: who names a server that nobody serves is told so in TLS.
    fn has_route(&self) -> bool;

    /// Carries the connection. Cancelling closes it.
    async fn carry(self: Box<Self>, connection: StreamConnection);
}

/// A connection before its first byte was taken, or after its handshake.
pub struct StreamConnection {
    /// The client's side.
    pub client: ClientSide,
    /// What is known of it.
    pub info: ConnInfo,
    /// Server name of the ClientHello.
    pub server_name: Option<String>,
    /// When it was accepted.
    pub started: Instant,
    /// Counted back when the connection is closed.
    pub(crate) slots: (PortSlot, ClientSlot),
}

/// What the client speaks on.
pub enum ClientSide {
    /// The socket.
    Plain(TcpStream),
    /// TLS that ends here.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Carries nothing: every port brings requests.
impl Streams for () {
    fn choose(&self, _port: SocketAddr, _server_name: Option<&str>) -> Chosen {
        Chosen::Requests
    }

    fn tunnel(&self, _port: SocketAddr, _to: &Destination) -> Result<Box<dyn Stream>, &'static str> {
        Err("no forward proxy")
    }
}
