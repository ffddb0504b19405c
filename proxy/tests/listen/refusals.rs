//! Every HTTP/1 request that is refused before the application sees it, on a raw socket.

use crate::support::{Server, limits, read_to_end, within};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// Request, status line, reason.
const CASES: &[(&str, &str, &str)] = &[
    ("GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request", "a line of the head does not end in CRLF"),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "400 Bad Request",
        "control character in a header value",
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "400 Bad Request",
        "control character in a header value",
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", "400 Bad Request", "malformed header name"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "400 Bad Request", "folded header line"),
    ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request", "no Host"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Bad Request", "more than one Host"),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400 Bad Request", "malformed Host"),
    (
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "400 Bad Request",
        "the request target's host is not the Host",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        "400 Bad Request",
        "Transfer-Encoding and Content-Length",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "400 Bad Request",
        "more than one Content-Length",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3,3\r\n\r\nabc",
        "400 Bad Request",
        "malformed Content-Length",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "400 Bad Request",
        "Transfer-Encoding other than chunked",
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400 Bad Request",
        "Transfer-Encoding in HTTP/1.0",
    ),
    ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request", "malformed method"),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request", "malformed request line"),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n",
        "400 Bad Request",
        "Connection names a field that is not hop by hop",
    ),
    ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "400 Bad Request", "unsupported HTTP version"),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "405 Method Not Allowed", "CONNECT is not supported"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_is_answered_logged_and_closes() {
    let server = Server::plain().await;
    for (request, status, reason) in CASES {
        let answer = server.exchange(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{reason}\n")), "{request:?}: {answer}");
        let line = request.split(['\r', '\n']).next().unwrap();
        server.log.wait_for(&format!("{reason} [{line}]")).await;
    }
    assert!(server.exchange("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await.contains("\r\nAllow: GET, "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_trickles_is_refused_at_the_total_deadline() {
    let server =
        Server::start(limits(|limits| limits.request_head_timeout = Duration::from_millis(400))).await;
    let socket = server.connect().await;
    let (mut reading, mut writing) = socket.into_split();
    let trickle = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: ".iter().chain([b'y'; 10_000].iter()) {
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let start = Instant::now();
    let answer = read_to_end(&mut reading).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(5));
    server.log.wait_for("refused head_timeout").await;
    trickle.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_above_the_limit_is_too_large_complete_or_not() {
    let server = Server::start(limits(|limits| limits.request_head_bytes = 1000)).await;
    for request in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(5000)),
        format!("GET /{}", "x".repeat(100_000)),
    ] {
        let answer = server.exchange(request).await;
        assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
    }
    server.log.wait_for("refused head_too_large the request head is too large").await;
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(900));
    assert!(server.exchange(fits).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_fields_than_the_limit_are_too_large() {
    let server = Server::start(limits(|limits| limits.request_headers = 5)).await;
    let request =
        |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n", "X: y\r\n".repeat(n));
    assert!(server.exchange(request(3)).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let answer = server.exchange(request(4)).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.ends_with("too many header fields\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000, 1\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![b'x'; 100_000]).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.ends_with("malformed Content-Length\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_on_a_plain_port_is_closed_without_an_answer() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    socket.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
    let mut answer = Vec::new();
    // Closed with unread bytes or not: in both cases nothing was said.
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer)).await;
    assert!(answer.is_empty());
    server.log.wait_for("refused bad_request client sent TLS to a plain HTTP port []").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http2_preface_after_a_request_is_refused() {
    let server = Server::plain().await;
    let answers =
        server.exchange(format!("{}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", crate::support::get("/first"))).await;
    assert!(answers.contains("GET /first"), "{answers}");
    assert!(answers.ends_with("unsupported HTTP version\n"), "{answers}");
}
