//! Opening a TLS connection to an endpoint.

use super::config::alpn;
use parking_lot::Mutex;
use pingora_error::{BError, Error, ErrorType};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sluice_ir::{BackendKey, BackendProtocol};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A backend's failed handshakes are logged at most so often; the metrics count each.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// A connection after its handshake.
pub(crate) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody listens, or the network is down.
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    /// The endpoint is not whom the policy wants, does not accept us, or speaks no TLS.
    #[error("TLS handshake: {0}")]
    Handshake(#[source] io::Error),
    /// The endpoint did not choose the protocol that it would be spoken to in.
    #[error("TLS handshake: the endpoint does not speak {0} by ALPN")]
    Protocol(&'static str),
}

impl DialError {
    /// The same in Pingora's words.
    pub(crate) fn into_pingora(self) -> BError {
        let kind = match &self {
            Self::Connect(error) => crate::upstream::kind_of(error),
            Self::Handshake(_) | Self::Protocol(_) => ErrorType::TLSHandshakeFailure,
        };
        Error::because(kind, "connecting to an endpoint", self)
    }
}

/// Connects in TLS. Sessions are kept in its configuration.
pub(crate) struct Dialer {
    backend: BackendKey,
    connector: TlsConnector,
    server_name: ServerName<'static>,
    protocol: BackendProtocol,
    /// Whether the names that the mesh has for protocols are understood.
    is_mesh: bool,
    /// Ends with the client.
    end: CancellationToken,
    /// When a failure was said last.
    said: Mutex<Option<Instant>>,
}

impl Dialer {
    pub(super) fn new(
        backend: BackendKey,
        config: Arc<ClientConfig>,
        server_name: ServerName<'static>,
        protocol: BackendProtocol,
        end: CancellationToken,
    ) -> Self {
        let (connector, said, is_mesh) = (config.into(), Mutex::default(), false);
        Self { backend, connector, server_name, protocol, is_mesh, end, said }
    }

    /// The same to endpoints of the mesh.
    pub(super) fn in_mesh(self) -> Self {
        Self { is_mesh: true, ..self }
    }

    /// The same for another server.
    pub(super) fn named(&self, server_name: ServerName<'static>, end: CancellationToken) -> Self {
        let Self { backend, connector, protocol, .. } = self;
        Self {
            backend: backend.clone(),
            connector: connector.clone(),
            server_name,
            protocol: *protocol,
            is_mesh: self.is_mesh,
            end,
            said: Mutex::default(),
        }
    }

    pub(super) fn protocol(&self) -> BackendProtocol {
        self.protocol
    }

    /// Ready when the client is no more.
    pub(super) fn client_gone(&self) -> WaitForCancellationFutureOwned {
        self.end.clone().cancelled_owned()
    }

    /// A new connection. Bounds no time: the caller does. Cancelling closes the socket.
    pub(crate) async fn dial(&self, address: SocketAddr) -> Result<Box<TlsStream>, DialError> {
        self.dial_after(address, &[]).await
    }

    /// The same, with these bytes before the handshake.
    pub(crate) async fn dial_after(
        &self,
        address: SocketAddr,
        preface: &[u8],
    ) -> Result<Box<TlsStream>, DialError> {
        let socket = crate::upstream::connect_after(address, preface).await.map_err(DialError::Connect)?;
        // The handshake's flights are small and waited for.
        socket.set_nodelay(true).map_err(DialError::Connect)?;
        self.handshake(socket).await.inspect_err(|error| self.say(address, error))
    }

    async fn handshake(&self, socket: TcpStream) -> Result<Box<TlsStream>, DialError> {
        let connecting = self.connector.connect(self.server_name.clone(), socket);
        let stream = Box::new(connecting.await.map_err(DialError::Handshake)?);
        match (self.protocol, stream.get_ref().1.alpn_protocol()) {
            // HTTP/1.1 is what a server speaks that knows no ALPN; HTTP/2 is never guessed (RFC 9113 §3.2).
            (BackendProtocol::Http1, None) => Ok(stream),
            (protocol, chosen) if chosen == alpn(protocol) => Ok(stream),
            (BackendProtocol::H2c, Some(b"istio-h2")) if self.is_mesh => Ok(stream),
            // What was offered has said what is within.
            (BackendProtocol::Http1, Some(b"istio-http/1.1" | b"istio")) if self.is_mesh => Ok(stream),
            (BackendProtocol::Http1, Some(_)) => Err(DialError::Protocol("http/1.1")),
            (BackendProtocol::H2c, _) => Err(DialError::Protocol("h2")),
            // None was offered, and rustls takes none then.
            (BackendProtocol::Tcp | BackendProtocol::Udp, _) => Ok(stream),
        }
    }

    fn say(&self, address: SocketAddr, error: &DialError) {
        let mut said = self.said.lock();
        if said.is_none_or(|said| said.elapsed() >= SAID_AGAIN) {
            *said = Some(Instant::now());
            tracing::warn!(backend = %self.backend, %address, %error, "no TLS to an endpoint");
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("backend", &self.backend)
            .field("server_name", &self.server_name)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
