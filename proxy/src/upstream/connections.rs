//! Connections for requests of our own, which Pingora knows nothing of: copies, and questions to authorisers.
//!
//! An HTTP/1.1 connection belongs to one exchange at a time; an HTTP/2 connection is shared. A connection and the
//! task that drives it live and die together, so that dropping an exchange always closes what it blocked on.

use super::TlsClient;
use super::tls::DialError;
use ahash::AHashMap;
use bytes::Bytes;
use hyper::body::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// An HTTP/2 peer that is silent for so long is asked whether it lives, and has as long to answer.
const PING: Duration = Duration::from_secs(20);

/// Bytes that the head of an answer may have.
const HEAD_BYTES: u32 = 64 * 1024;

/// So many peers at a time can be connected to in HTTP/2 without waiting for each other.
const DIALS: usize = 16;

/// What a request of ours carries.
pub(crate) trait Sent: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Sent for B {}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepLimits {
    /// Time to connect.
    pub(crate) connect_timeout: Duration,
    /// Idle connections of one address.
    pub(crate) idle_connections: usize,
    /// How long an idle connection is kept.
    pub(crate) idle_timeout: Duration,
}

/// A connection's sending end and the task behind it.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) sender: S,
    _driver: AbortOnDropHandle<()>,
}

pub(crate) type Http1<B> = Connection<http1::SendRequest<B>>;
pub(crate) type Http2<B> = Arc<Connection<http2::SendRequest<B>>>;

/// Whom a connection belongs to: connections of different TLS clients are never exchanged.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<TlsClient>>,
}

impl Peer {
    fn client(&self) -> *const TlsClient {
        self.tls.as_ref().map_or(std::ptr::null(), Arc::as_ptr)
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && self.client() == other.client()
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        self.client().hash(state);
    }
}

/// No connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody listens, or the network is down.
    #[error("connect: {0}")]
    Io(#[from] std::io::Error),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] DialError),
    /// The limit passed.
    #[error("connect: no answer in time")]
    Timeout,
    /// The peer does not speak HTTP/2.
    #[error("handshake: {0}")]
    Handshake(#[from] hyper::Error),
}

/// What hyper reads and writes.
type Stream = Box<dyn Wire>;

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

async fn open(peer: &Peer) -> Result<Stream, ConnectError> {
    if let Some(client) = &peer.tls {
        return Ok(client.dialer().dial(peer.address).await?);
    }
    let stream = TcpStream::connect(peer.address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Connections that nobody uses, and since when.
type Idle<B> = AHashMap<Peer, Vec<(Http1<B>, Instant)>>;

/// Idle and shared connections by peer.
#[derive(Debug)]
pub(crate) struct Connections<B> {
    me: Weak<Self>,
    limits: KeepLimits,
    idle: Mutex<Idle<B>>,
    shared: Mutex<AHashMap<Peer, (Http2<B>, Instant)>>,
    /// Held while a peer is connected to in HTTP/2, so that many requests at once make one connection.
    dialing: [tokio::sync::Mutex<()>; DIALS],
    hasher: ahash::RandomState,
    /// Whether the task that closes old connections runs.
    sweeping: AtomicBool,
}

impl<B: Sent> Connections<B> {
    pub(crate) fn new(limits: KeepLimits) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            limits,
            idle: Mutex::default(),
            shared: Mutex::default(),
            dialing: Default::default(),
            hasher: ahash::RandomState::new(),
            sweeping: AtomicBool::new(false),
        })
    }

    /// The connection to the peer that was used last, if it still stands.
    pub(crate) fn take_idle(&self, peer: &Peer) -> Option<Http1<B>> {
        let mut idle = self.idle.lock();
        let connections = idle.get_mut(peer)?;
        while let Some((connection, since)) = connections.pop() {
            if !connection.sender.is_closed() && since.elapsed() < self.limits.idle_timeout {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over.
    pub(crate) fn keep(&self, peer: &Peer, connection: Http1<B>) {
        let mut idle = self.idle.lock();
        let connections = idle.entry(peer.clone()).or_default();
        if connections.len() < self.limits.idle_connections {
            connections.push((connection, Instant::now()));
        }
        drop(idle);
        self.start_sweeping();
    }

    /// A new HTTP/1.1 connection.
    pub(crate) async fn connect_http1(&self, peer: &Peer) -> Result<Http1<B>, ConnectError> {
        let stream = self.stream(peer).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES as usize);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    /// The shared HTTP/2 connection, or a new one.
    pub(crate) async fn http2(&self, peer: &Peer) -> Result<Http2<B>, ConnectError> {
        if let Some(connection) = self.shared(peer) {
            return Ok(connection);
        }
        let place = usize::try_from(self.hasher.hash_one(peer)).unwrap_or_default() % DIALS;
        let _dialing = match self.dialing.get(place) {
            Some(place) => Some(place.lock().await),
            None => None,
        };
        if let Some(connection) = self.shared(peer) {
            return Ok(connection);
        }
        let stream = self.stream(peer).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        builder.max_header_list_size(HEAD_BYTES);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move { drop(driver.await) });
        let connection = Arc::new(Connection { sender, _driver: AbortOnDropHandle::new(driver) });
        self.shared.lock().insert(peer.clone(), (connection.clone(), Instant::now()));
        self.start_sweeping();
        Ok(connection)
    }

    fn shared(&self, peer: &Peer) -> Option<Http2<B>> {
        let mut shared = self.shared.lock();
        let (connection, used) = shared.get_mut(peer).filter(|(it, _)| !it.sender.is_closed())?;
        *used = Instant::now();
        Some(connection.clone())
    }

    async fn stream(&self, peer: &Peer) -> Result<Stream, ConnectError> {
        let connecting = tokio::time::timeout(self.limits.connect_timeout, open(peer));
        connecting.await.map_err(|_| ConnectError::Timeout)?
    }

    /// Closes connections that broke or were idle for too long.
    fn sweep(&self) {
        let old = |since: &Instant| since.elapsed() >= self.limits.idle_timeout;
        self.idle.lock().retain(|_, connections| {
            connections.retain(|(connection, since)| !connection.sender.is_closed() && !old(since));
            !connections.is_empty()
        });
        // Streams hold the connection too: it closes with the last of them.
        self.shared.lock().retain(|_, (connection, used)| !connection.sender.is_closed() && !old(used));
    }

    /// One task for as long as the client lives, started with the first connection that is kept.
    fn start_sweeping(&self) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let (connections, pause) =
            (self.me.clone(), self.limits.idle_timeout.max(Duration::from_millis(20)) / 2);
        drop(tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                match connections.upgrade() {
                    Some(connections) => connections.sweep(),
                    None => break,
                }
            }
        }));
    }

    /// Connections that wait or are shared.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.idle.lock().values().map(Vec::len).sum::<usize>() + self.shared.lock().len()
    }
}
