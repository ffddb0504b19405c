//! Chunked bodies that two parsers would read in two ways (RFC 9112 §7.1).

use crate::{SECRET, Target, post};
use sluice_tests::{Ask, Reply};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// The head is fine, so the request may be on its way when the body breaks: the backend gets no whole request, the
/// client gets 400 or a close, and both connections end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_chunk_ends_the_request_and_the_connection() {
    let target = Target::start().await;
    for (what, body) in [
        ("a size that overflows", format!("10000000000000000\r\n{SECRET}")),
        ("a size that wraps to 5", format!("10000000000000005\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a negative size", format!("-5\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a size with 0x", format!("0x5\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a size with a sign", format!("+5\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("no size", format!("\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a size that is no number", format!("g\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a space before the size", format!(" 5\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("data longer than its chunk", format!("4\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a size line that ends in LF", format!("5\nhello\r\n0\r\n\r\n{SECRET}")),
        ("a size line that ends in CR", format!("5\rhello\r\n0\r\n\r\n{SECRET}")),
        ("an LF within an extension", format!("5;\nx\r\nhello\r\n0\r\n\r\n{SECRET}")),
        ("data that ends in LF", format!("5\r\nhello\n0\r\n\r\n{SECRET}")),
        ("an extension without end", format!("5;{}\r\nhello\r\n0\r\n\r\n{SECRET}", "x".repeat(200_000))),
        (
            "an extension in every chunk",
            format!("{}0\r\n\r\n{SECRET}", format!("1;{}\r\nx\r\n", "y".repeat(4000)).repeat(100)),
        ),
    ] {
        let mut wire = target.wire().await;
        wire.send(post(CHUNKED, &body)).await;
        wire.finish().await;
        let answers = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(!answers.contains("/secret"), "{what}: {answers}");
        target.unharmed(what).await;
        let whole: Vec<_> = target
            .backend
            .requests()
            .into_iter()
            .filter(|request| request.line().starts_with("POST"))
            .collect();
        // An extension is legal in itself: a request with it may be served, as one request.
        let legal = what.starts_with("an extension");
        assert!(legal || whole.is_empty(), "{what}: the backend took {whole:?}");
    }
}

/// RFC 9110 §6.5.1: a trailer never changes how a message is framed, routed or believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trailer_never_becomes_a_field_of_the_head() {
    let target = Target::start().await;
    let mut wire = target.wire().await;
    let trailers = "Content-Length: 100\r\nTransfer-Encoding: chunked\r\nHost: evil.example\r\nX-Forwarded-For: 1.2.3.4\r\n";
    wire.send(post(CHUNKED, &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"))).await;
    let answer = wire.answer().await;
    assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    target.unharmed("forbidden trailers").await;
    assert!(!target.backend.saw("evil.example") && !target.backend.saw("1.2.3.4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_without_end_are_bounded() {
    let target = Target::start().await;
    let mut wire = target.wire().await;
    wire.send(post(CHUNKED, "5\r\nhello\r\n0\r\n")).await;
    let line = format!("x: {}\r\n", "y".repeat(1000));
    let mut sent = 0;
    while sent < 50_000_000 && wire.try_send(line.repeat(100).as_bytes()).await.is_ok() {
        sent += 100 * line.len();
    }
    assert!(sent < 50_000_000, "all of {sent} bytes of trailers were taken");
    target.unharmed("trailers without end").await;
}

/// A chunked body reaches the backend whole, whatever the pieces, as chunks or with a length: not both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_chunked_body_is_framed_once() {
    let target = Target::scripted(|request| Reply::ok(&String::from_utf8_lossy(&request.body))).await;
    let body = "5;name=value\r\nhello\r\n1\r\n \r\n00005\r\nworld\r\n0\r\n\r\n";
    let mut wire = target.wire().await;
    for piece in post(CHUNKED, body).as_bytes().chunks(3) {
        wire.send(piece).await;
    }
    assert_eq!(wire.answer().await.text(), "hello world");
    let received = target.backend.requests().remove(0);
    assert_eq!(
        received.values("transfer-encoding").len() + received.values("content-length").len(),
        1,
        "{received:?}"
    );
    assert_eq!(wire.ask(&Ask::get("http://a.example/public")).await.status, 200);
}
