//! The PROXY protocol header in front of a connection (haproxy.org proxy-protocol.txt, versions 1 and 2).
//!
//! Reads exactly the header's bytes from the socket and not one more: what follows belongs to TLS or HTTP.

use memchr::memchr2;
use ppp::{v1, v2};
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Length of the fixed part of version 2.
const V2_FIXED: usize = 16;
/// Bytes of addresses and TLVs that are taken; real ones stay below 1 KiB.
const V2_REST_MAX: usize = 4096;
/// Longest line of version 1, CRLF included.
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_SIGNATURE: &[u8; 6] = b"PROXY ";

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The client that the proxy in front speaks for.
    Client(SocketAddr),
    /// The proxy speaks for itself (`LOCAL`, health checks) or can't say for whom (`UNKNOWN`, UNIX sockets).
    Itself,
}

/// No header, or one that breaks the protocol.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The connection starts with something else.
    #[error("no PROXY header")]
    Missing,
    /// It starts like a header but is none.
    #[error("malformed PROXY header")]
    Malformed,
    /// The socket failed or ended.
    #[error("PROXY header: {0}")]
    Socket(#[from] io::Error),
}

/// Reads the header from the socket. Not cancel safe: give the connection up when the deadline passes.
pub(super) async fn read(socket: &mut TcpStream) -> Result<Parsed, ProxyHeaderError> {
    // Both versions are longer than the signature of version 2.
    let mut header = vec![0; V2_SIGNATURE.len()];
    socket.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        read_v2(socket, &mut header).await?;
    } else if header.starts_with(V1_SIGNATURE) {
        read_v1(socket, &mut header).await?;
    } else {
        return Err(ProxyHeaderError::Missing);
    }
    parse(&header)
}

async fn read_v2(socket: &mut TcpStream, header: &mut Vec<u8>) -> Result<(), ProxyHeaderError> {
    header.resize(V2_FIXED, 0);
    socket.read_exact(&mut header[V2_SIGNATURE.len()..]).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if rest > V2_REST_MAX {
        return Err(ProxyHeaderError::Malformed);
    }
    header.resize(V2_FIXED + rest, 0);
    socket.read_exact(&mut header[V2_FIXED..]).await?;
    Ok(())
}

