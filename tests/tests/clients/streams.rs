//! Bodies that go on for long pass piece by piece, in both directions and both versions.

use crate::plain_stand;
use bytes::Bytes;
use sluice_tests::client::{collect, request};
use sluice_tests::{Ask, Wire, soon};

/// The first event arrives although the last will not be sent within this test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_sent_event_arrives_when_it_is_sent() {
    let stand = plain_stand().await;
    let ask = Ask::get("http://a.example/sse?events=3&every=60s");
    let mut wire = Wire::connect(stand.address(80)).await;
    wire.send(ask.to_http1()).await;
    let came = wire.until("data: event 0\n\n").await;
    assert!(came.contains("text/event-stream"), "{came}");
    assert!(!came.contains("event 1"), "{came}");

    let (h2, _connection) = stand.h2(&ask).await;
    let mut sender = h2.sender().ready().await.unwrap();
    let (answer, _) = sender.send_request(request(&ask), true).unwrap();
    let mut body = soon("the head", answer).await.unwrap().into_body();
    let first = soon("the first event", body.data()).await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 0\n"), "{first:?}");
}

/// Each piece comes back before the next is sent: nothing waits for the end of the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_body_passes_piece_by_piece() {
    let stand = plain_stand().await;
    let mut wire = Wire::connect(stand.address(80)).await;
    wire.send("POST /stream HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for number in 0..10 {
        let piece = format!("piece {number}.");
        wire.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        wire.until(&piece).await;
    }
    wire.send("0\r\n\r\n").await;
    wire.until("\r\n0\r\n\r\n").await;

    let ask = Ask::new("POST", "http://a.example/stream");
    let (h2, _connection) = stand.h2(&ask).await;
    let mut sender = h2.sender().ready().await.unwrap();
    let (answer, mut up) = sender.send_request(request(&ask), false).unwrap();
    up.send_data(Bytes::from_static(b"first"), false).unwrap();
    let answer = soon("the head", answer).await.unwrap();
    let (head, mut down) = answer.into_parts();
    assert_eq!(head.status, 200);
    assert_eq!(soon("the first piece", down.data()).await.unwrap().unwrap(), "first");
    up.send_data(Bytes::from_static(b"second"), true).unwrap();
    assert_eq!(soon("the second piece", down.data()).await.unwrap().unwrap(), "second");
}

/// 16 MiB each way at once, with the client's windows as the only brake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_passes_both_ways_at_once() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let stand = plain_stand().await;
    let ask = Ask::new("POST", "http://a.example/stream");
    let (h2, _connection) = stand.h2(&ask).await;
    let mut sender = h2.sender().ready().await.unwrap();
    let (answer, mut up) = sender.send_request(request(&ask), false).unwrap();
    let sending = tokio::spawn(async move {
        let mut left = LENGTH;
        while left > 0 {
            up.reserve_capacity(left.min(64 * 1024));
            let room = std::future::poll_fn(|context| up.poll_capacity(context)).await.unwrap().unwrap();
            let piece = room.min(left);
            left -= piece;
            up.send_data(Bytes::from(vec![b'x'; piece]), left == 0).unwrap();
        }
    });
    let answer = soon("the whole body", async { collect(answer.await.unwrap()).await.unwrap() }).await;
    assert_eq!(answer.body.len(), LENGTH);
    sending.await.unwrap();
}

/// A client that leaves ends the request at the backend too: nothing goes on in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_the_backends_work() {
    let backend = sluice_tests::Recorder::scripted(|_| sluice_tests::Reply::Hang).await;
    let stand =
        sluice_tests::Stand::of_snapshot(sluice_tests::ir_samples::everything_to(backend.address())).await;
    let mut wire = Wire::connect(stand.address(80)).await;
    wire.send(Ask::get("http://a.example/").to_http1()).await;
    sluice_tests::eventually("the request arrives", || async { backend.requests().len() == 1 }).await;
    drop(wire);
    let metrics = stand.gateway().proxy().metrics().clone();
    sluice_tests::eventually("the request ends", || async {
        let text = metrics.encode();
        text.lines().any(|line| line.starts_with("sluice_requests_in_flight") && line.ends_with(" 0"))
    })
    .await;
}
