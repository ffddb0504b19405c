//! One accepted connection, from the socket to its HTTP loop.
//!
//! PROXY header, limit of the client, whole or with requests, TLS or not, HTTP/1 or HTTP/2: in this order, each phase
//! with its deadline. The phases before the loop are boxed, so that a connection that has passed them does not keep their
//! memory.

use super::accept::canonical;
use super::captured::{self, Captured, Direction};
use super::detect::{self, First};
use super::forward;
use super::head::Refusal;
use super::hello::{self, Hello};
use super::io::{ConnIo, Shared, linger};
use super::limit::{ClientSlot, PortSlot, Slots};
use super::observer::{Observer, Refused};
use super::proxy_header::{self, Parsed};
use super::secure::{self, Later, NoTls};
use super::stream::{Carried, Chosen, ClientSide, Stream, StreamConnection, Streams};
use super::transport::Transport;
use super::{ClientCertificate, ConnInfo, PortConfig, TlsInfo, answer, challenge, http1, http2, inbound};
use crate::generation::Generation;
use crate::mesh::MeshState;
use crate::telemetry::Outcome;
use crate::tls::OnDemand;
use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{SocketDigest, TimingDigest};
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use sluice_ir::SpiffeId;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

const OVERLOADED: Refusal = Refusal::new(Outcome::Overloaded, "too many connections");

/// What all connections of a port share.
pub(super) struct Port<A> {
    pub(super) key: SocketAddr,
    pub(super) app: Arc<A>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) streams: Arc<dyn Streams>,
    pub(super) config: Arc<Current>,
    /// Names that certificates are obtained for at handshakes.
    pub(super) on_demand: OnDemand,
    pub(super) slots: Arc<Slots>,
    /// What a sidecar knows besides; `None` at the edge.
    pub(super) mesh: Option<Arc<MeshState>>,
    /// Advances when requests that are being answered may have become forbidden.
    pub(super) permissions: Arc<Generation>,
    /// Turns true when the port is going away.
    pub(super) shutdown: ShutdownWatch,
}

/// The configuration of a port, and word of its next one.
pub(super) struct Current {
    config: ArcSwap<PortConfig>,
    changed: Notify,
}

impl Current {
    pub(super) fn new(config: Arc<PortConfig>) -> Self {
        Self { config: ArcSwap::new(config), changed: Notify::new() }
    }

    pub(super) fn get(&self) -> Arc<PortConfig> {
        self.config.load_full()
    }

    pub(super) fn set(&self, config: Arc<PortConfig>) {
        self.config.store(config);
        self.changed.notify_waiters();
    }

    /// What `look` finds in the configuration of now or later. Cancel safe.
    pub(super) async fn find<T>(&self, look: impl Fn(&PortConfig) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(&self.get()) {
                return found;
            }
            changed.await;
        }
    }
}

impl<A> Port<A> {
    /// Tells the observer of a refusal on a connection that is established.
    pub(super) fn refused(&self, info: &ConnInfo, refusal: Refusal, head: Option<&[u8]>) {
        self.observer.refused(&Refused {
            port: self.key,
            peer: info.peer,
            tls: info.tls.is_some(),
            outcome: refusal.outcome,
            reason: refusal.reason,
            server_name: None,
            head,
            connection: Some(info),
        });
    }

    /// Tells the observer of a connection that is refused before anything of it was understood.
    pub(super) fn refused_early(&self, peer: SocketAddr, tls: bool, outcome: Outcome, reason: &str) {
        let (server_name, head, connection) = (None, None, None);
        let port = self.key;
        self.observer.refused(&Refused { port, peer, tls, outcome, reason, server_name, head, connection });
    }

    pub(super) fn is_going_away(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Waits until the port goes away. Cancel safe.
    pub(super) async fn going_away(&self) {
        // An error means that the sender is gone, and so is the port.
        let _ = self.shutdown.clone().wait_for(|going| *going).await;
    }
}

/// A socket that was accepted.
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) direct_peer: SocketAddr,
    pub(super) slot: PortSlot,
    pub(super) config: Arc<PortConfig>,
    /// What the configuration of its requests and streams is found by: the port's key, unless it was captured.
    pub(super) lookup: SocketAddr,
    /// How it was captured.
    pub(super) captured: Option<Captured>,
}

/// A connection before its HTTP loop.
struct Established {
    transport: Transport,
    info: ConnInfo,
    slots: (PortSlot, ClientSlot),
    handshake: Option<std::time::Duration>,
}

