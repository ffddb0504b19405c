//! Connections that carry many requests.

use crate::plain_stand;
use futures::future::join_all;
use sluice_tests::{Ask, Stand, Wire, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_for_the_next_request() {
    let stand = plain_stand().await;
    let mut wire = Wire::connect(stand.address(80)).await;
    for number in 0..50 {
        let ask = Ask::new("POST", &format!("http://a.example/{number}")).body(format!("body {number}"));
        let answer = wire.ask(&ask).await;
        assert_eq!(
            (answer.seen("path"), answer.seen("body")),
            (format!("/{number}"), format!("body {number}"))
        );
    }
    // HTTP/1.0 keeps only when asked to.
    wire.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 200);
    let mut old = Wire::connect(stand.address(80)).await;
    old.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(old.answer().await.status, 200);
    assert!(old.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_closes() {
    let stand = plain_stand().await;
    let mut wire = Wire::connect(stand.address(80)).await;
    let answer = wire.ask(&Ask::get("http://a.example/").header("Connection", "close")).await;
    assert!(answer.closes(), "{answer:?}");
    assert!(wire.rest().await.is_empty());
}

/// RFC 9112 §9.3.2: answers come in the order of the requests, also when a later one is ready earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let stand = plain_stand().await;
    let mut wire = Wire::connect(stand.address(80)).await;
    let mut all = Vec::new();
    for number in 0..20 {
        let delay = if number % 5 == 0 { "?delay=30ms" } else { "" };
        all.extend(Ask::get(&format!("http://a.example/{number}{delay}")).to_http1());
        all.extend(
            Ask::new("POST", &format!("http://a.example/post-{number}")).body(format!("{number}")).to_http1(),
        );
    }
    wire.send(all).await;
    for number in 0..20 {
        assert_eq!(wire.answer().await.seen("path"), format!("/{number}"));
        let post = wire.answer().await;
        assert_eq!((post.seen("path"), post.seen("body")), (format!("/post-{number}"), format!("{number}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let stand = plain_stand().await;
    let (h2, _connection) = stand.h2(&Ask::get("http://a.example/")).await;
    let slow = Ask::get("http://a.example/slow?delay=60s");
    let waiting = tokio::spawn({
        let h2 = h2.clone();
        async move { h2.try_ask(&slow).await.map(|answer| answer.status) }
    });
    let asks: Vec<_> = (0..100).map(|number| Ask::get(&format!("http://a.example/{number}"))).collect();
    let answers = join_all(asks.iter().map(|ask| h2.ask(ask))).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.seen("path"), format!("/{number}"));
    }
    assert!(!waiting.is_finished());
    waiting.abort();
}

/// Hundred requests one after the other need few connections to the backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_backends_are_kept_and_shared() {
    let backend = sluice_tests::Recorder::start().await;
    let stand = Stand::of_snapshot(sluice_tests::ir_samples::everything_to(backend.address())).await;
    for _ in 0..100 {
        stand.get("http://a.example/").await.expect_status(200);
    }
    eventually("all requests arrive", || async { backend.requests().len() == 100 }).await;
    assert!(backend.connections() <= 10, "{} connections for 100 requests", backend.connections());
}

/// 103 reaches an HTTP/1.1 client; a HEAD has no body; an answer of 204 and 304 neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_and_answers_without_body_pass() {
    let stand = plain_stand().await;
    let mut wire = Wire::connect(stand.address(80)).await;
    let early = wire.ask(&Ask::get("http://a.example/early")).await;
    assert_eq!((early.status, early.interim.as_slice()), (200, &[103][..]));
    for status in [204, 304] {
        let answer = wire.ask(&Ask::get(&format!("http://a.example/status/{status}"))).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    assert_eq!(wire.ask(&Ask::new("HEAD", "http://a.example/bytes/1000")).await.status, 200);
    assert_eq!(wire.ask(&Ask::get("http://a.example/")).await.status, 200);
}
