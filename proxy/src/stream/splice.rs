//! One direction of a connection between two sockets: its bytes stay in the kernel (splice(2)).

use super::pipes::{Pipe, Pipes};
use super::relay::{Broken, Flow};
use rustix::pipe::{SpliceFlags, splice};
use std::io;
use std::net::Shutdown;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes asked for at a time; a pipe takes what it has room for.
const MOST: usize = 256 * 1024;
/// Bytes moved through memory at a time, when there is no pipe.
const COPIED: usize = 16 * 1024;

/// Moves bytes until `from` ends, then ends the writing side of `to`. Cancelling loses what is in the pipe: for the end
/// of the connection only.
pub(super) async fn direction(
    from: &TcpStream,
    to: &TcpStream,
    pipes: &Pipes,
    flow: &Flow<'_>,
) -> Result<(), Broken> {
    loop {
        from.readable().await.map_err(|_| Broken::From)?;
        let moved = match pipes.take() {
            Ok(pipe) => by_pipe(from, to, (pipes, pipe), flow).await?,
            // No descriptor left: slower, but it goes on.
            Err(_) => by_copy(from, to, flow).await?,
        };
        if moved == Moved::Ended {
            // An error means that the peer is gone, which the other direction learns.
            let _ = socket2::SockRef::from(to).shutdown(Shutdown::Write);
            return Ok(());
        }
    }
}

/// What a turn came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// There may be more.
    Some,
    /// `from` has ended.
    Ended,
}

/// As much as is there at once, through a pipe that is empty again afterwards.
async fn by_pipe(
    from: &TcpStream,
    to: &TcpStream,
    (pipes, pipe): (&Pipes, Pipe),
    flow: &Flow<'_>,
) -> Result<Moved, Broken> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        let fill = || Ok(splice(from, None, &pipe.writer, None, MOST, flags)?);
        let mut left = match from.try_io(Interest::READABLE, fill) {
            Ok(0) => {
                pipes.give(pipe);
                return Ok(Moved::Ended);
            }
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pipes.give(pipe);
                return Ok(Moved::Some);
            }
            Err(_) => return Err(Broken::From),
        };
        while left > 0 {
            let drain = || Ok(splice(&pipe.reader, None, to, None, left, flags)?);
            match to.try_io(Interest::WRITABLE, drain) {
                Ok(len) => {
                    left = left.saturating_sub(len);
                    flow.moved(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    to.writable().await.map_err(|_| Broken::To)?;
                }
                Err(_) => return Err(Broken::To),
            }
        }
        // Others have their turn.
        tokio::task::coop::consume_budget().await;
    }
}

/// The same through memory.
async fn by_copy(from: &TcpStream, to: &TcpStream, flow: &Flow<'_>) -> Result<Moved, Broken> {
    let mut buffer = vec![0; COPIED];
    let len = match from.try_read(&mut buffer) {
        Ok(0) => return Ok(Moved::Ended),
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Moved::Some),
        Err(_) => return Err(Broken::From),
    };
    let mut rest = &buffer[..len];
    while !rest.is_empty() {
        to.writable().await.map_err(|_| Broken::To)?;
        match to.try_write(rest) {
            Ok(len) => {
                rest = &rest[len..];
                flow.moved(len);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken::To),
        }
    }
    Ok(Moved::Some)
}
