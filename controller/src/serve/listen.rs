//! The port: connections with a bound on their number, TLS with a bound on its time, then tonic.

use super::auth::Authenticator;
use super::stream::Streams;
use super::{Distributor, Names, limits, obtain, peers};
use crate::accept::accept;
use crate::ca::ServingCertificate;
use crate::identity;
use anyhow::Context as _;
use rustls_pki_types::CertificateDer;
use sluice_xds::identity::Create;
use sluice_xds::obtain::Obtain;
use sluice_xds::peers::Watch;
use sluice_xds::server::{Delta, Server};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport;
use tonic::transport::server::Connected;

/// How the server listens.
#[derive(Clone)]
pub struct ServeOptions {
    /// Where.
    pub address: SocketAddr,
    /// Name of this replica, its pod's.
    pub replica: String,
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Who the other replicas of the controller are: `None` when there can be no other.
    pub peers: Option<peers::PeerIdentity>,
    /// What answers names of handshakes; `None`: nothing does.
    pub names: Option<Names>,
    /// Holds the token of this replica, by which it passes names on.
    pub token_file: PathBuf,
    /// What issues certificates of workloads; `None`: nothing does.
    pub issuer: Option<Arc<identity::Issuer>>,
}

impl ServeOptions {
    /// The bounds that fit a controller, and no other replicas.
    pub fn new(address: SocketAddr, replica: impl Into<String>) -> Self {
        Self {
            address,
            replica: replica.into(),
            connections: limits::CONNECTIONS,
            peers: None,
            names: None,
            token_file: PathBuf::new(),
            issuer: None,
        }
    }
}

/// Serves data planes until `stop`. Returns the bound address as soon as it listens.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve(
    distributor: Distributor,
    options: ServeOptions,
    authenticator: Arc<dyn Authenticator>,
    tls: Arc<ServingCertificate>,
    stop: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(options.address)
        .await
        .with_context(|| format!("{} can't be bound; choose another with --serve", options.address))?;
    let address = listener.local_addr().context("address of the server")?;
    let (sender, connections) = mpsc::channel(1);
    let acceptor = TlsAcceptor::from(tls.config());
    tokio::spawn(take(listener, options.connections, acceptor, sender, stop.clone()));
    let names = obtain::Answers {
        distributor: distributor.clone(),
        authenticator: authenticator.clone(),
        names: options.names,
        peers: options.peers.clone(),
        token_file: options.token_file,
    };
    let peers = peers::Answers {
        distributor: distributor.clone(),
        authenticator: authenticator.clone(),
        replica: options.replica.clone(),
        identity: options.peers,
        stop: stop.clone(),
    };
    let issuing = identity::Service { issuer: options.issuer, authenticator: authenticator.clone() };
    let streams = Streams { distributor, authenticator, replica: options.replica, stop: stop.clone() };
    let router = transport::Server::builder()
        .http2_keepalive_interval(Some(limits::PING_INTERVAL))
        .http2_keepalive_timeout(Some(limits::PING_TIME))
        .http2_max_header_list_size(limits::HEADER_BYTES)
        .max_concurrent_streams(limits::STREAMS)
        .add_service(Server::new(Delta::new(Arc::new(streams), limits::REQUEST_BYTES)))
        .add_service(Server::new(Watch::new(Arc::new(peers))))
        .add_service(Server::new(Obtain::new(Arc::new(names))))
        .add_service(Server::new(Create::new(Arc::new(issuing))));
    tokio::spawn(async move {
        let stopped = stop.clone();
        let served = router
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.clone().cancelled_owned());
        let bounded = async {
            stopped.cancelled().await;
            tokio::time::sleep(limits::END_TIME).await;
        };
        tokio::select! {
            ended = served => if let Err(error) = ended {
                tracing::error!(%error, "the server for data planes has failed");
            },
            () = bounded => {}
        }
    });
    Ok(address)
}

async fn take(
    listener: TcpListener,
    connections: usize,
    tls: TlsAcceptor,
    sender: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    accept(listener, connections, stop, "a connection can't be accepted", |stream, peer, slot| {
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            match secure(stream, tls).await {
                Ok(stream) => {
                    let _ = sender.send(Ok(Connection { stream, _slot: slot })).await;
                }
                Err(error) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            }
        });
    })
    .await;
}

async fn secure(stream: TcpStream, tls: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    timeout(limits::HANDSHAKE_TIME, tls.accept(stream)).await?
}

/// The certificates that a client has shown, its own first: it holds the key, and nothing else is checked. For calls that
/// want to know who is at the other end.
#[derive(Clone, Debug, Default)]
pub struct PeerChain(pub Arc<[CertificateDer<'static>]>);

/// A connection that gives its slot back when it ends.
struct Connection {
    stream: TlsStream<TcpStream>,
    _slot: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = PeerChain;

    fn connect_info(&self) -> PeerChain {
        PeerChain(self.stream.get_ref().1.peer_certificates().unwrap_or_default().into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
