//! What the backend learns of the client: `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`.

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use pingora_error::Result;
use pingora_http::RequestHeader;
use std::net::IpAddr;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What is known of the request's way to us. The fields are written once a connection or port, not once a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Downstream<'a> {
    /// Address of the connection, after the PROXY protocol.
    pub(crate) peer: &'a HeaderValue,
    /// Whether it was TLS.
    pub(crate) tls: bool,
    /// The request as the client sent it.
    pub(crate) request: &'a RequestHeader,
    /// Port of the listener as written in the manifest.
    pub(crate) port: &'a HeaderValue,
    /// Proxies in front of us that are believed.
    pub(crate) trusted_hops: u8,
}

/// Sets the forwarding headers. With no trusted hop whatever the client sent is replaced, and a `Forwarded` header
/// (RFC 7239) is removed; with trusted hops the connection's address is appended and the rest is kept.
pub(crate) fn set(header: &mut RequestHeader, from: Downstream<'_>) -> Result<()> {
    drop_other_spellings(header);
    let trusted = from.trusted_hops > 0;
    let chain = if trusted { joined(header) } else { None };
    match chain {
        Some(mut chain) => {
            chain.push_str(", ");
            chain.push_str(from.peer.to_str().unwrap_or_default());
            header.insert_header(FOR, chain)?;
        }
        None => header.insert_header(FOR, from.peer.clone())?,
    }
    if !trusted && header.headers.contains_key(http::header::FORWARDED) {
        header.remove_header(&http::header::FORWARDED);
    }
    if !(trusted && header.headers.contains_key(PROTO)) {
        header.insert_header(PROTO, HeaderValue::from_static(if from.tls { "https" } else { "http" }))?;
    }
    if !(trusted && header.headers.contains_key(HOST))
        && let Some(host) = host_field(from.request)
    {
        header.insert_header(HOST, host)?;
    }
    if !(trusted && header.headers.contains_key(PORT)) {
        header.insert_header(PORT, from.port.clone())?;
    }
    Ok(())
}

/// CGI and its heirs read `_` as `-`: a field that differs from ours only in that would be a second, forged one.
fn drop_other_spellings(header: &mut RequestHeader) {
    let forged: Vec<_> =
        header.headers.keys().filter(|name| is_other_spelling(name.as_str())).cloned().collect();
    for name in &forged {
        header.remove_header(name);
    }
}

fn is_other_spelling(name: &str) -> bool {
    const START: &[u8] = b"x-forwarded-";
    let same = |(a, b): (&u8, &u8)| a == b || (*a == b'_' && *b == b'-');
    name.len() > START.len() && name.contains('_') && name.as_bytes().iter().zip(START).all(same)
}

/// `:authority` of HTTP/2, else the Host field itself.
fn host_field(request: &RequestHeader) -> Option<HeaderValue> {
    match request.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers.get(http::header::HOST).cloned(),
    }
}

/// The address of the client: that of the connection, or the entry of `X-Forwarded-For` which the outermost trusted
/// hop appended. With `n` trusted hops the last `n - 1` entries are theirs and the one before is the client. Allocates
/// nothing.
pub(crate) fn client(header: &Parts, peer: IpAddr, trusted_hops: u8) -> IpAddr {
    if trusted_hops == 0 {
        return peer;
    }
    let fields = header.headers.get_all(FOR).iter().rev().filter_map(|value| value.to_str().ok());
    fields
        .flat_map(|field| field.rsplit(','))
        .nth(usize::from(trusted_hops) - 1)
        .and_then(|entry| entry.trim().parse().ok())
        .unwrap_or(peer)
}

fn joined(header: &RequestHeader) -> Option<String> {
    let mut fields = header.headers.get_all(FOR).iter().filter_map(|value| value.to_str().ok());
    let first = fields.next()?.to_owned();
    Some(fields.fold(first, |all, next| all + ", " + next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    fn set_from(header: &mut RequestHeader, trusted_hops: u8) {
        let request = request(&[("host", "a.example")]);
        let (peer, port) = (HeaderValue::from_static("192.0.2.9"), HeaderValue::from_static("443"));
        set(header, Downstream { peer: &peer, tls: true, request: &request, port: &port, trusted_hops })
            .unwrap();
    }

    fn value<'a>(header: &'a RequestHeader, name: &str) -> &'a str {
        header.headers.get(name).unwrap().to_str().unwrap()
    }

    #[test]
    fn an_untrusted_client_can_forge_nothing() {
        let mut header = request(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=10.0.0.1"),
        ]);
        set_from(&mut header, 0);
        assert_eq!(value(&header, "x-forwarded-for"), "192.0.2.9");
        assert_eq!(value(&header, "x-forwarded-proto"), "https");
        assert_eq!(value(&header, "x-forwarded-host"), "a.example");
        assert!(header.headers.get("forwarded").is_none());
    }

    #[test]
    fn another_spelling_of_our_fields_is_dropped_and_of_others_kept() {
        let mut header =
            request(&[("x_forwarded-for", "1.1.1.1"), ("x-forwarded_proto", "x"), ("x_own", "y")]);
        set_from(&mut header, 1);
        assert_eq!(value(&header, "x-forwarded-for"), "192.0.2.9");
        assert_eq!(value(&header, "x_own"), "y");
        assert!(
            !header
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("x") && name.as_str().ends_with("_proto"))
        );
        assert!(!header.headers.contains_key("x_forwarded-for"));
    }

    #[test]
    fn a_trusted_hop_is_appended_to() {
        let mut header = request(&[("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "http")]);
        set_from(&mut header, 1);
        assert_eq!(value(&header, "x-forwarded-for"), "198.51.100.7, 192.0.2.9");
        assert_eq!(value(&header, "x-forwarded-proto"), "http");
    }

    #[test]
    fn the_client_is_the_entry_that_the_outermost_trusted_hop_saw() {
        let peer = "192.0.2.9".parse().unwrap();
        let header = request(&[("x-forwarded-for", "1.1.1.1, 198.51.100.7, 198.51.100.8")]);
        assert_eq!(client(&header, peer, 0), peer);
        assert_eq!(client(&header, peer, 1), "198.51.100.8".parse::<IpAddr>().unwrap());
        assert_eq!(client(&header, peer, 2), "198.51.100.7".parse::<IpAddr>().unwrap());
        assert_eq!(client(&header, peer, 9), peer);
    }
}
