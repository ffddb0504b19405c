//! What comes to the application beside a sidecar: the mesh's TLS, which ends here; anything else as far as the workload
//! takes it (PeerAuthentication).

use super::captured::Captured;
use super::connection::{Port, tls_failed};
use super::detect::{self, First};
use super::hello::Within;
use super::secure::{self, NoTls};
use super::stream::Chosen;
use super::{ClientCertificate, PortConfig, TlsInfo};
use crate::identity::peer_id;
use crate::mesh::{INBOUND, MeshState};
use crate::telemetry::Outcome;
use http::HeaderValue;
use sluice_ir::{MutualTlsMode, SpiffeId};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// First bytes are waited for so many times as long where they may be the mesh's TLS: a client of the mesh speaks at once,
/// but a packet may be lost.
const PATIENCE: u32 = 5;

/// A connection whose way is known.
pub(super) enum Opened {
    /// As it came.
    Plain(TcpStream, Chosen),
    /// Out of the mesh's TLS.
    Secured(Box<Secured>, Chosen),
}

/// The mesh's TLS after its handshake.
pub(super) struct Secured {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) info: TlsInfo,
    pub(super) certificate: ClientCertificate,
    pub(super) peer_id: Arc<SpiffeId>,
    pub(super) told: Option<HeaderValue>,
}

/// Looks at what comes and ends the mesh's TLS; `None`: the connection is over.
pub(super) async fn open<A>(
    port: &Port<A>,
    socket: TcpStream,
    peer: SocketAddr,
    captured: Option<Captured>,
    config: &PortConfig,
) -> Option<Opened> {
    let deadline = Instant::now() + config.limits.tls_handshake_timeout;
    let (Some(mesh), Some(captured)) = (&port.mesh, captured) else { return None };
    let Some(mode) = mesh.mode(captured.original.port()) else {
        port.refused_early(peer, false, Outcome::NotConfigured, "what the workload takes is not known yet");
        return None;
    };
    let wait = match mode {
        MutualTlsMode::Strict => config.limits.tls_handshake_timeout,
        MutualTlsMode::Permissive => config.detection() * PATIENCE,
        MutualTlsMode::Disable => config.detection(),
    };
    let first = match detect::first(&socket, wait, deadline).await {
        Ok(first) => first,
        Err(failure) => {
            tls_failed(port, peer, failure).await;
            return None;
        }
    };
    let is_strict = mode == MutualTlsMode::Strict;
    match first {
        First::Left => None,
        First::Tls(hello) if hello.within.is_some() && mode != MutualTlsMode::Disable => {
            let within = hello.within.unwrap_or(Within::Whole);
            match timeout_at(deadline, handshake(mesh, socket, within)).await {
                Ok(Ok(secured)) => {
                    let chosen = match within {
                        Within::Http1 | Within::Http2 => Chosen::Requests,
                        Within::Whole => port.streams.choose(INBOUND, None),
                    };
                    Some(Opened::Secured(Box::new(secured), chosen))
                }
                Ok(Err(failure)) => {
                    tls_failed(port, peer, failure).await;
                    None
                }
                Err(_) => {
                    tls_failed(port, peer, NoTls::Failed("handshake timed out".to_owned())).await;
                    None
                }
            }
        }
        First::Tls(_) if is_strict => {
            port.refused_early(
                peer,
                true,
                Outcome::PlaintextRefused,
                "TLS, but not the mesh's: the workload is STRICT",
            );
            None
        }
        First::Requests | First::Other if is_strict => {
            port.refused_early(
                peer,
                false,
                Outcome::PlaintextRefused,
                "no TLS of the mesh: the workload is STRICT",
            );
            None
        }
        First::Requests => Some(Opened::Plain(socket, Chosen::Requests)),
        First::Tls(_) | First::Other => Some(Opened::Plain(socket, port.streams.choose(INBOUND, None))),
    }
}

async fn handshake(mesh: &MeshState, socket: TcpStream, within: Within) -> Result<Secured, NoTls> {
    let own = mesh.own.wait().await;
    let config = own.server(within).map_err(|reason| NoTls::Failed(reason.to_owned()))?;
    let stream = Box::new(TlsAcceptor::from(config.clone()).accept(socket).await?);
    let session = stream.get_ref().1;
    let chain = session.peer_certificates().unwrap_or_default().to_vec();
    let peer_id =
        peer_id(Some(&chain)).ok_or_else(|| NoTls::Failed("the client has no identity".to_owned()))?;
    let info = TlsInfo {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase()),
        version: secure::version(session.protocol_version()),
        alpn_h2: within == Within::Http2,
        resumed: false,
    };
    let told = crate::tls::details::of_peer(&chain, own.id().as_str(), peer_id.as_str());
    let told = told.and_then(|told| HeaderValue::try_from(told).ok());
    let certificate = ClientCertificate::new(chain, true);
    Ok(Secured { stream, info, certificate, peer_id: Arc::new(peer_id), told })
}
