//! Looks at what waits in a socket without taking it.

use rustix::net::RecvFlags;
use std::io;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Waits until more bytes than `seen` are there, shows them in `buffer` and tells how many; `None`: there will be no
/// more. A buffer that is full already must be made larger before.
pub(super) async fn more(socket: &TcpStream, buffer: &mut [u8], seen: usize) -> io::Result<Option<usize>> {
    loop {
        let ended = socket.ready(Interest::READABLE).await?.is_read_closed();
        let look = || {
            let (_, len) = rustix::net::recv(socket, &mut *buffer, RecvFlags::PEEK)?;
            // Nothing new: waits for the next segment, unless there will be none.
            if len <= seen && !ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
        };
        match socket.try_io(Interest::READABLE, look) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return looked.map(|len| (len > seen).then_some(len)),
        }
    }
}
