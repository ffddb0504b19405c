//! Binding a port and accepting its connections.

use super::connection::{self, Accepted, Port};
use super::stream::Carried;
use futures::FutureExt;
use pingora_core::apps::HttpServerApp;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the process has no descriptor or memory left; doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// Connections over the limit that are told so at the same time; the others are closed without a word.
const FAREWELLS: usize = 256;
/// A peer that vanished is noticed after about two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Binds and listens. `dual_stack`: `[::]` takes IPv4 too.
pub(super) fn bind(address: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // A port that was just released must be free for its next owner.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until `stop`; then serves what the kernel had already accepted, and closes the port.
pub(super) async fn run<A>(
    port: Arc<Port<A>>,
    listener: TcpListener,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let farewells = Arc::new(Semaphore::new(FAREWELLS));
    let admitted = |socket, peer| admit(&port, socket, peer, &cut, &tasks, &farewells);
    all(port.key, &listener, &stop, admitted).await;
}

/// Accepts until `stop`, then what the kernel had already accepted.
pub(super) async fn all(
    key: SocketAddr,
    listener: &TcpListener,
    stop: &CancellationToken,
    mut admit: impl FnMut(TcpStream, SocketAddr),
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = PAUSE_FIRST;
                admit(socket, peer);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(port = %key, %error, pause_ms = pause.as_millis(), "can't accept connections");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_LAST);
            }
        }
    }
    while let Some(Ok((socket, peer))) = listener.accept().now_or_never() {
        admit(socket, peer);
    }
}

/// The client left before it was accepted; the port itself is fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}

/// Starts the connection's task, or refuses it when the port is full.
fn admit<A>(
    port: &Arc<Port<A>>,
    socket: TcpStream,
    direct_peer: SocketAddr,
    cut: &CancellationToken,
    tasks: &TaskTracker,
    farewells: &Arc<Semaphore>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    // An IPv4 client of a dual-stack socket is an IPv4 client.
    let direct_peer = canonical(direct_peer);
    let config = port.config.get();
    let Some(slot) = port.slots.port(config.limits.connections) else {
        let permit = farewells.clone().try_acquire_owned().ok();
        let port = port.clone();
        // With PROXY protocol an answer is due only after the header: closing says enough.
        let may_answer = config.proxy_protocol == sluice_ir::ProxyProtocol::Off;
        if let Some(permit) = permit.filter(|_| may_answer && config.carried == Carried::Requests) {
            tokio::spawn(
                async move { connection::overloaded(&port, socket, direct_peer, &config, permit).await },
            );
        } else {
            connection::overloaded_silently(&port, direct_peer, &config);
        }
        return;
    };
    prepare(&socket);
    port.observer.opened(port.key);
    let accepted = Accepted { socket, direct_peer, slot, config, lookup: port.key, captured: None };
    tasks.spawn(guarded(port.clone(), accepted, cut.clone()));
}

/// The IPv4 address where one is written as IPv6.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Small packets at once, and an end for peers that vanished. Failing changes nothing that matters.
pub(super) fn prepare(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}

/// The connection's task: ends with the connection, when it is cut, or when it panics.
async fn guarded<A>(port: Arc<Port<A>>, accepted: Accepted, cut: CancellationToken)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let served = AssertUnwindSafe(connection::serve(port.clone(), accepted)).catch_unwind();
    let panicked = tokio::select! {
        biased;
        () = cut.cancelled() => false,
        served = served => served.is_err(),
    };
    if panicked {
        port.observer.panicked(port.key);
    }
    port.observer.closed(port.key);
}
