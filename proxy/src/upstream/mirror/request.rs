//! The head of a copy, in the form that its protocol wants.

use super::body::CopyBody;
use crate::upstream::TlsClient;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};
use sluice_ir::BackendProtocol;
use std::net::SocketAddr;
use std::sync::Arc;

/// The request to copy, as it goes to the backend: after filters, with its hop-by-hop fields or without.
#[derive(Clone, Debug)]
pub struct MirrorRequest {
    /// Where the copy goes.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: BackendProtocol,
    /// Who speaks TLS there; `None`: the copy goes plainly.
    pub tls: Option<Arc<TlsClient>>,
    /// Method of the request; CONNECT is never copied.
    pub method: Method,
    /// Path and query count; the authority is the Host when `headers` have none.
    pub uri: Uri,
    /// Fields of the request.
    pub headers: HeaderMap,
    /// Whether a body follows; false also for a `Content-Length: 0`.
    pub has_body: bool,
}

/// Why there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// RFC 9110 §9.3.6: a tunnel is no request that can be repeated.
    #[error("CONNECT is not copied")]
    Connect,
    /// Neither a Host field nor an authority, or one that can't be written.
    #[error("the request has no valid host")]
    Host,
    /// The path can't be written.
    #[error("the request has no valid path")]
    Path,
    /// Only stream routes name such a backend.
    #[error("the backend speaks no HTTP")]
    Protocol,
}

/// RFC 9110 §7.6.1, and what older software sends besides. A copy is a request of our own on a connection of our own.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The request that hyper sends.
pub(super) fn build(request: MirrorRequest, body: CopyBody) -> Result<Request<CopyBody>, Unfit> {
    let MirrorRequest { protocol, method, uri, mut headers, tls, .. } = request;
    if method == Method::CONNECT {
        return Err(Unfit::Connect);
    }
    let host = marked(host(&headers, &uri).ok_or(Unfit::Host)?)?;
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let trailers = wants_trailers(&headers);
    strip(&mut headers);
    let mut copy = Request::new(body);
    *copy.method_mut() = method;
    match protocol {
        BackendProtocol::Http1 => {
            let value = HeaderValue::from_str(host.as_str()).map_err(|_| Unfit::Host)?;
            headers.insert(header::HOST, value);
            *copy.uri_mut() = Uri::from(path);
        }
        BackendProtocol::H2c => {
            // RFC 9113 §8.3.1: the authority takes the place of the Host field.
            headers.remove(header::HOST);
            if trailers {
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
            }
            let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path);
            *copy.uri_mut() = uri.build().map_err(|_| Unfit::Path)?;
            *copy.version_mut() = Version::HTTP_2;
        }
        BackendProtocol::Tcp | BackendProtocol::Udp => return Err(Unfit::Protocol),
    }
    *copy.headers_mut() = headers;
    Ok(copy)
}

/// What the name of a copy's host ends with, as Istio has it.
const MARK: &str = "-shadow";

/// The host that a copy names, so that its receiver can tell it from a request: `shop.example.com-shadow:8080`. An IPv6
/// address stays as it is: nothing can be appended to one.
fn marked(host: Authority) -> Result<Authority, Unfit> {
    if host.host().starts_with('[') {
        return Ok(host);
    }
    let (name, port) = (host.host(), host.port());
    let port = port.map(|port| format!(":{}", port.as_str())).unwrap_or_default();
    format!("{name}{MARK}{port}").parse().map_err(|_| Unfit::Host)
}

/// The Host, else the authority.
pub(in crate::upstream) fn host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    match headers.get(header::HOST) {
        Some(value) => Authority::try_from(value.as_bytes()).ok(),
        None => uri.authority().cloned(),
    }
}

/// Whether the client takes trailers (RFC 9110 §10.1.4).
pub(in crate::upstream) fn wants_trailers(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::TE).into_iter().filter_map(|value| value.to_str().ok());
    fields.any(|field| field.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

/// Removes what belongs to one connection, and `Expect`: the body follows without being asked for.
pub(in crate::upstream) fn strip(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|field| field.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in nominated.iter().chain(&HOP_BY_HOP).chain([&header::EXPECT]) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::body::channel;
    use super::{MirrorRequest, Unfit, build};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
    use sluice_ir::BackendProtocol;
    use std::sync::Arc;

    fn built(
        protocol: BackendProtocol,
        method: Method,
        uri: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Result<Request<()>, Unfit> {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = fields.iter().map(field).collect();
        let address = "127.0.0.1:1".parse().unwrap();
        let uri = uri.parse().unwrap();
        let (_, body) = channel(false, 0, Arc::default());
        let request = MirrorRequest { address, protocol, tls: None, method, uri, headers, has_body: false };
        build(request, body).map(|copy| copy.map(|_| ()))
    }

    #[test]
    fn http1_keeps_the_host_and_drops_the_connection_s_fields() {
        let fields = [
            ("host", "shop.example.com:8080"),
            ("connection", "x-hop, close, content-length"),
            ("x-hop", "1"),
            ("x-stays", "2"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("content-length", "3"),
        ];
        let copy = built(BackendProtocol::Http1, Method::POST, "/a?b=c", &fields).unwrap();
        assert_eq!(copy.uri(), "/a?b=c");
        let mut names: Vec<_> = copy.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "host", "x-stays"]);
        assert_eq!(copy.headers()["host"], "shop.example.com-shadow:8080");
    }

    #[test]
    fn http2_moves_the_host_to_the_authority() {
        let fields = [("host", "shop.example.com"), ("te", "gzip, trailers")];
        let copy = built(BackendProtocol::H2c, Method::GET, "/a?b=c", &fields).unwrap();
        assert_eq!(copy.uri(), "http://shop.example.com-shadow/a?b=c");
        assert_eq!(
            (copy.headers().get("host"), &copy.headers()["te"]),
            (None, &HeaderValue::from_static("trailers"))
        );
    }

    #[test]
    fn the_authority_of_an_http2_client_becomes_the_host() {
        let copy = built(BackendProtocol::Http1, Method::GET, "http://shop.example.com/a", &[]).unwrap();
        assert_eq!(
            (copy.uri().to_string(), &copy.headers()["host"]),
            ("/a".to_owned(), &HeaderValue::from_static("shop.example.com-shadow"))
        );
    }

    #[test]
    fn the_mark_stands_before_the_port_and_not_in_an_ipv6_address() {
        for (host, expected) in [
            ("a.example", "a.example-shadow"),
            ("a.example:80", "a.example-shadow:80"),
            ("192.0.2.7:80", "192.0.2.7-shadow:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            let copy = built(BackendProtocol::Http1, Method::GET, "/", &[("host", host)]).unwrap();
            assert_eq!(copy.headers()["host"], expected);
        }
    }

    #[test]
    fn what_can_not_be_sent_alone_is_refused() {
        let host = [("host", "a")];
        assert_eq!(built(BackendProtocol::Http1, Method::CONNECT, "a:1", &host).err(), Some(Unfit::Connect));
        assert_eq!(built(BackendProtocol::Http1, Method::GET, "/", &[]).err(), Some(Unfit::Host));
        assert_eq!(
            built(BackendProtocol::H2c, Method::GET, "/", &[("host", "a b")]).err(),
            Some(Unfit::Host)
        );
    }
}
