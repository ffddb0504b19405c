//! Where a server listens that takes what comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

/// `[::]`, which takes IPv4 too; `0.0.0.0` on a machine without IPv6.
pub fn all_addresses() -> IpAddr {
    let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0));
    if v6.is_ok() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}
