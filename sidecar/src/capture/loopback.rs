//! The address ::6, from which the proxy calls its workload over IPv6. Of 127.0.0.0/8 every address is the machine's
//! own; of IPv6 only ::1 is, so that one more is added to the interface `lo` (rtnetlink(7)).

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd as _;

const PASSTHROUGH: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

// linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const REQUEST: u16 = 0x001;
const ACKNOWLEDGE: u16 = 0x004;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const ERROR: u16 = 2;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_LOCAL: u16 = 2;
const FAMILY_V6: u8 = 10;
/// Length of a message's head.
const HEAD: usize = 16;

/// Adds it, if it is not there.
pub(super) fn add_passthrough() -> io::Result<()> {
    match change(NEW_ADDRESS, CREATE | EXCLUSIVE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes it, if it is there.
pub(super) fn remove_passthrough() -> io::Result<()> {
    match change(DELETE_ADDRESS, 0) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        other => other,
    }
}

fn change(kind: u16, flags: u16) -> io::Result<()> {
    let route = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)?;
    let message = message(kind, REQUEST | ACKNOWLEDGE | flags, if_nametoindex("lo")?);
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    result(answer.get(..length).unwrap_or_default())
}

fn message(kind: u16, flags: u16, interface: u32) -> Vec<u8> {
    let mut body = vec![FAMILY_V6, 128, 0, 0];
    body.extend(interface.to_ne_bytes());
    for attribute in [ATTRIBUTE_LOCAL, ATTRIBUTE_ADDRESS] {
        body.extend(20_u16.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(PASSTHROUGH.octets());
    }
    let mut message = Vec::with_capacity(HEAD + body.len());
    message.extend(u32::try_from(HEAD + body.len()).unwrap_or_default().to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Number of the message, and of the sender: there is only one of each.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The kernel's answer: a number that is 0 or an error's.
fn result(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|it| it.try_into().ok()).map(u16::from_ne_bytes);
    let number = answer.get(HEAD..HEAD + 4).and_then(|it| it.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, number) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(number)) => Err(io::Error::from_raw_os_error(-number)),
        _ => Err(io::Error::other("the kernel's answer can't be read")),
    }
}