/// Looks ahead in the socket's own buffer for the end of the line, so that nothing behind it is taken.
async fn read_v1(socket: &mut TcpStream, header: &mut Vec<u8>) -> Result<(), ProxyHeaderError> {
    while !header.ends_with(b"\n") {
        let mut ahead = [0; V1_MAX];
        let Some(room) = V1_MAX.checked_sub(header.len()).filter(|room| *room > 0) else {
            return Err(ProxyHeaderError::Malformed);
        };
        let seen = socket.peek(&mut ahead[..room]).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let take = ahead[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
        socket.read_exact(&mut ahead[..take]).await?;
        header.extend_from_slice(&ahead[..take]);
    }
    Ok(())
}

/// Parses a whole header of either version.
///
/// # Errors
/// Anything but exactly one header for a stream.
pub fn parse(header: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if header.starts_with(V2_SIGNATURE) { parse_v2(header) } else { parse_v1(header) }
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let header = v2::Header::try_from(bytes).map_err(|_| ProxyHeaderError::Malformed)?;
    if header.as_bytes().len() != bytes.len() {
        return Err(ProxyHeaderError::Malformed);
    }
    match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, _, _) => Ok(Parsed::Itself),
        (v2::Command::Proxy, v2::Protocol::Datagram, _) => Err(ProxyHeaderError::Malformed),
        (v2::Command::Proxy, _, v2::Addresses::IPv4(it)) => {
            Ok(Parsed::Client((it.source_address, it.source_port).into()))
        }
        (v2::Command::Proxy, _, v2::Addresses::IPv6(it)) => {
            Ok(Parsed::Client((it.source_address, it.source_port).into()))
        }
        (v2::Command::Proxy, _, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Ok(Parsed::Itself),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if !bytes.starts_with(V1_SIGNATURE) {
        return Err(ProxyHeaderError::Missing);
    }
    let line = bytes.strip_suffix(b"\r\n").ok_or(ProxyHeaderError::Malformed)?;
    if bytes.len() > V1_MAX || memchr2(b'\r', b'\n', line).is_some() {
        return Err(ProxyHeaderError::Malformed);
    }
    let header = v1::Header::try_from(bytes).map_err(|_| ProxyHeaderError::Malformed)?;
    match header.addresses {
        v1::Addresses::Tcp4(it) => Ok(Parsed::Client((it.source_address, it.source_port).into())),
        v1::Addresses::Tcp6(it) => Ok(Parsed::Client((it.source_address, it.source_port).into())),
        v1::Addresses::Unknown => Ok(Parsed::Itself),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Parsed, ProxyHeaderError, parse};
    use proptest::prelude::*;

    fn client(text: &str) -> Parsed {
        Parsed::Client(text.parse().unwrap())
    }

    fn v2(rest: &[u8]) -> Vec<u8> {
        [b"\r\n\r\n\0\r\nQUIT\n", rest].concat()
    }

    #[test]
    fn version_1_names_the_client_or_nobody() {
        let parsed = |text: &str| parse(text.as_bytes()).ok();
        assert_eq!(parsed("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n"), Some(client("192.0.2.1:1000")));
        assert_eq!(parsed("PROXY TCP6 2001:db8::1 ::1 1000 80\r\n"), Some(client("[2001:db8::1]:1000")));
        assert_eq!(parsed("PROXY UNKNOWN\r\n"), Some(Parsed::Itself));
        assert_eq!(parsed("PROXY UNKNOWN ff:: ff:: 1 2\r\n"), Some(Parsed::Itself));
        assert_eq!(parsed("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\n"), None);
        assert_eq!(parsed("PROXY TCP4 192.0.2.1 192.0.2.2 99999 80\r\n"), None);
        assert_eq!(parsed("PROXY TCP4 2001:db8::1 ::1 1000 80\r\n"), None);
        assert_eq!(parsed("PROXY UDP4 192.0.2.1 192.0.2.2 1000 80\r\n"), None);
        assert_eq!(parsed(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(100))), None);
        assert!(matches!(parse(b"GET / HTTP/1.1\r\n"), Err(ProxyHeaderError::Missing)));
    }

    #[test]
    fn version_2_names_the_client_or_nobody() {
        let tcp4 = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x03, 0xe8, 0, 80];
        assert_eq!(parse(&v2(&tcp4)).ok(), Some(client("192.0.2.1:1000")));
        let mut with_tlv = tcp4.to_vec();
        with_tlv[3] = 16;
        with_tlv.extend([4, 0, 1, 0]);
        assert_eq!(parse(&v2(&with_tlv)).ok(), Some(client("192.0.2.1:1000")));
        assert_eq!(parse(&v2(&[0x20, 0, 0, 0])).ok(), Some(Parsed::Itself), "LOCAL");
        assert_eq!(parse(&v2(&[0x21, 0, 0, 0])).ok(), Some(Parsed::Itself), "UNSPEC");
        let mut udp4 = tcp4;
        udp4[1] = 0x12;
        assert_eq!(parse(&v2(&udp4)).ok(), None);
        let mut version_1 = tcp4;
        version_1[0] = 0x11;
        assert_eq!(parse(&v2(&version_1)).ok(), None);
        assert_eq!(parse(&v2(&tcp4[..14])).ok(), None, "too short");
        assert_eq!(parse(&v2(&[&tcp4[..], b"x"].concat())).ok(), None, "too long");
        assert_eq!(parse(&v2(&[0x21, 0x11, 0, 4, 1, 2, 3, 4])).ok(), None, "addresses do not fit");
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse(&bytes);
            let _ = parse(&v2(&bytes));
            let _ = parse(&[b"PROXY ", &bytes[..], b"\r\n"].concat());
        }
    }
}
