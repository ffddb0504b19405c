//! Endpoints of a Service: servers at addresses of the cluster's network, which end as pods do.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result};
use sluice_cluster_tests::BACKENDS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::objects::ENDPOINT_PORT;
use crate::generator::response::end_of_head;

/// Body bytes of every answer.
pub(super) const BODY_BYTES: u64 = 64;
/// How long a request takes: long enough that one is nearly always in flight when an endpoint ends.
const WORK: Duration = Duration::from_millis(2);

/// A running endpoint. Dropping it ends it at once.
pub(super) struct Endpoint {
    /// Where it listens.
    pub(super) address: SocketAddrV4,
    stop: watch::Sender<bool>,
    last_request: watch::Receiver<Option<std::time::Instant>>,
}

impl Endpoint {
    /// The endpoint of a number, listening.
    pub(super) async fn start(number: u16) -> Result<Self> {
        let address =
            SocketAddrV4::new(Ipv4Addr::from_bits(BACKENDS.to_bits() + 1 + u32::from(number)), ENDPOINT_PORT);
        let listener = TcpListener::bind(address).await.with_context(|| address.to_string())?;
        let (stop, stopped) = watch::channel(false);
        let (used, last_request) = watch::channel(None);
        tokio::spawn(accept(listener, stopped, used));
        Ok(Self { address, stop, last_request })
    }

    /// When its last request came.
    pub(super) fn last_request(&self) -> Option<std::time::Instant> {
        *self.last_request.borrow()
    }

    /// Ends as a program does that was told to: no new connections, running requests get their answer, kept
    /// connections are closed after their next answer or when they are idle.
    pub(super) fn terminate(&self) {
        self.stop.send_replace(true);
    }
}

async fn accept(
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    used: watch::Sender<Option<std::time::Instant>>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(serve(stream, stopped.clone(), used.clone()));
                }
            }
            _ = stopped.changed() => return,
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    mut stopped: watch::Receiver<bool>,
    used: watch::Sender<Option<std::time::Instant>>,
) {
    let body = vec![b'x'; BODY_BYTES as usize];
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        while let Some(head) = end_of_head(&buffer[..filled]) {
            used.send_replace(Some(std::time::Instant::now()));
            tokio::time::sleep(WORK).await;
            let last = *stopped.borrow();
            let connection = if last { "connection: close\r\n" } else { "" };
            let mut answer =
                format!("HTTP/1.1 200 OK\r\n{connection}content-length: {BODY_BYTES}\r\n\r\n").into_bytes();
            answer.extend_from_slice(&body);
            if stream.write_all(&answer).await.is_err() || last {
                return;
            }
            buffer.copy_within(head..filled, 0);
            filled -= head;
        }
        tokio::select! {
            biased;
            read = stream.read(&mut buffer[filled..]) => match read {
                Ok(0) | Err(_) => return,
                Ok(read) => filled += read,
            },
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}
