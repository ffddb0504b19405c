//! The one form of a host name that is matched: lower case, without port and trailing dot.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest host name, without trailing dot (RFC 1035 §2.3.4).
pub const MAX_HOST_BYTES: usize = 253;

/// Why an authority is refused (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// No host at all.
    #[error("host is empty")]
    Empty,
    /// More than [`MAX_HOST_BYTES`] bytes.
    #[error("host is longer than 253 bytes")]
    TooLong,
    /// Something else than letters, digits, `-`, `_` and `.`: user information, percent-encoding, a list of hosts.
    #[error("host contains a character other than letters, digits, \"-\", \"_\" and \".\"")]
    Character,
    /// Two dots in a row, or one at the start.
    #[error("host contains an empty label")]
    Label,
    /// What follows `:` is no number up to 65535.
    #[error("port is not a number from 0 to 65535")]
    Port,
    /// What stands in brackets is no IPv6 address.
    #[error("host in brackets is not an IPv6 address")]
    Literal,
}

/// Splits a `Host` field or `:authority` into host and port.
///
/// The host is lower case, without trailing dot; an IPv6 literal keeps its brackets and becomes the shortest spelling.
/// An empty port (`example.com:`) counts as none (RFC 3986 §3.2.3). Borrows when the host is in this form already.
///
/// ```
/// use sluice_route::host::host_of;
/// assert_eq!(host_of("Shop.Example.com.:8443")?, ("shop.example.com".into(), Some(8443)));
/// assert_eq!(host_of("[2001:DB8:0::1]:80")?, ("[2001:db8::1]".into(), Some(80)));
/// # Ok::<(), sluice_route::host::Reject>(())
/// ```
///
/// # Errors
/// See [`Reject`].
pub fn host_of(authority: &str) -> Result<(Cow<'_, str>, Option<u16>), Reject> {
    if authority.starts_with('[') {
        return literal(authority);
    }
    let (mut host, port) = match memchr::memchr(b':', authority.as_bytes()) {
        Some(colon) => (&authority[..colon], port_of(&authority[colon + 1..])?),
        None => (authority, None),
    };
    host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err(Reject::Empty);
    }
    if host.len() > MAX_HOST_BYTES {
        return Err(Reject::TooLong);
    }
    let mut has_upper = false;
    let mut last = b'.';
    for &byte in host.as_bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => has_upper = true,
            b'.' if last == b'.' => return Err(Reject::Label),
            b'.' => {}
            _ => return Err(Reject::Character),
        }
        last = byte;
    }
    if last == b'.' {
        return Err(Reject::Label);
    }
    let host = if has_upper { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) };
    Ok((host, port))
}

/// `[IPv6]` or `[IPv6]:PORT`.
fn literal(authority: &str) -> Result<(Cow<'_, str>, Option<u16>), Reject> {
    let end = memchr::memchr(b']', authority.as_bytes()).ok_or(Reject::Literal)?;
    let address: Ipv6Addr = authority[1..end].parse().map_err(|_| Reject::Literal)?;
    let port = match &authority[end + 1..] {
        "" => None,
        rest => port_of(rest.strip_prefix(':').ok_or(Reject::Port)?)?,
    };
    let host = format!("[{address}]");
    let given = &authority[..=end];
    Ok((if host == given { Cow::Borrowed(given) } else { Cow::Owned(host) }, port))
}

fn port_of(digits: &str) -> Result<Option<u16>, Reject> {
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Reject::Port);
    }
    digits.parse().map(Some).map_err(|_| Reject::Port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Reject, host_of};
    use proptest::prelude::*;
    use std::borrow::Cow;

    #[test]
    fn a_host_loses_port_case_and_trailing_dot() {
        for (authority, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:80", "example.com", Some(80)),
            ("EXAMPLE.com.:00080", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("a_b.example", "a_b.example", None),
            ("127.0.0.1:8080", "127.0.0.1", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[::FFFF:1.2.3.4]:443", "[::ffff:1.2.3.4]", Some(443)),
        ] {
            assert_eq!(host_of(authority).unwrap(), (Cow::from(host), port), "{authority}");
        }
        assert!(matches!(host_of("a.b:1").unwrap().0, Cow::Borrowed("a.b")));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.com", "a".repeat(250));
        for (authority, expected) in [
            ("", Reject::Empty),
            (".", Reject::Empty),
            (":80", Reject::Empty),
            (long.as_str(), Reject::TooLong),
            ("user@example.com", Reject::Character),
            ("a.com,b.com", Reject::Character),
            ("exa mple.com", Reject::Character),
            ("caf\u{e9}.com", Reject::Character),
            ("%61.com", Reject::Character),
            ("*.example.com", Reject::Character),
            ("a..b", Reject::Label),
            (".a", Reject::Label),
            ("a.b..", Reject::Label),
            ("a:b", Reject::Port),
            ("a:+80", Reject::Port),
            ("a:65536", Reject::Port),
            ("a:80:80", Reject::Port),
            ("::1", Reject::Port),
            ("[::1", Reject::Literal),
            ("[fe80::1%25eth0]", Reject::Literal),
            ("[::1]80", Reject::Port),
            ("[127.0.0.1]", Reject::Literal),
        ] {
            assert_eq!(host_of(authority).unwrap_err(), expected, "{authority:?}");
        }
    }

    proptest! {
        #[test]
        fn the_host_of_a_host_is_itself(authority in "[aB.:\\[\\]1_-]{0,12}") {
            if let Ok((host, _)) = host_of(&authority) {
                prop_assert_eq!(host_of(&host), Ok((Cow::Borrowed(&*host), None)));
            }
        }
    }
}
