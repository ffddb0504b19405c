//! Upgrade and Expect: nothing is a tunnel before both sides have said so.

use crate::{SECRET, Target};
use sluice_tests::{Reply, Wire};

const UPGRADE: &str = "GET /public/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Bytes that were sent after an Upgrade must not reach a backend that refused it (RUSTSEC-2026-0033).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_the_backend_refuses_is_no_tunnel() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = Target::scripted(move |request| {
            if request.line().contains("/ws") {
                Reply::Send(answer.into())
            } else {
                Reply::ok(request.line())
            }
        })
        .await;
        let mut wire = target.wire().await;
        wire.send(format!("{UPGRADE}\r\n{SECRET}")).await;
        let first = wire.answer().await;
        assert!(matches!(first.status, 200 | 403 | 426), "{first:?}");
        wire.finish().await;
        let _ = wire.rest().await;
        target.unharmed(answer).await;
        assert!(!target.backend.saw("/secret"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_before_the_backend_has_agreed_wait() {
    let target = Target::scripted(|request| {
        if request.line().contains("/ws") { Reply::Hang } else { Reply::ok(request.line()) }
    })
    .await;
    let mut wire = target.wire().await;
    wire.send(format!("{UPGRADE}\r\n")).await;
    sluice_tests::eventually("the upgrade arrives", || async { target.backend.lines().len() == 1 }).await;
    wire.send(SECRET).await;
    target.unharmed("an upgrade that hangs").await;
    assert!(!target.backend.saw("/secret"));
}

/// Only WebSocket is an upgrade here; others are ordinary requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_to_anything_else_is_an_ordinary_request() {
    let target = Target::start().await;
    for protocol in ["h2c", "TLS/1.0", "made-up", "websocket, h2c"] {
        let mut wire = target.wire().await;
        wire.send(format!(
            "GET /public HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n{SECRET}"
        ))
        .await;
        wire.finish().await;
        let answers = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(!answers.starts_with("HTTP/1.1 101"), "{protocol}: {answers}");
        target.unharmed(protocol).await;
    }
}

/// A 101 that nobody asked for would turn the connection into a tunnel past the routes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_101_that_nobody_asked_for_is_refused() {
    let target = Target::scripted(|request| {
        if request.line().contains("/trap") {
            Reply::Send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                    .to_vec(),
            )
        } else {
            Reply::ok(request.line())
        }
    })
    .await;
    let mut wire = target.wire().await;
    wire.send(format!("GET /public/trap HTTP/1.1\r\nHost: a.example\r\n\r\n{SECRET}")).await;
    wire.finish().await;
    let answers = String::from_utf8_lossy(&wire.rest().await).into_owned();
    assert!(!answers.starts_with("HTTP/1.1 101"), "{answers}");
    target.unharmed("a 101 unasked").await;
    assert!(!target.backend.saw("/secret"));
}

/// RFC 9110 §10.1.1: the client waits for 100 and then sends, or is answered at once; either way the body is a body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_continue_never_turns_a_body_into_a_request() {
    let target = Target::start().await;
    let head = format!(
        "POST /public HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        SECRET.len()
    );
    // Without waiting.
    let mut wire = target.wire().await;
    wire.send(format!("{head}{SECRET}")).await;
    assert_eq!(wire.answer().await.status, 200);
    target.unharmed("Expect without waiting").await;
    // For a path that is not routed: what follows the answer is no request, or a request of its own.
    let mut wire = target.wire().await;
    wire.send(head.replace("/public", "/nowhere")).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 404);
    wire.send(SECRET).await;
    wire.finish().await;
    let _ = wire.rest().await;
    target.unharmed("Expect with a refusal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_expectation_is_harmless() {
    let target = Target::start().await;
    for value in ["200-ok", "100-continue, 200-ok", "y 100-continue", "\"100-continue\""] {
        let mut wire: Wire = target.wire().await;
        wire.send(format!("POST /public HTTP/1.1\r\nHost: a.example\r\nExpect: {value}\r\nContent-Length: {}\r\n\r\n{SECRET}", SECRET.len())).await;
        let answer = wire.answer().await;
        assert!(matches!(answer.status, 200 | 400 | 417), "{value}: {answer:?}");
        target.unharmed(value).await;
    }
}
