//! The way to an endpoint: chosen as for requests, tried again elsewhere while nobody answers.

use super::record::Record;
use super::relay::EndpointSide;
use super::{StreamEngine, Way};
use crate::listen::Captured;
use crate::mesh::Unfit;
use crate::snapshot::BackendRuntime;
use crate::telemetry::Outcome;
use crate::upstream::{
    AskedName, Choice, EjectPolicy, Picked, SessionId, TlsClient, Verdict, connect_from, open_tunnel,
};
use sluice_ir::{ConnectionTerms, Tunnel};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Endpoints that are asked before the connection is given up.
const TRIES: u32 = 3;
/// A peer that vanished is noticed after about two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// What of a client's words decides where it goes.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    /// A server name, or the destination of a tunnel.
    pub(super) host: Option<&'a str>,
    /// Of a tunnel; else 0.
    pub(super) port: u16,
    pub(super) may_be_address: bool,
    /// Where it was going before it was captured.
    pub(super) original: Option<SocketAddr>,
}

/// The host that the client named, where the backend's endpoints are not all known; costs one load where they are.
///
/// # Errors
/// How the stream ends when it leads nowhere.
pub(super) async fn asked(
    backend: &BackendRuntime,
    said: Said<'_>,
) -> Result<Option<Arc<AskedName>>, Outcome> {
    let Some(asked) = backend.pool.asked() else { return Ok(None) };
    let host = said.host.unwrap_or_default();
    if let Some(name) = asked.original(said.original, host) {
        return Ok(Some(name));
    }
    let found = match asked.wants_port() {
        false => asked.find(host, said.may_be_address).await,
        true => asked.find(&format!("{host}:{}", said.port), said.may_be_address).await,
    };
    found.map_err(crate::http::unreachable)
}

/// What a try needs besides the backend.
pub(super) struct To<'a> {
    /// The host that the client named.
    pub(super) asked: Option<&'a AskedName>,
    /// Who speaks TLS to endpoints that are not of the mesh.
    pub(super) tls: Option<&'a Arc<TlsClient>>,
    /// How the client was captured.
    pub(super) captured: Option<Captured>,
    /// The own address.
    pub(super) source: Option<IpAddr>,
}

/// Connects to an endpoint of the backend. The endpoint counts as busy as long as the pick is held.
///
/// # Errors
/// How the stream ends when nobody could be reached.
pub(super) async fn connect(
    engine: &StreamEngine,
    way: &Way,
    backend: &BackendRuntime,
    To { asked, tls, captured, source }: To<'_>,
    record: &mut Record,
) -> Result<(EndpointSide, Picked), Outcome> {
    let settings = way.settings();
    let report = |picked: &Picked, verdict| {
        picked.report(verdict, Instant::now(), backend.ejection(), EjectPolicy::from(settings));
    };
    let key = backend.affinity.as_deref().and_then(|it| it.of_connection(record.client().ip()));
    let preface = record.local.and_then(|local| backend.preface(record.client(), local)).unwrap_or_default();
    let choice = Choice { key, ..backend.choice(settings) };
    let pool = asked.map_or(&backend.pool, |name| name.pool());
    let mut tried: Vec<SocketAddr> = Vec::new();
    if let Some(mesh) = &backend.mesh {
        // Whoever still has no identity then is told so.
        let _ = tokio::time::timeout(backend.connect_timeout(settings), mesh.wait()).await;
    }
    // Of a Service without an address of its own, clients choose the endpoint.
    let own = captured.filter(|it| it.by_host).map(|it| SessionId::of(pool.key(), it.original));
    loop {
        let picked = pool.pick_by(choice, &tried, own.as_ref()).ok_or(Outcome::NoEndpoint)?;
        let of_mesh = match backend.mesh_client(&picked) {
            Ok(client) => client,
            Err(Unfit::Endpoint) if !tried.contains(&picked.address) => {
                tried.push(picked.address);
                continue;
            }
            Err(Unfit::NoIdentity) => return Err(Outcome::NoIdentity),
            Err(Unfit::Endpoint | Unfit::Client) => return Err(Outcome::UpstreamTls),
        };
        let begun = Instant::now();
        record.attempts += 1;
        record.endpoint = Some(picked.address);
        let opening = open(picked.address, of_mesh.as_ref().or(tls), (&preface, source), backend);
        let opened = tokio::time::timeout(backend.connect_timeout(settings), opening).await;
        match opened.unwrap_or(Err(Outcome::ConnectFailed)) {
            Ok(side) => {
                record.connecting = Some(begun.elapsed());
                report(&picked, Verdict::Answered(200));
                return Ok((side, picked));
            }
            Err(outcome) => {
                report(&picked, Verdict::Failed);
                engine.metrics.connect_failed(backend.backend.key.as_str());
                tried.push(picked.address);
                if record.attempts >= TRIES || tried.len() >= pool.len() {
                    return Err(outcome);
                }
            }
        }
    }
}

async fn open(
    address: SocketAddr,
    tls: Option<&Arc<TlsClient>>,
    (preface, source): (&[u8], Option<IpAddr>),
    backend: &BackendRuntime,
) -> Result<EndpointSide, Outcome> {
    let (terms, tunnel) = (backend.connections(), backend.tunnel());
    if tunnel.is_some_and(Tunnel::is_refused) {
        return Err(Outcome::ConnectFailed);
    }
    match tls {
        None => {
            let connected = connect_from(source, address, preface).await;
            let mut socket = connected.map_err(|_| Outcome::ConnectFailed)?;
            prepare(&socket, terms).map_err(|_| Outcome::ConnectFailed)?;
            if let Some(tunnel) = tunnel {
                open_tunnel(&mut socket, address, tunnel).await.map_err(|_| Outcome::ConnectFailed)?;
            }
            Ok(EndpointSide::Plain(socket))
        }
        Some(client) => {
            let mut stream = client.dial_after(address, preface).await.map_err(|_| Outcome::UpstreamTls)?;
            prepare(stream.get_ref().0, terms).map_err(|_| Outcome::ConnectFailed)?;
            if let Some(tunnel) = tunnel {
                open_tunnel(&mut stream, address, tunnel).await.map_err(|_| Outcome::ConnectFailed)?;
            }
            Ok(EndpointSide::Tls(stream))
        }
    }
}

/// Small packets at once, and an end for peers that vanished.
fn prepare(socket: &TcpStream, terms: Option<&ConnectionTerms>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = match terms.and_then(|it| it.keepalive.as_ref()) {
        None => TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL),
        Some(it) => {
            TcpKeepalive::new().with_time(it.after).with_interval(it.interval).with_retries(it.probes)
        }
    };
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
