//! TLS as a policy says, to something that is no backend: the connection is its owner's alone.

use super::config::{self, ClientError};
use super::dialer::TlsStream;
use rustls_pki_types::ServerName;
use sluice_ir::{BackendProtocol, UpstreamTls};
use std::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Shakes hands with one server.
pub(crate) struct TlsDial {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl TlsDial {
    /// Verifies as the policy says, shows the certificate that it has, offers nothing by ALPN.
    ///
    /// # Errors
    /// When the policy can't be used as it is.
    pub(crate) fn new(policy: &UpstreamTls) -> Result<Self, ClientError> {
        let config = config::build(policy, BackendProtocol::Tcp, policy.certificate.as_deref())?;
        Ok(Self { connector: config.into(), server_name: config::server_name(policy)? })
    }

    /// The handshake. Bounds no time: the caller does.
    pub(crate) async fn handshake(&self, socket: TcpStream) -> io::Result<TlsStream> {
        self.connector.connect(self.server_name.clone(), socket).await
    }
}
