#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{HeadEnd, align, check};
use crate::listen::framing::Body;
use crate::telemetry::Outcome;
use proptest::prelude::*;

fn body(head: &str) -> Result<Body, (u16, &'static str)> {
    check(head.as_bytes(), 100).map_err(|refusal| (refusal.outcome.status().unwrap(), refusal.reason))
}

/// A GET with a Host and these further lines.
fn with(lines: &str) -> Result<Body, (u16, &'static str)> {
    body(&format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"))
}

#[test]
fn ordinary_requests_pass_and_say_how_their_body_ends() {
    assert_eq!(with(""), Ok(Body::Sized(0)));
    assert_eq!(with("Content-Length: 12\r\n"), Ok(Body::Sized(12)));
    assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Body::Chunked));
    assert_eq!(with("Connection: Upgrade\r\nUpgrade: websocket\r\n"), Ok(Body::Upgrade));
    assert_eq!(with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"), Ok(Body::Upgrade));
    assert_eq!(with("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n"), Ok(Body::Sized(5)));
    assert_eq!(with("Upgrade: websocket\r\n"), Ok(Body::Sized(0)), "not nominated by Connection");
    assert_eq!(with("Connection: close\r\nTE: trailers\r\nX:\r\nX-Y: \t a\tb \r\n"), Ok(Body::Sized(0)));
    assert_eq!(body("GET /a?b=c HTTP/1.0\r\n\r\n"), Ok(Body::Sized(0)));
    assert_eq!(body("OPTIONS * HTTP/1.1\r\nHost: a:80\r\n\r\n"), Ok(Body::Sized(0)));
    assert_eq!(body("GET HTTP://A.example/x HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n"), Ok(Body::Sized(0)));
    assert_eq!(body("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n"), Ok(Body::Sized(0)));
    assert_eq!(body("GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Body::Sized(0)));
}

#[test]
fn whatever_two_parsers_could_read_differently_is_refused() {
    let cases = [
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Transfer-Encoding and Content-Length"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding and Content-Length"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "more than one Content-Length"),
        ("Content-Length: 5, 5\r\n", "malformed Content-Length"),
        ("Content-Length: +5\r\n", "malformed Content-Length"),
        ("Content-Length: -1\r\n", "malformed Content-Length"),
        ("Content-Length: 0x5\r\n", "malformed Content-Length"),
        ("Content-Length:\r\n", "malformed Content-Length"),
        ("Content-Length: 99999999999999999999\r\n", "malformed Content-Length"),
        ("Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: identity\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: xchunked\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: \"chunked\"\r\n", "Transfer-Encoding other than chunked"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "more than one Transfer-Encoding"),
        ("Transfer-Encoding : chunked\r\n", "malformed header name"),
        ("Transfer-Encoding\r\n", "header line without colon"),
        ("Transfer-Encoding:\x0bchunked\r\n", "control character in a header value"),
        (": x\r\n", "malformed header name"),
        ("X Y: z\r\n", "malformed header name"),
        ("X\u{e4}: z\r\n", "malformed header name"),
        ("X: a\r\n b\r\n", "folded header line"),
        ("X: a\r\n\tb\r\n", "folded header line"),
        ("X: a\nY: b\r\n", "a line of the head does not end in CRLF"),
        ("X: a\rY: b\r\n", "control character in a header value"),
        ("X: a\r\r\n", "control character in a header value"),
        ("Transfer-Encoding: \x0cchunked\r\n", "control character in a header value"),
        ("X: a\0b\r\n", "control character in a header value"),
        ("X: a\x7fb\r\n", "control character in a header value"),
        ("Host: a.example\r\n", "more than one Host"),
        ("Host: b.example\r\n", "more than one Host"),
        ("Connection: Host\r\n", "Connection names a field that is not hop by hop"),
        ("Connection: close, content-Length\r\n", "Connection names a field that is not hop by hop"),
        ("Connection: X-Forwarded-For\r\n", "Connection names a field that is not hop by hop"),
        ("Connection: authorization\r\n", "Connection names a field that is not hop by hop"),
    ];
    for (lines, reason) in cases {
        assert_eq!(with(lines), Err((400, reason)), "{lines:?}");
    }
}

#[test]
fn malformed_request_lines_and_hosts_are_refused() {
    let cases = [
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request line"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "malformed request line"),
        ("GET /\r\nHost: a\r\n\r\n", "malformed request line"),
        ("GET\r\nHost: a\r\n\r\n", "malformed request line"),
        ("\r\n\r\n", "malformed request line"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed method"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed method"),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "unsupported HTTP version"),
        ("PRI * HTTP/2.0\r\n\r\n", "unsupported HTTP version"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "unsupported HTTP version"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", "malformed request line"),
        ("GET / HTTP/1.1\r\n\r\n", "no Host"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: []\r\n\r\n", "malformed Host"),
        ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "malformed Host"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "the request target's host is not the Host"),
        ("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", "the request target's host is not the Host"),
        ("GET http://a/ HTTP/1.0\r\n\r\n", "the request target's host is not the Host"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "the head is not complete"),
    ];
    for (head, reason) in cases {
        assert_eq!(body(head), Err((400, reason)), "{head:?}");
    }
    assert_eq!(body("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), Err((405, "CONNECT is not supported")));
}

#[test]
fn more_fields_than_allowed_are_too_large() {
    let lines = "X: y\r\n".repeat(99);
    assert_eq!(with(&lines), Ok(Body::Sized(0)));
    let lines = "X: y\r\n".repeat(100);
    assert_eq!(with(&lines), Err((431, "too many header fields")));
}

#[test]
fn the_end_of_a_head_is_found_however_the_bytes_arrive() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n";
    let mut end = HeadEnd::default();
    for len in 0..bytes.len() {
        let found = end.find(&bytes[..len]).unwrap();
        if len >= bytes.len() - 8 {
            assert_eq!(found, Some(bytes.len() - 8));
            return;
        }
        assert_eq!(found, None, "{len}");
    }
    panic!("not found");
}

#[test]
fn a_bare_line_feed_is_refused_as_soon_as_it_arrives() {
    for bytes in [&b"GET / HTTP/1.1\n"[..], b"\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"GET / HTTP/1.1\r\n\n"]
    {
        let refusal = HeadEnd::default().find(bytes).unwrap_err();
        assert_eq!(refusal.outcome, Outcome::BadRequest);
    }
}

proptest! {
    /// Nothing that a peer sends panics, and a head that passes holds no bare control character.
    #[test]
    fn any_bytes_are_either_refused_or_plain(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        head.extend_from_slice(&bytes);
        head.extend_from_slice(b"\r\n\r\n");
        let _ = HeadEnd::default().find(&bytes);
        let _ = check(&bytes, 10);
        if check(&head, 100).is_ok() {
            let end = HeadEnd::default().find(&head).unwrap().unwrap();
            for line in head[..end].split(|byte| *byte == b'\n') {
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(text.iter().all(|byte| *byte >= b' ' && *byte != 0x7f || *byte == b'\t'));
            }
        }
    }
}

#[test]
fn the_host_of_a_target_is_written_as_the_host_field_has_it() {
    let aligned = |head: &str| {
        let mut head = head.as_bytes().to_vec();
        assert!(check(&head, 100).is_ok());
        align(&mut head);
        String::from_utf8(head).unwrap()
    };
    assert_eq!(
        aligned(
            "GET HTTP://API.Example.com:80/A?b HTTP/1.1\r\nAccept: */*\r\nhost: \tapi.example.com:80 \r\n\r\n"
        ),
        "GET HTTP://api.example.com:80/A?b HTTP/1.1\r\nAccept: */*\r\nhost: \tapi.example.com:80 \r\n\r\n"
    );
    for same in [
        "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET /HTTP://A HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(aligned(same), same);
    }
}
