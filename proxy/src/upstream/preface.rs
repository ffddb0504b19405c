//! What a connection to an endpoint begins with where a rule wants the PROXY protocol (haproxy.org proxy-protocol.txt):
//! who the client is, before TLS and everything else.

use ppp::v2;
use sluice_ir::ProxyVersion;
use std::net::SocketAddr;

/// The header for a client that came to `local`.
pub fn preface(version: ProxyVersion, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
    let (client, local) = (plain(client), plain(local));
    match version {
        ProxyVersion::V1 => text(client, local).into_bytes(),
        ProxyVersion::V2 => binary(client, local),
    }
}

/// The header of a connection that no client asked for: a health check.
pub(super) fn nobody(version: ProxyVersion) -> &'static [u8] {
    match version {
        ProxyVersion::V1 => b"PROXY UNKNOWN\r\n",
        // Command LOCAL, no addresses.
        ProxyVersion::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    }
}

/// §2.1. Addresses of two families can't be written.
fn text(client: SocketAddr, local: SocketAddr) -> String {
    let family = match (client, local) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    let (from, to) = (client.ip(), local.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port())
}

/// §2.2.
fn binary(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let command = v2::Version::Two | v2::Command::Proxy;
    let header = v2::Builder::with_addresses(command, v2::Protocol::Stream, (client, local)).build();
    // Two addresses always fit.
    header.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::preface;
    use ppp::{v1, v2};
    use sluice_ir::ProxyVersion::{V1, V2};
    use std::net::SocketAddr;

    #[test]
    fn the_client_is_named_in_both_versions() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (client, local) = (address("192.0.2.1:5000"), address("192.0.2.9:80"));
        let text = preface(V1, client, local);
        assert_eq!(text, b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n");
        assert!(v1::Header::try_from(text.as_slice()).is_ok());
        let binary = preface(V2, client, local);
        let header = v2::Header::try_from(binary.as_slice()).unwrap();
        assert_eq!(header.addresses, v2::Addresses::from((client, local)));
        let six = preface(V1, address("[2001:db8::1]:5000"), address("[2001:db8::9]:80"));
        assert_eq!(six, b"PROXY TCP6 2001:db8::1 2001:db8::9 5000 80\r\n");
        let mapped = preface(V1, address("[::ffff:192.0.2.1]:5000"), local);
        assert_eq!(mapped, text);
        assert_eq!(preface(V1, address("[2001:db8::1]:5000"), local), b"PROXY UNKNOWN\r\n");
    }
}