/// What a connection turned out to be.
enum Opened {
    Requests(Box<Established>),
    Stream(Box<dyn Stream>, Box<StreamConnection>),
}

/// Serves the connection to its end.
pub(super) async fn serve<A>(port: Arc<Port<A>>, accepted: Accepted)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let established = match Box::pin(establish(&port, accepted)).await {
        Some(Opened::Requests(established)) => *established,
        Some(Opened::Stream(stream, connection)) => return stream.carry(*connection).await,
        None => return,
    };
    let http2 = established.info.tls.as_ref().is_some_and(|tls| tls.alpn_h2);
    let Ok(io) = conn_io(established) else { return };
    if http2 {
        Box::pin(http2::run(port, io)).await;
    } else if let Some(io) = http1::run(&port, io).await {
        Box::pin(http2::run(port, io)).await;
    }
}

async fn establish<A>(port: &Port<A>, accepted: Accepted) -> Option<Opened> {
    let Accepted { mut socket, direct_peer, slot, config, lookup, captured } = accepted;
    let local = captured.map_or_else(|| socket.local_addr().ok().map(canonical), |it| Some(it.original))?;
    let started = Instant::now();
    let deadline = started + config.limits.tls_handshake_timeout;

    let peer = if config.proxy_protocol == sluice_ir::ProxyProtocol::Required {
        proxied_peer(port, &mut socket, direct_peer, deadline).await?
    } else {
        direct_peer
    };
    // All that goes out of a sidecar is of one client.
    let is_outbound = captured.is_some_and(|it| it.direction == Direction::Outbound);
    let per_client = if is_outbound { u32::MAX } else { config.limits.connections_per_client };
    let Some(client) = port.slots.client(peer.ip(), per_client) else {
        overloaded(port, socket, peer, &config, slot).await;
        return None;
    };

    let mut secured = None;
    let (socket, chosen, server_name) = match config.carried {
        Carried::Requests => (Some(socket), Chosen::Requests, None),
        Carried::Whole => (Some(socket), port.streams.choose(lookup, None), None),
        Carried::ByServerName => {
            let Hello { server_name, asks_proof, .. } = hello(port, &socket, peer, deadline).await?;
            let name = server_name.as_deref();
            if let Some(proof) = name.filter(|_| asks_proof).and_then(|name| config.challenges.proof(name)) {
                let answered = challenge::answer(socket, proof.clone(), name.unwrap_or_default().to_owned());
                let ended = timeout_at(deadline, answered).await;
                let ended = ended.unwrap_or_else(|_| NoTls::Failed("handshake timed out".to_owned()));
                tls_failed(port, peer, ended).await;
                return None;
            }
            (Some(socket), port.streams.choose(lookup, name), server_name)
        }
        Carried::Forward => {
            let (socket, chosen) = forward::choose(port, socket, peer, &config).await?;
            (Some(socket), chosen, None)
        }
        // Nobody has to wait there for a server that speaks first.
        Carried::Detect if captured::is_whole(port, lookup, captured) => {
            (Some(socket), captured::choose(port, lookup, captured, None).await, None)
        }
        Carried::Detect => match detect::first(&socket, config.detection(), deadline).await {
            Ok(First::Left) => return None,
            Ok(First::Requests) => (Some(socket), Chosen::Requests, None),
            Ok(First::Other) => (Some(socket), captured::choose(port, lookup, captured, None).await, None),
            Ok(First::Tls(Hello { server_name, .. })) => {
                let name = server_name.as_deref().unwrap_or_default();
                let chosen = captured::choose(port, lookup, captured, Some(name)).await;
                (Some(socket), chosen, server_name)
            }
            Err(failure) => {
                tls_failed(port, peer, failure).await;
                return None;
            }
        },
        Carried::Inbound => match Box::pin(inbound::open(port, socket, peer, captured, &config)).await? {
            inbound::Opened::Plain(socket, chosen) => (Some(socket), chosen, None),
            inbound::Opened::Secured(of_mesh, chosen) => {
                let name = of_mesh.info.server_name.clone();
                secured = Some(of_mesh);
                (None, chosen, name)
            }
        },
    };
    let stream = match chosen {
        Chosen::Requests => None,
        // Where TLS ends here the handshake comes first: it may be a certificate authority that asks.
        Chosen::Stream(stream)
            if stream.has_route()
                || stream.ends_tls()
                || !matches!(config.carried, Carried::ByServerName | Carried::Requests) =>
        {
            Some(stream)
        }
        // The port is going away, and its client may speak anything.
        Chosen::Nobody if matches!(config.carried, Carried::Whole | Carried::Inbound) => return None,
        Chosen::Stream(_) | Chosen::Nobody => {
            if let Some(socket) = socket {
                refuse(port, socket, peer, server_name, captured).await;
            }
            return None;
        }
    };
    let ends_tls = stream.as_ref().is_none_or(|stream| stream.ends_tls());
    let mut known = Known::default();
    let transport = match (socket, secured, config.tls.as_deref().filter(|_| ends_tls)) {
        (_, Some(of_mesh), _) => {
            let inbound::Secured { stream, info, certificate, peer_id, told } = *of_mesh;
            known = Known {
                tls: Some(info),
                certificate: Some(certificate),
                peer_id: Some(peer_id),
                told_of_peer: told,
            };
            Transport::Tls(stream)
        }
        (None, None, _) => return None,
        (Some(socket), None, None) => Transport::Plain(socket),
        (Some(socket), None, Some(tls)) => {
            let later = Later { config: &port.config, on_demand: &port.on_demand };
            let handshake = secure::handshake(socket, &config, tls, stream.is_none(), later);
            let shaken = timeout_at(deadline, handshake).await;
            match shaken.unwrap_or_else(|_| Err(NoTls::Failed("handshake timed out".to_owned()))) {
                Ok(secure::Shaken { stream, info, client }) => {
                    known = Known { tls: Some(info), certificate: client, ..Known::default() };
                    Transport::Tls(stream)
                }
                Err(failure) => {
                    tls_failed(port, peer, failure).await;
                    return None;
                }
            }
        }
    };
    let handshake = known.tls.is_some().then(|| started.elapsed());
    let Known { tls, certificate, peer_id, told_of_peer } = known;
    let info = ConnInfo {
        port: lookup,
        peer,
        peer_field: ConnInfo::field_of(peer.ip()),
        direct_peer,
        local,
        tls,
        client_certificate: certificate,
        limits: config,
        captured,
        peer_id,
        told_of_peer,
        caller: OnceLock::new(),
    };
    let slots = (slot, client);
    Some(match stream {
        None => Opened::Requests(Box::new(Established { transport, info, slots, handshake })),
        Some(stream) => {
            let client = match transport {
                Transport::Plain(socket) => ClientSide::Plain(socket),
                Transport::Tls(tls) => ClientSide::Tls(tls),
                Transport::Gone => return None,
            };
            let started = started.into_std();
            let connection = StreamConnection { client, info, server_name, started, slots };
            Opened::Stream(stream, Box::new(connection))
        }
    })
}

