//! Between client and endpoint: both directions, until both have ended, one breaks, or nothing moves for too long.
//!
//! The end of one direction is passed on alone, so that a half-closed connection stays one. A reset of one side becomes
//! a reset of the other.

use super::copy;
use super::pipes::Pipes;
use super::splice;
use crate::listen::ClientSide;
use crate::telemetry::mesh::Series;
use crate::telemetry::{Outcome, StreamMetrics};
use crate::upstream::TlsStream;
use futures::future::try_join;
use socket2::SockRef;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What is spoken with the endpoint.
pub(super) enum EndpointSide {
    /// As it came.
    Plain(TcpStream),
    /// TLS of ours.
    Tls(Box<TlsStream>),
}

/// What went through so far.
pub(super) struct Counts {
    metrics: Arc<StreamMetrics>,
    /// The same in the words of a mesh, once the endpoint is known.
    series: OnceLock<Arc<Series>>,
    received: AtomicU64,
    sent: AtomicU64,
    began: Instant,
    /// When bytes moved last, in milliseconds since `began`.
    moved_ms: AtomicU64,
}

impl Counts {
    pub(super) fn new(metrics: Arc<StreamMetrics>) -> Self {
        let (received, sent, moved_ms) = Default::default();
        Self { metrics, series: OnceLock::new(), received, sent, began: Instant::now(), moved_ms }
    }

    /// Bytes from the client and to it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    /// Counts for this series too from now on.
    pub(super) fn count_for(&self, series: Arc<Series>) {
        let _ = self.series.set(series);
    }

    /// The series that it counts for.
    pub(super) fn series(&self) -> Option<&Arc<Series>> {
        self.series.get()
    }

    /// Counters of its route.
    pub(super) fn metrics(&self) -> &Arc<StreamMetrics> {
        &self.metrics
    }

    pub(super) fn to_endpoint(&self) -> Flow<'_> {
        Flow { counts: self, is_sent: false }
    }

    pub(super) fn to_client(&self) -> Flow<'_> {
        Flow { counts: self, is_sent: true }
    }

    /// Ready when nothing has moved for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let moved = self.began + Duration::from_millis(self.moved_ms.load(Relaxed));
            if moved.elapsed() >= limit {
                return;
            }
            tokio::time::sleep_until(moved + limit).await;
        }
    }
}

/// One direction, as it is counted.
pub(super) struct Flow<'a> {
    counts: &'a Counts,
    is_sent: bool,
}

impl Flow<'_> {
    /// Bytes reached the other side.
    pub(super) fn moved(&self, bytes: usize) {
        let Counts { metrics, series, received, sent, began, moved_ms } = self.counts;
        let bytes = bytes as u64;
        match self.is_sent {
            true => {
                sent.fetch_add(bytes, Relaxed);
                metrics.sent(bytes);
                series.get().inspect(|it| it.sent(bytes));
            }
            false => {
                received.fetch_add(bytes, Relaxed);
                metrics.received(bytes);
                series.get().inspect(|it| it.received(bytes));
            }
        }
        moved_ms.store(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Which side of a direction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The one that is read.
    From,
    /// The one that is written.
    To,
}

/// Carries both ways and closes both sides.
pub(super) async fn relay(
    client: ClientSide,
    endpoint: EndpointSide,
    pipes: &Pipes,
    counts: &Counts,
    idle: Duration,
) -> Outcome {
    let (client, endpoint) = match (client, endpoint) {
        (ClientSide::Plain(client), EndpointSide::Plain(endpoint)) => {
            let outcome = sockets(&client, &endpoint, pipes, counts, idle).await;
            pass_on(outcome, &client, &endpoint);
            return outcome;
        }
        (client, endpoint) => (copy::Side::from(client), copy::Side::from(endpoint)),
    };
    let mut pump = copy::Pump::new(client, endpoint, counts);
    let outcome = tokio::select! {
        biased;
        ended = pump.run() => ended,
        () = counts.idle(idle) => Outcome::Idle,
    };
    let (client, endpoint) = pump.sockets();
    pass_on(outcome, client, endpoint);
    outcome
}

async fn sockets(
    client: &TcpStream,
    endpoint: &TcpStream,
    pipes: &Pipes,
    counts: &Counts,
    idle: Duration,
) -> Outcome {
    let (there, back) = (counts.to_endpoint(), counts.to_client());
    let there = async {
        splice::direction(client, endpoint, pipes, &there).await.map_err(|broken| match broken {
            Broken::From => Outcome::ClientGone,
            Broken::To => Outcome::UpstreamReset,
        })
    };
    let back = async {
        splice::direction(endpoint, client, pipes, &back).await.map_err(|broken| match broken {
            Broken::From => Outcome::UpstreamReset,
            Broken::To => Outcome::ClientGone,
        })
    };
    tokio::select! {
        biased;
        ended = try_join(there, back) => ended.err().unwrap_or(Outcome::Served),
        () = reset(client) => Outcome::ClientGone,
        () = reset(endpoint) => Outcome::UpstreamReset,
        () = counts.idle(idle) => Outcome::Idle,
    }
}

/// Ready when the peer has reset the connection, also while nobody reads it.
async fn reset(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::ERROR).await {
            Ok(ready) if ready.is_error() => return,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Lets the other side know how one ended: a reset is passed on as one.
fn pass_on(outcome: Outcome, client: &TcpStream, endpoint: &TcpStream) {
    match outcome {
        Outcome::ClientGone => abort(endpoint),
        Outcome::UpstreamReset => abort(client),
        _ => {}
    }
}

/// Makes closing the socket a reset. Failing changes nothing: it is then closed as usual.
pub(super) fn abort(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// The client's socket, below TLS too.
pub(super) fn socket(side: &ClientSide) -> &TcpStream {
    match side {
        ClientSide::Plain(socket) => socket,
        ClientSide::Tls(tls) => tls.get_ref().0,
    }
}
