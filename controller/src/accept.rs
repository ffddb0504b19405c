//! Accepting connections with a bound on their number: further ones wait in the kernel's queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept (no file descriptors left, for instance).
const PAUSE: Duration = Duration::from_millis(50);

/// Hands each connection to `serve`, with the slot that it holds until that is dropped. Ends with `stop`. `failure`: what
/// the log says when a connection can't be accepted.
pub(crate) async fn accept(
    listener: TcpListener,
    connections: usize,
    stop: CancellationToken,
    failure: &'static str,
    mut serve: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    let slots = Arc::new(Semaphore::new(connections));
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            (Ok(slot), Ok((stream, peer))) => serve(stream, peer, slot),
            (_, Err(error)) => {
                tracing::warn!(%error, "{failure}");
                tokio::time::sleep(PAUSE).await;
            }
            // Nobody closes the semaphore.
            (Err(_), _) => return,
        }
    }
}
