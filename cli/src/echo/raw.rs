//! Backends that know no HTTP: lines over TCP, and datagrams. Each comes back with the name in front.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// Longer lines come back in parts of this size.
const LINE_BYTES: u64 = 64 * 1024;

/// More than a datagram can have.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Answers each line of a connection until the client has said all.
pub(super) async fn lines(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let (reads, mut writes) = stream.split();
    let mut reads = BufReader::new(reads);
    loop {
        let mut answer = format!("{name}: ").into_bytes();
        if (&mut reads).take(LINE_BYTES).read_until(b'\n', &mut answer).await? == 0 {
            return writes.shutdown().await;
        }
        writes.write_all(&answer).await?;
    }
}

/// Answers each datagram until the stop.
pub(super) async fn datagrams(socket: UdpSocket, name: String, stop: CancellationToken) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = stop.cancelled() => return Ok(()),
        };
        // Both fail for one client only, such as one that is gone.
        if let Ok((len, from)) = received {
            let datagram = buffer.get(..len).unwrap_or_default();
            let _ = socket.send_to(&[name.as_bytes(), b": ", datagram].concat(), from).await;
        }
    }
}
