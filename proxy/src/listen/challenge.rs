//! TLS-ALPN-01 (RFC 8737) where the server name chooses between carrying and serving: a certificate authority that asks
//! for what this Gateway is to prove is answered before anybody's connection is carried.

use super::secure::NoTls;
use rustls::ServerConfig;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Shows the authority what it asks for; nothing follows (RFC 8737 §3). How the connection ended.
pub(super) async fn answer(socket: TcpStream, config: Arc<ServerConfig>, server_name: String) -> NoTls {
    match TlsAcceptor::from(config).accept(socket).await {
        Ok(mut stream) => {
            let _ = stream.shutdown().await;
            NoTls::Challenge(server_name)
        }
        Err(error) => error.into(),
    }
}
