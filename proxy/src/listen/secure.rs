//! The TLS handshake of a connection: read the ClientHello, choose the configuration by server name, finish.

use super::connection::Current;
use super::{ClientCertificate, PortConfig, TlsInfo};
use crate::tls::{Chosen, OnDemand, PortTls};
use rustls::server::{Acceptor, ClientHello};
use rustls::{HandshakeKind, ProtocolVersion};
use sluice_ir::GatewayKey;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Fatal alerts as a server sends them before its hello (RFC 8446 §6): unrecognized_name and missing_extension.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
const MISSING_EXTENSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 109];

/// Why there is no TLS on the connection.
pub(super) enum NoTls {
    /// The client sent plain HTTP: the socket, with the request still unread.
    PlainHttp(TcpStream),
    /// The client left without a word: a health check or a scan.
    Left,
    /// A certificate authority has seen what it asked for, for this name: nothing else follows (RFC 8737 §3).
    Challenge(String),
    /// The handshake failed.
    Failed(String),
}

impl From<io::Error> for NoTls {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A handshake that came to its end.
pub(super) struct Shaken {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) info: TlsInfo,
    pub(super) client: Option<ClientCertificate>,
}

/// Performs the handshake. Give the connection up when the deadline passes. `alpn`: what is within is HTTP, and the
/// client may choose its version; else it is nobody's affair here.
pub(super) async fn handshake(
    socket: TcpStream,
    config: &PortConfig,
    tls: &PortTls,
    alpn: bool,
    later: Later<'_>,
) -> Result<Shaken, NoTls> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(NoTls::Left),
        Ok(_) if first[0].is_ascii_alphabetic() => return Err(NoTls::PlainHttp(socket)),
        Ok(_) => {}
    }
    let started = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let hello = started.client_hello();
    let server_name = server_name(&hello);
    if let Some(config) = config.challenges.tls(server_name.as_deref(), &hello).cloned() {
        let mut stream = started.into_stream(config).await?;
        let _ = stream.shutdown().await;
        return Err(NoTls::Challenge(server_name.unwrap_or_default()));
    }
    let name = server_name.as_deref();
    let chosen = match (tls.choose(name), name, &config.gateway) {
        (Some(chosen), _, _) => Ok(chosen),
        (None, Some(name), Some(gateway)) if tls.asks(Some(name)) => {
            Box::pin(later.obtain(gateway, name)).await
        }
        (None, _, _) => Err(reason(name, tls.waits(name))),
    };
    let mut chosen = match chosen {
        Ok(chosen) => chosen,
        Err(reason) => return Err(refuse(started.io, name, reason).await),
    };
    chosen.heed(&started.client_hello());
    if !alpn {
        // Offers are left unanswered (RFC 7301 §3.2). Keys, tickets and sessions stay shared.
        Arc::make_mut(&mut chosen.config).alpn_protocols.clear();
    }
    let stream = started.into_stream(chosen.config.clone()).await?;
    let session = stream.get_ref().1;
    let info = TlsInfo {
        server_name,
        version: version(session.protocol_version()),
        alpn_h2: session.alpn_protocol() == Some(b"h2"),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    let client = session.peer_certificates().filter(|chain| !chain.is_empty());
    let client = client.map(|chain| ClientCertificate::new(chain.to_vec(), chosen.vouches_for(chain)));
    Ok(Shaken { stream: Box::new(stream), info, client })
}

pub(super) fn version(negotiated: Option<ProtocolVersion>) -> &'static str {
    match negotiated {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "unknown",
    }
}

/// The name that a client asks for (SNI, RFC 6066 §3): lower case, without trailing dot.
pub fn server_name(hello: &ClientHello<'_>) -> Option<String> {
    hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

/// Certificates that are obtained while a client waits.
pub(super) struct Later<'a> {
    pub(super) config: &'a Current,
    pub(super) on_demand: &'a OnDemand,
}

impl Later<'_> {
    /// What the handshake goes by once the name has a certificate, or why it gets none.
    async fn obtain(&self, gateway: &GatewayKey, name: &str) -> Result<Chosen, String> {
        match self.on_demand.obtain(gateway, name).await {
            Ok(()) => {
                let choose = |config: &PortConfig| config.tls.as_deref()?.choose(Some(name));
                Ok(self.config.find(choose).await)
            }
            Err(refused) => Err(format!("no certificate for server name {name}: {refused}")),
        }
    }
}

/// Why nobody answers for a server name. `waits`: there is a listener, without a certificate.
fn reason(server_name: Option<&str>, waits: bool) -> String {
    match server_name {
        Some(name) if waits => format!("the listener for server name {name} has no certificate"),
        Some(name) => format!("no listener for server name {name}"),
        None => "no server name, and no listener for every host".to_owned(),
    }
}

/// Says the last word on a connection whose server name nobody answers for.
async fn refuse(mut socket: TcpStream, server_name: Option<&str>, reason: String) -> NoTls {
    let alert = if server_name.is_some() { UNRECOGNIZED_NAME } else { MISSING_EXTENSION };
    // The buffer of a fresh socket takes seven bytes at once; an error means that the client is gone.
    let _ = socket.write_all(&alert).await;
    let _ = socket.shutdown().await;
    NoTls::Failed(reason)
}
