//! The beginning of an HTTP/2 connection: Pingora's, which does not tell when the endpoint's settings have come.

use h2::{Ping, PingPong, client};
use pingora_core::connectors::http::v2::ConnectionRef;
use pingora_core::protocols::http::v2::client::drive_connection;
use pingora_core::protocols::{Digest, Stream};
use pingora_error::{ErrorType, OrErr, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;

/// Bytes that an endpoint may send before we have read them, on a stream and on the connection: Pingora's own number.
const WINDOW: u32 = 8 << 20;

/// The largest frame that an endpoint may send, in bytes: Pingora's own number.
const FRAME: u32 = 64 << 10;

/// How long to wait for an endpoint's settings. One that has sent none by then gets as many streams as we like.
const PATIENCE: Duration = Duration::from_secs(1);

/// Speaks first, and drives the connection from here on. It takes `most` streams at once, or fewer if the endpoint says so.
pub(super) async fn handshake(stream: Stream, most: usize) -> Result<(ConnectionRef, Option<PingPong>)> {
    let id = stream.id();
    let digest = Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    };
    let (sender, mut connection) = client::Builder::new()
        .enable_push(false)
        .initial_max_send_streams(most)
        .max_frame_size(FRAME)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await
        .or_err(ErrorType::HandshakeError, "HTTP/2 to an endpoint")?;
    let pings = connection.ping_pong();
    let (closed, is_closed) = watch::channel(false);
    let timed_out = Arc::<AtomicBool>::default();
    tokio::spawn(drive_connection(connection, id, closed, None, timed_out.clone()));
    Ok((ConnectionRef::new(sender, is_closed, timed_out, id, most, digest), pings))
}

/// Waits until the endpoint's settings are known, its bound of streams among them. They are the first that it sends (RFC
/// 9113 §3.4), so who has its answer to a PING has them.
pub(super) async fn settled(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return };
    // However it ends: that a connection is broken is seen by its streams.
    let _ = tokio::time::timeout(PATIENCE, pings.ping(Ping::opaque())).await;
}
