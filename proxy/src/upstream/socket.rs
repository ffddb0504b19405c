//! What Pingora asks of a socket that is not Pingora's own.

use pingora_core::protocols::l4::ext::TcpKeepalive as Wanted;
use pingora_core::protocols::l4::virt::VirtualSockOpt;
use pingora_error::ErrorType;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use tokio::net::TcpStream;

/// Sets an option that Pingora wants; those that we do not know change nothing.
pub(super) fn socket_option(socket: &TcpStream, option: VirtualSockOpt) -> io::Result<()> {
    match option {
        VirtualSockOpt::NoDelay => socket.set_nodelay(true),
        VirtualSockOpt::KeepAlive(wanted) => keep_alive(socket, &wanted),
        _ => Ok(()),
    }
}

/// Probes a silent connection.
pub(super) fn keep_alive(socket: &TcpStream, wanted: &Wanted) -> io::Result<()> {
    let probes = u32::try_from(wanted.count).unwrap_or(u32::MAX);
    let keepalive =
        TcpKeepalive::new().with_time(wanted.idle).with_interval(wanted.interval).with_retries(probes);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// A failed connect in Pingora's words.
pub(super) fn kind_of(error: &io::Error) -> ErrorType {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    }
}
