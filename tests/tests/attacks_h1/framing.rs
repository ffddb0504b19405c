//! Two ways to read where a request ends: every one is refused, and the connection with it (RFC 9112 §6).

use crate::{SECRET, Target, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_length_and_transfer_encoding_together_are_refused() {
    let target = Target::start().await;
    let cl_te = post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{SECRET}"));
    target.refuses("CL.TE", cl_te, 400).await;
    let te_cl = format!("{:x}\r\n{SECRET}\r\n0\r\n\r\n", SECRET.len());
    let te_cl = post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &te_cl);
    target.refuses("TE.CL", te_cl, 400).await;
    let te_0 = post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", &format!("0\r\n\r\n{SECRET}"));
    target.refuses("TE.0", te_0, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_disguise_of_transfer_encoding_is_refused() {
    let target = Target::start().await;
    for disguise in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\r\n : chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "\x0bTransfer-Encoding: chunked",
        "Transfer-Encoding\x00: chunked",
        "Transfer-\u{212a}ncoding: chunked",
    ] {
        let bytes = post(&format!("{disguise}\r\nContent-Length: 0\r\n"), &format!("0\r\n\r\n{SECRET}"));
        target.refuses(disguise, bytes, 400).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_knows_no_transfer_encoding() {
    let target = Target::start().await;
    let bytes = format!(
        "POST /public HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SECRET}"
    );
    target.refuses("HTTP/1.0 with Transfer-Encoding", bytes, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_length_is_one_plain_number_once() {
    let target = Target::start().await;
    let length = SECRET.len();
    for fields in [
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, {length}\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 0x10\r\n".to_owned(),
        "Content-Length: 1 0\r\n".to_owned(),
        "Content-Length: 1.0\r\n".to_owned(),
        "Content-Length: 1e1\r\n".to_owned(),
        "Content-Length: ten\r\n".to_owned(),
        "Content-Length:\r\n".to_owned(),
        "Content-Length: 18446744073709551617\r\n".to_owned(),
        "Content-Length: 99999999999999999999999999999999999999\r\n".to_owned(),
        format!("Content-Length : {length}\r\n"),
        format!("Content-Length: {length}\x0b\r\n"),
        format!("Content-Length: 0\r\n\t{length}\r\n"),
    ] {
        target.refuses(&fields, post(&fields, SECRET), 400).await;
    }
}

/// CL.0: what a body says is the body's, also when the backend answers without reading it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_stays_a_body() {
    let target = Target::start().await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "MADEUP"] {
        let mut wire = target.wire().await;
        let head = format!(
            "{method} /public HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
            SECRET.len()
        );
        wire.send(head + SECRET).await;
        let answer = wire.read(method == "HEAD").await.unwrap();
        assert_eq!(answer.status, 200, "{method}");
        target.unharmed(method).await;
        let requests = target.backend.requests();
        let received = requests
            .iter()
            .rev()
            .find(|request| request.line().starts_with(method) && !request.line().contains("after"));
        assert_eq!(received.unwrap().body, SECRET, "{method}");
    }
}

/// 0.CL: bytes after a request without a body are the next request, judged by the gateway's own routes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_request_is_routed_as_a_request() {
    let target = Target::start().await;
    let mut wire = target.wire().await;
    wire.send(post("Content-Length: 0\r\n", SECRET)).await;
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(wire.answer().await.status, 404);
    target.unharmed("0.CL").await;
}

/// A backend that answers before it has read the body must not take the rest of it for a request: its connection is
/// not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_ends_the_backends_connection_too() {
    let target = Target::start().await;
    for round in 0..3 {
        let mut wire = target.wire().await;
        // The rest of the body never comes.
        wire.send(post("Content-Length: 1000\r\n", SECRET)).await;
        wire.finish().await;
        let _ = wire.rest().await;
        target.unharmed(&format!("an unfinished body, round {round}")).await;
    }
    assert!(
        target.backend.requests().iter().all(|request| request.line().starts_with("GET")),
        "{:?}",
        target.backend.lines()
    );
}
