//! The socket of a port of protocol UDP: tells to which of the host's addresses a datagram came, and lets replies leave
//! from there. A host may have several, and a client takes no reply from another than it asked.

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage,
    recvmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of datagrams that wait in the kernel, where the system allows it.
const BUFFER: usize = 1024 * 1024;

/// A bound socket.
pub(super) struct PortSocket(UdpSocket);

/// Who sent a datagram, and where to. Both as the socket has them: an IPv4 client of an IPv6 socket is a mapped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    pub(super) client: SocketAddr,
    /// `None` when the system does not tell.
    pub(super) local: Option<IpAddr>,
}

impl PortSocket {
    /// Binds. `dual_stack`: `[::]` takes IPv4 too. Must run within a tokio runtime.
    pub(super) fn bind(address: SocketAddr, dual_stack: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!dual_stack)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
        // Less is no error: the system has bounds of its own.
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self(UdpSocket::from_std(socket.into())?))
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for datagrams. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// The next datagram; `WouldBlock` when there is none.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Path)> {
        self.0.try_io(Interest::READABLE, || {
            let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo);
            let mut parts = [IoSliceMut::new(buffer)];
            let fd = self.0.as_raw_fd();
            let got = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
            let client = got.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
            let local = got.cmsgs()?.find_map(|message| destination(&message));
            Ok((got.bytes, Path { client, local }))
        })
    }

    /// Sends a reply from the address that the client asked; `WouldBlock` when the system has no room for it.
    pub(super) fn try_reply(&self, path: Path, bytes: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(bytes)];
        let (v4, v6);
        let control = match path.local {
            Some(IpAddr::V4(local)) => {
                v4 = info_v4(local);
                vec![ControlMessage::Ipv4PacketInfo(&v4)]
            }
            Some(IpAddr::V6(local)) => {
                v6 = info_v6(local);
                vec![ControlMessage::Ipv6PacketInfo(&v6)]
            }
            None => Vec::new(),
        };
        let fd = self.0.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        match path.client {
            SocketAddr::V4(to) => sendmsg(fd, &parts, &control, flags, Some(&SockaddrIn::from(to))),
            SocketAddr::V6(to) => sendmsg(fd, &parts, &control, flags, Some(&SockaddrIn6::from(to))),
        }?;
        Ok(())
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    storage.family()?;
    let v4 = storage.as_sockaddr_in().map(|it| SocketAddr::V4((*it).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|it| SocketAddr::V6((*it).into())))
}

/// The host's address that a datagram was sent to.
fn destination(message: &ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    }
}

fn info_v4(local: Ipv4Addr) -> nix::libc::in_pktinfo {
    nix::libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: nix::libc::in_addr { s_addr: u32::from(local).to_be() },
        ipi_addr: nix::libc::in_addr { s_addr: 0 },
    }
}

fn info_v6(local: Ipv6Addr) -> nix::libc::in6_pktinfo {
    nix::libc::in6_pktinfo { ipi6_addr: nix::libc::in6_addr { s6_addr: local.octets() }, ipi6_ifindex: 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::PortSocket;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    async fn next(socket: &PortSocket, buffer: &mut [u8]) -> (usize, super::Path) {
        loop {
            socket.readable().await.unwrap();
            if let Ok(got) = socket.try_receive(buffer) {
                return got;
            }
        }
    }

    #[tokio::test]
    async fn a_reply_leaves_from_the_address_that_was_asked() {
        for (bound, asked) in [
            ("0.0.0.0:0", "127.0.0.7"),
            ("[::]:0", "127.0.0.8"),
            ("[::]:0", "::1"),
            ("127.0.0.9:0", "127.0.0.9"),
        ] {
            let socket = PortSocket::bind(bound.parse().unwrap(), true).unwrap();
            let asked = SocketAddr::new(asked.parse().unwrap(), socket.local_addr().unwrap().port());
            let client = UdpSocket::bind(if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send_to(b"ping", asked).unwrap();
            let mut buffer = [0; 64];
            let (len, path) = next(&socket, &mut buffer).await;
            assert_eq!(&buffer[..len], b"ping");
            assert_eq!(path.local.unwrap().to_canonical(), asked.ip());
            socket.try_reply(path, b"pong").unwrap();
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"pong"[..], asked));
        }
    }
}
