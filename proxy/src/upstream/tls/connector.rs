//! Where Pingora gets the connections of TLS backends.

use super::handshake::{handshake, settled};
use super::http2::Http2;
use super::stream::ClientStream;
use super::{DialError, Dialer};
use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::custom::{Connection, Connector};
use pingora_core::connectors::http::v2;
use pingora_core::protocols::Stream;
use pingora_core::upstreams::peer::Peer;
use pingora_error::{BError, Error, ErrorType, OkOrErr, Result};
use pingora_http::ResponseHeader;
use sluice_ir::BackendProtocol;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Opens TLS connections for Pingora, and hands out those of HTTP/2 again. Pingora itself keeps those of HTTP/1.1.
pub(crate) struct TlsConnector {
    /// Its pools: connections with streams, and idle ones. It never connects.
    kept: v2::Connector,
    /// By the key of an HTTP/2 peer, while somebody is there.
    gates: Mutex<AHashMap<u64, Weak<Gate>>>,
}

/// One at a time for an HTTP/2 peer. Pingora's pools take a connection out to open a stream on it, and who comes just
/// then finds none and opens another.
#[derive(Default)]
struct Gate {
    /// Held by who takes from the pools or gives back, never for long.
    pools: tokio::sync::Mutex<()>,
    /// Held by who opens a connection: those who come meanwhile wait and then share it.
    opening: tokio::sync::Mutex<()>,
    /// Held until the endpoint has said how many streams the newest connection takes. Whoever shares it before would be
    /// refused in a crowd, and with the same crowd on the next one.
    settling: Arc<tokio::sync::RwLock<()>>,
}

impl TlsConnector {
    /// Keeps at most as many idle connections as the options say.
    pub(crate) fn new(options: ConnectorOptions) -> Self {
        Self { kept: v2::Connector::new(Some(options)), gates: Mutex::default() }
    }

    /// A stream on a connection that somebody else has opened meanwhile, else on a new one.
    async fn http2<P: Peer + Send + Sync + 'static>(
        &self,
        dialer: &Dialer,
        peer: &P,
    ) -> Result<(Http2, bool)> {
        let gate = self.gate(peer.reuse_hash());
        let _opening = gate.opening.lock().await;
        drop(gate.settling.read().await);
        if let Some(session) = self.reused_http_session(peer).await {
            return Ok((session, true));
        }
        let stream: Stream = Box::new(open(dialer, peer).await?);
        let most = peer.get_peer_options().map_or(1, |options| options.max_h2_streams);
        let (connection, pings) = handshake(stream, most).await?;
        let settling = gate.settling.clone().write_owned().await;
        let _pools = gate.pools.lock().await;
        let session = connection.spawn_stream().await?;
        let session =
            session.or_err(ErrorType::H2Error, "the endpoint takes no stream on a new connection")?;
        if connection.more_streams_allowed() {
            self.kept.in_use_pool().insert(peer.reuse_hash(), connection);
        }
        // Nobody may be there until then, and who comes must find this gate.
        let gate = gate.clone();
        tokio::spawn(async move {
            settled(pings).await;
            drop((settling, gate));
        });
        Ok((Http2::new(session), false))
    }

    fn gate(&self, key: u64) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(&key).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::<Gate>::default();
        gates.insert(key, Arc::downgrade(&gate));
        gate
    }
}

#[async_trait]
impl Connector for TlsConnector {
    type Session = Http2;

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(Connection<Http2>, bool)> {
        let dialer = dialer(peer)?;
        let limit = peer.total_connection_timeout();
        match dialer.protocol() {
            // Pingora asks for HTTP only: the others have their own way to the dialer.
            BackendProtocol::Http1 | BackendProtocol::Tcp | BackendProtocol::Udp => {
                let stream = within(limit, open(&dialer, peer)).await?;
                Ok((Connection::Stream(Box::new(stream)), false))
            }
            BackendProtocol::H2c => {
                let (session, reused) = within(limit, self.http2(&dialer, peer)).await?;
                Ok((Connection::Session(session), reused))
            }
        }
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Option<Http2> {
        if !is_http2(peer) {
            // Pingora keeps these.
            return None;
        }
        let gate = self.gate(peer.reuse_hash());
        // Who has to wait for an endpoint does so where time is bounded.
        drop(gate.settling.try_read().ok()?);
        let _pools = gate.pools.lock().await;
        // A connection that breaks just now is like none.
        let session = self.kept.reused_http_session(peer).await.ok()??;
        Some(Http2::new(session))
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        session: Http2,
        peer: &P,
        idle_timeout: Option<Duration>,
    ) {
        let gate = self.gate(peer.reuse_hash());
        let _pools = gate.pools.lock().await;
        self.kept.release_http_session(session.into_inner(), peer, idle_timeout);
    }
}

fn is_http2<P: Peer>(peer: &P) -> bool {
    peer.get_peer_options().is_some_and(|options| options.max_h2_streams > 1)
}

async fn open<P: Peer>(dialer: &Dialer, peer: &P) -> Result<ClientStream> {
    let Some(address) = peer.address().as_inet() else {
        return Error::e_explain(ErrorType::ConnectError, "not an address of the internet family");
    };
    let started = Instant::now();
    let stream = dialer.dial(*address).await.map_err(DialError::into_pingora)?;
    if let Some(keepalive) = peer.tcp_keepalive() {
        crate::upstream::keep_alive(stream.get_ref().0, keepalive)
            .map_err(|error| DialError::Connect(error).into_pingora())?;
    }
    Ok(ClientStream::new(stream, *address, dialer, started.elapsed()))
}

async fn within<T>(limit: Option<Duration>, opening: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(limit) = limit else { return opening.await };
    let overdue = |_| -> BError { Error::explain(ErrorType::ConnectTimedout, "TLS to an endpoint") };
    tokio::time::timeout(limit, opening).await.map_err(overdue)?
}

/// Takes the dialer out of the peer that [`TlsClient::prepare`](super::TlsClient::prepare) has put it into: Pingora
/// knows peers by what it can compare, and this is the one place of theirs that takes anything.
fn dialer<P: Peer>(peer: &P) -> Result<Arc<Dialer>> {
    let carried = || {
        let carrier = peer.proxy_digest_user_data_hook()?;
        let request = http::Request::new(()).into_parts().0;
        let response = ResponseHeader::build(200, Some(0)).ok()?;
        carrier(&request, &response)?.downcast::<Arc<Dialer>>().ok()
    };
    carried().map(|dialer| *dialer).or_err(ErrorType::InternalError, "a TLS peer without its client")
}
