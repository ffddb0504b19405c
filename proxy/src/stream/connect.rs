//! The way to an endpoint: chosen as for requests, tried again elsewhere while nobody answers.

use super::record::Record;
use super::relay::EndpointSide;
use super::{StreamEngine, Way};
use crate::snapshot::BackendRuntime;
use crate::telemetry::Outcome;
use crate::upstream::{EjectPolicy, Picked, TlsClient};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Endpoints that are asked before the connection is given up.
const TRIES: u32 = 3;
/// A peer that vanished is noticed after about two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Connects to an endpoint of the backend. The endpoint counts as busy as long as the pick is held.
///
/// # Errors
/// How the stream ends when nobody could be reached.
pub(super) async fn connect(
    engine: &StreamEngine,
    way: &Way,
    backend: &BackendRuntime,
    tls: Option<&Arc<TlsClient>>,
    record: &mut Record,
) -> Result<(EndpointSide, Picked), Outcome> {
    let settings = way.settings();
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        let picked = backend.pool.pick(settings.balancing, &tried, None).ok_or(Outcome::NoEndpoint)?;
        let begun = Instant::now();
        record.attempts += 1;
        record.endpoint = Some(picked.address);
        let opening = open(picked.address, tls);
        let opened = tokio::time::timeout(settings.limits.connect_timeout, opening).await;
        match opened.unwrap_or(Err(Outcome::ConnectFailed)) {
            Ok(side) => {
                record.connecting = Some(begun.elapsed());
                picked.succeeded();
                return Ok((side, picked));
            }
            Err(outcome) => {
                picked.failed(Instant::now(), EjectPolicy::from(settings));
                engine.metrics.connect_failed(backend.backend.key.as_str());
                tried.push(picked.address);
                if record.attempts >= TRIES || tried.len() >= backend.pool.len() {
                    return Err(outcome);
                }
            }
        }
    }
}

async fn open(address: SocketAddr, tls: Option<&Arc<TlsClient>>) -> Result<EndpointSide, Outcome> {
    match tls {
        None => {
            let socket = TcpStream::connect(address).await.map_err(|_| Outcome::ConnectFailed)?;
            prepare(&socket).map_err(|_| Outcome::ConnectFailed)?;
            Ok(EndpointSide::Plain(socket))
        }
        Some(client) => {
            let stream = client.dial(address).await.map_err(|_| Outcome::UpstreamTls)?;
            prepare(stream.get_ref().0).map_err(|_| Outcome::ConnectFailed)?;
            Ok(EndpointSide::Tls(stream))
        }
    }
}

/// Small packets at once, and an end for peers that vanished.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
