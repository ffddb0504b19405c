//! The head of a request in the form of HTTP/1.1, from that which the client sent and the filters left.

use crate::upstream::mirror::{host, strip};
use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Version, request};
use pingora_error::{ErrorType, OkOrErr, OrErr, Result};
use pingora_http::RequestHeader;

/// RFC 9110 §7.6.1 and RFC 9112 §3.2: no field of another connection, a Host, and a target in origin-form.
pub(super) fn in_http1(header: RequestHeader) -> Result<Box<RequestHeader>> {
    let mut head: request::Parts = header.into();
    let authority = host(&head.headers, &head.uri).or_err(ErrorType::InvalidHTTPHeader, "no valid host")?;
    strip(&mut head.headers);
    let host = HeaderValue::from_str(authority.as_str());
    head.headers.insert(header::HOST, host.or_err(ErrorType::InvalidHTTPHeader, "no valid host")?);
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
    Ok(Box::new(head.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::in_http1;
    use http::Version;
    use pingora_http::RequestHeader;

    #[test]
    fn a_head_of_http2_becomes_one_of_http1() {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        header.set_uri("https://shop.example/a?b=c".parse().unwrap());
        header.set_version(Version::HTTP_2);
        for (name, value) in [("TE", "trailers"), ("Connection", "x-hop"), ("X-Hop", "1"), ("X-Stays", "2")] {
            header.append_header(name, value).unwrap();
        }
        let header = in_http1(header).unwrap();
        assert_eq!((header.uri.to_string().as_str(), header.version), ("/a?b=c", Version::HTTP_11));
        let mut names: Vec<_> = header.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            (names, &header.headers["host"]),
            (vec!["host", "x-stays"], &"shop.example".parse().unwrap())
        );
        assert!(in_http1(RequestHeader::build("GET", b"/", None).unwrap()).is_err(), "no host");
    }
}
