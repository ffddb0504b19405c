//! Where a captured connection was going before the kernel turned it to a port of ours (SO_ORIGINAL_DST, netfilter).

use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The address that the client of a connection called, as connection tracking remembers it. `None`: the client called
/// this socket itself, so nothing captured the connection, and to send it on to where it went would be a loop.
///
/// One call of the system, no wait. The listener must be of one family (`0.0.0.0` or `[::]` with IPV6_V6ONLY): an IPv4
/// connection that a socket of IPv6 took has no original destination for the kernel.
///
/// # Errors
/// When the kernel does not know the connection any more, or tracks none at all.
pub fn original_destination(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let local = stream.local_addr()?;
    let socket = SockRef::from(stream);
    let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let original = match original {
        Ok(address) => address.as_socket(),
        // Connection tracking knows no rule that changed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(original.filter(|it| (it.ip(), it.port()) != (local.ip(), local.port())))
}

#[cfg(test)]
mod tests {
    use super::original_destination;
    use std::net::Ipv4Addr;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_connection_that_nothing_captured_has_none() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // A kernel without connection tracking has no such option at all.
        assert_eq!(original_destination(&stream).ok().flatten(), None);
    }
}
