//! TLS towards the endpoints of a backend.
//!
//! In: a policy ([`UpstreamTls`](sluice_ir::UpstreamTls)), what the backend speaks and perhaps a client certificate.
//! Out: a [`TlsClient`], built when the configuration is compiled. It verifies as its policy says or it does not
//! connect; the one way around is a policy that says so in as many words. Connections, sessions and verification belong to one client, so that no connection
//! is ever shared by two policies, backends or client certificates.
//!
//! Pingora's own rustls connector would build a configuration for each connection, resume no session and know no names
//! but the server's. So Pingora gets its connections from ours ([`TlsConnector`]): of HTTP/1.1 the stream, of HTTP/2 the
//! session. It keeps them in its own pools.

mod anyone;
mod config;
mod connector;
mod dial;
mod dialer;
mod handshake;
mod http2;
mod memory;
mod names;
mod stream;

pub use anyone::Anyone;
pub use config::ClientError;
pub(crate) use config::system as system_roots;
pub(crate) use connector::TlsConnector;
pub(crate) use dial::TlsDial;
pub(super) use dialer::Dialer;
pub(crate) use dialer::{DialError, TlsStream};
pub(super) use http2::{Http2, in_http2};
pub(crate) use memory::PeerMemory;

use pingora_core::protocols::ALPN;
use pingora_core::protocols::tls::CustomALPN;
use pingora_core::upstreams::peer::{HttpPeer, ProxyDigestUserDataHook};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sluice_ir::{Backend, BackendKey, BackendProtocol, Certificate, UpstreamTls};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Tells Pingora to ask our connector. Never sent: what is offered by ALPN is the dialer's affair.
const OURS: &[u8] = b"sluice";

/// Speaks TLS to the endpoints of one backend.
pub struct TlsClient {
    dialer: Arc<Dialer>,
    /// Whether the server name is whatever host is asked for: see [`TlsClient::named`].
    is_template: bool,
    /// Names the client's connections in Pingora's pools.
    key: u64,
    /// Carries the dialer to the connector, within a peer.
    carrier: ProxyDigestUserDataHook,
    /// Ends the idle connections with the client: nobody else may use them.
    _end: DropGuard,
}

impl TlsClient {
    /// Builds everything that connecting needs. `certificate` is shown to endpoints that ask for one, unless the policy
    /// has one of its own.
    ///
    /// # Errors
    /// When the policy or the certificate can't be used as it is. There is no client then, and so no connection.
    pub fn new(
        backend: &Backend,
        policy: &UpstreamTls,
        certificate: Option<&Certificate>,
    ) -> Result<Arc<Self>, ClientError> {
        Self::of_policy(backend.key.clone(), policy, backend.protocol, certificate)
    }

    /// The same for what is no backend of the configuration. `key` names it in logs.
    ///
    /// # Errors
    /// As [`TlsClient::new`].
    pub(crate) fn of_policy(
        key: BackendKey,
        policy: &UpstreamTls,
        protocol: BackendProtocol,
        certificate: Option<&Certificate>,
    ) -> Result<Arc<Self>, ClientError> {
        let end = CancellationToken::new();
        let config = config::build(policy, protocol, policy.certificate.as_deref().or(certificate))?;
        let dialer = Dialer::new(key, config, config::server_name(policy)?, protocol, end.clone());
        Ok(Self::with(Arc::new(dialer), config::is_wildcard(policy), end))
    }

    /// The same for endpoints of the mesh: whom they must be, and who speaks, is the configuration's affair.
    pub(crate) fn of_mesh(
        backend: BackendKey,
        config: Arc<ClientConfig>,
        server_name: ServerName<'static>,
        protocol: BackendProtocol,
    ) -> Arc<Self> {
        let end = CancellationToken::new();
        let dialer = Dialer::new(backend, config, server_name, protocol, end.clone()).in_mesh();
        Self::with(Arc::new(dialer), false, end)
    }

    fn with(dialer: Arc<Dialer>, is_template: bool, end: CancellationToken) -> Arc<Self> {
        let carried = dialer.clone();
        let carrier: ProxyDigestUserDataHook = Arc::new(move |_, _| Some(Box::new(carried.clone())));
        Arc::new(Self { dialer, is_template, key: new_key(), carrier, _end: end.drop_guard() })
    }

    /// Whether it speaks to whatever host is asked for, and to none by itself.
    pub fn is_template(&self) -> bool {
        self.is_template
    }

    /// The same for one host: with connections and a server name of its own, which the certificate must carry. What was
    /// built for the template is shared. Itself, when the policy names the server.
    pub fn named(self: &Arc<Self>, host: &str) -> Arc<Self> {
        match rustls_pki_types::ServerName::try_from(host.to_owned()) {
            Ok(name) if self.is_template => {
                let end = CancellationToken::new();
                Self::with(Arc::new(self.dialer.named(name, end.clone())), false, end)
            }
            _ => self.clone(),
        }
    }

    /// Makes the peer one that this client connects to.
    pub fn prepare(&self, peer: &mut HttpPeer) {
        peer.group_key = self.key;
        peer.options.alpn = ALPN::Custom(CustomALPN::new(OURS.to_vec()));
        peer.options.proxy_digest_user_data_hook = Some(self.carrier.clone());
        // Means nothing to rustls, but is part of Pingora's key: plain connections have it true.
        peer.options.second_keyshare = false;
    }

    /// A new connection that begins with these bytes, for a stream. Bounds no time: the caller does. Cancelling closes the socket.
    pub(crate) async fn dial_after(
        &self,
        address: SocketAddr,
        preface: &[u8],
    ) -> Result<Box<TlsStream>, DialError> {
        self.dialer.dial_after(address, preface).await
    }

    pub(super) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }
}

/// A name in Pingora's pools that nobody else has.
pub(super) fn new_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}