/// What a handshake has shown.
#[derive(Default)]
struct Known {
    tls: Option<TlsInfo>,
    certificate: Option<ClientCertificate>,
    peer_id: Option<Arc<SpiffeId>>,
    told_of_peer: Option<HeaderValue>,
}

/// The ClientHello of the connection, which stays in the socket.
async fn hello<A>(port: &Port<A>, socket: &TcpStream, peer: SocketAddr, deadline: Instant) -> Option<Hello> {
    let looked = timeout_at(deadline, hello::wait_for(socket)).await;
    match looked.unwrap_or_else(|_| Err(NoTls::Failed("no ClientHello in time".to_owned()))) {
        Ok(hello) => Some(hello),
        Err(failure) => {
            tls_failed(port, peer, failure).await;
            None
        }
    }
}

/// Ends the connection of a client that nobody answers for, without a word: where connections are passed through, this side
/// is no end of TLS (GEP-2643: the client meets an end or a reset).
async fn refuse<A>(
    port: &Port<A>,
    mut socket: TcpStream,
    peer: SocketAddr,
    server_name: Option<String>,
    captured: Option<Captured>,
) {
    // What is unread would make a reset of the close.
    let mut seen = [0; 4096];
    while socket.try_read(&mut seen).is_ok_and(|len| len > 0) {}
    let unknown = captured.map(|it| format!("{} is no destination of the mesh (REGISTRY_ONLY)", it.original));
    let reason = match (&unknown, &server_name) {
        (Some(unknown), _) => unknown.as_str(),
        (None, Some(_)) => "no listener and route for the server name",
        (None, None) => "no server name, and no listener and route for every name",
    };
    let outcome = if captured.is_some() { Outcome::EgressRefused } else { Outcome::NoRoute };
    let tls = captured.is_none() || server_name.is_some();
    let server_name = server_name.as_deref();
    let (head, connection) = (None, None);
    port.observer.refused(&Refused {
        port: port.key,
        peer,
        tls,
        outcome,
        reason,
        server_name,
        head,
        connection,
    });
    let _ = socket.shutdown().await;
    linger(socket).await;
}

/// The client that the PROXY header names.
async fn proxied_peer<A>(
    port: &Port<A>,
    socket: &mut TcpStream,
    direct_peer: SocketAddr,
    deadline: Instant,
) -> Option<SocketAddr> {
    let reason = match timeout_at(deadline, proxy_header::read(socket)).await {
        Ok(Ok(Parsed::Client(peer))) => return Some(peer),
        Ok(Ok(Parsed::Itself)) => return Some(direct_peer),
        // A health check that only connects.
        Ok(Err(proxy_header::ProxyHeaderError::Socket(error))) if is_departure(&error) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no PROXY header in time".to_owned(),
    };
    port.refused_early(direct_peer, false, Outcome::BadRequest, &reason);
    None
}

fn is_departure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Answers 503 on a plain port, closes on a TLS port.
pub(super) async fn overloaded<A>(
    port: &Port<A>,
    socket: TcpStream,
    peer: SocketAddr,
    config: &PortConfig,
    slot: impl Send,
) {
    overloaded_silently(port, peer, config);
    if config.tls.is_none() && config.carried == Carried::Requests {
        farewell(socket, OVERLOADED).await;
    }
    drop(slot);
}

/// Only tells the observer; the socket is closed by dropping it.
pub(super) fn overloaded_silently<A>(port: &Port<A>, peer: SocketAddr, config: &PortConfig) {
    let Refusal { outcome, reason } = OVERLOADED;
    let tls = config.tls.is_some() || config.carried == Carried::ByServerName;
    port.refused_early(peer, tls, outcome, reason);
}

pub(super) async fn tls_failed<A>(port: &Port<A>, peer: SocketAddr, failure: NoTls) {
    match failure {
        NoTls::Left => {}
        NoTls::Challenge(name) => {
            tracing::info!(port = %port.key, %peer, name, "a TLS-ALPN-01 challenge is answered")
        }
        NoTls::Failed(reason) => port.observer.tls_failed(port.key, peer, &reason),
        NoTls::PlainHttp(socket) => {
            let refusal = Refusal::new(Outcome::BadRequest, "client sent HTTP to an HTTPS port");
            port.refused_early(peer, true, refusal.outcome, refusal.reason);
            farewell(socket, refusal).await;
        }
    }
}

/// Answers on a bare socket and closes it, without waiting for a client that does not read: a fresh socket's buffer
/// takes the whole answer at once.
async fn farewell(mut socket: TcpStream, refusal: Refusal) {
    if socket.writable().await.is_ok() && socket.try_write(answer::render(refusal).as_bytes()).is_ok() {
        let _ = socket.shutdown().await;
        linger(socket).await;
    }
}

/// Wraps the connection for Pingora.
fn conn_io(established: Established) -> pingora_error::Result<Box<ConnIo>> {
    let Established { transport, info, slots, handshake } = established;
    let info = Arc::new(info);
    let socket = SocketDigest::from_raw_fd(transport.fd());
    // Both cells are new, so that setting them can't fail.
    let _ = socket.peer_addr.set(Some(PingoraAddr::Inet(info.peer)));
    let _ = socket.local_addr.set(Some(PingoraAddr::Inet(info.local)));
    let ssl = match (&transport, &info.tls) {
        (Transport::Tls(stream), Some(tls)) => Some(Arc::new(ssl_digest(stream, tls))),
        _ => None,
    };
    let response = Box::new(ResponseHeader::build_no_case(200, Some(0))?);
    let proxy = Arc::new(ProxyDigest::new(response, Some(Box::new(info.clone()))));
    let timing = TimingDigest {
        established_ts: SystemTime::now(),
        establishment_duration: handshake,
        ..TimingDigest::default()
    };
    let shared = Shared { info, proxy, socket: Arc::new(socket), ssl, timing, _slots: slots };
    Ok(ConnIo::new(transport, Arc::new(shared)))
}

fn ssl_digest(stream: &tokio_rustls::server::TlsStream<TcpStream>, tls: &TlsInfo) -> SslDigest {
    let cipher = stream.get_ref().1.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    SslDigest::new(cipher.unwrap_or("unknown"), tls.version, None, None, Vec::new())
}
