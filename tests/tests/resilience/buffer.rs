//! Requests that are read whole before a backend is troubled with them.

use super::{end_so, given, governed, metric, metric_becomes};
use bytes::Bytes;
use sluice_ir as ir;
use sluice_tests::{Ask, Recorder, Reply, Stand, Wire, eventually, ir_samples, soon};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HELD: &str = "sluice_buffered_request_bytes";

fn buffered(max_bytes: u64) -> ir::TrafficSettings {
    ir::TrafficSettings { buffer: given(ir::RequestBuffer { max_bytes }), ..ir::TrafficSettings::default() }
}

async fn stand(addresses: &[SocketAddr], max_bytes: u64) -> Stand {
    Stand::of_snapshot(governed(addresses, buffered(max_bytes), |_| {})).await
}

async fn wire(stand: &Stand) -> Wire {
    stand.wire(&Ask::get("http://a.example/")).await
}

/// A body of which every byte says where it is.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_slowly_troubles_no_backend_before_it_is_done() {
    let backend = Recorder::start().await;
    let stand = stand(&[backend.address()], 1 << 20).await;
    let mut wire = wire(&stand).await;
    wire.send("POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n")
        .await;
    eventually("the first piece is held", || async { metric(&stand, HELD) > 0.0 }).await;
    assert_eq!(backend.connections(), 0);
    wire.send("6\r\nsecond\r\n0\r\nX-Trailer: 1\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 200);
    let seen = &backend.requests()[0];
    assert_eq!((seen.values("content-length"), &seen.body[..]), (vec!["12"], &b"first second"[..]));
    assert!(seen.values("transfer-encoding").is_empty(), "{seen:?}");
    // The connection goes on.
    let ask = Ask::new("PUT", "http://a.example/b").body("again");
    assert_eq!(wire.ask(&ask).await.status, 200);
    assert_eq!(wire.ask(&Ask::get("http://a.example/c")).await.status, 200);
    assert_eq!(backend.lines(), ["POST /a HTTP/1.1", "PUT /b HTTP/1.1", "GET /c HTTP/1.1"]);
    metric_becomes(&stand, HELD, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_clients_and_bodies_of_any_size_up_to_the_bound() {
    let backend = Recorder::start().await;
    let stand = stand(&[backend.address()], 2 << 20).await;
    for length in [1, 70_000, 2 << 20] {
        let ask = Ask::new("POST", "http://a.example/").body(pattern(length));
        assert_eq!(stand.request_h2(&ask).await.status, 200, "{length} over HTTP/2");
        assert_eq!(stand.request(&ask).await.status, 200, "{length} over HTTP/1.1");
    }
    let lengths: Vec<_> = backend.requests().iter().map(|it| it.body.len()).collect();
    assert_eq!(lengths, [1, 1, 70_000, 70_000, 2 << 20, 2 << 20]);
    assert!(backend.requests().iter().all(|it| it.body == pattern(it.body.len())));
    for ask in [Ask::get("http://a.example/"), Ask::new("POST", "http://a.example/")] {
        assert_eq!(stand.request_h2(&ask).await.status, 200, "{ask:?}");
        assert_eq!(stand.request(&ask).await.status, 200, "{ask:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_body_in_chunks_is_one_of_length_0() {
    let backend = Recorder::start().await;
    let stand = stand(&[backend.address()], 100).await;
    let mut wire = wire(&stand).await;
    for _ in 0..2 {
        wire.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 200);
    }
    assert!(backend.requests().iter().all(|it| it.values("content-length") == ["0"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_above_the_bound_gets_413_and_no_backend() {
    let backend = Recorder::start().await;
    let stand = stand(&[backend.address()], 10).await;
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n",
    ] {
        let mut wire = wire(&stand).await;
        wire.send(request).await;
        let answer = wire.answer().await;
        assert!(answer.status == 413 && answer.closes() && answer.interim.is_empty(), "{answer:?}");
    }
    let ask = Ask::new("POST", "http://a.example/").body("12345678901");
    assert_eq!(stand.request_h2(&ask).await.status, 413);
    let grpc = ask.header("content-type", "application/grpc").header("te", "trailers");
    assert_eq!(stand.request_h2(&grpc).await.header("grpc-status"), Some("8"));
    end_so(&stand, "body_too_large", 5).await;
    assert_eq!(backend.connections(), 0);
    metric_becomes(&stand, HELD, 0.0).await;
}

/// RFC 9110 §10.1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_for_leave_gets_it_here_and_the_backend_is_not_asked() {
    let backend = Recorder::start().await;
    let stand = stand(&[backend.address()], 100).await;
    let mut stream = sluice_tests::client::plain(stand.address(80)).await;
    let mut bytes = [0; 1024];
    for _ in 0..2 {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let length = soon("leave", stream.read(&mut bytes)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes[..length]), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"body").await.unwrap();
        let length = soon("the answer", stream.read(&mut bytes)).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes[..length]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(backend.requests().len(), 2);
    assert!(backend.requests().iter().all(|it| it.values("expect").is_empty() && it.body == "body"));
}

/// Without `buffer` only 64 KiB are kept for a second try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_is_sent_again_whole() {
    let unavailable = || {
        Recorder::scripted(|_| {
            Reply::Send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec())
        })
    };
    let body = pattern(1 << 20);
    for (settings, expected) in [(buffered(1 << 20), 200), (ir::TrafficSettings::default(), 503)] {
        let (bad, good) = (unavailable().await, Recorder::start().await);
        let retry = ir::Retry { codes: vec![503], attempts: 1, backoff: Duration::ZERO };
        let snapshot = governed(&[bad.address(), good.address()], settings, |rule| {
            rule.retry = Some(retry.into());
        });
        let snapshot = round_robin(snapshot);
        let stand = Stand::of_snapshot(snapshot).await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let ask = Ask::new("POST", "http://a.example/").body(body.clone());
            statuses.push(stand.request(&ask).await.status);
            statuses.push(stand.request_h2(&ask).await.status);
        }
        assert!(statuses.contains(&expected) && statuses.iter().all(|it| *it == 200 || *it == expected));
        assert!(!bad.requests().is_empty());
        assert!(good.requests().iter().all(|it| it.body == body));
    }
}

/// The endpoint that answers with errors keeps its turn.
fn round_robin(mut snapshot: ir::Snapshot) -> ir::Snapshot {
    let gateway = ir_samples::with_settings(ir::Snapshot::default(), |settings| {
        settings.eject_after_failures = 0;
        settings.balancing = ir::Balancing::RoundRobin;
    });
    snapshot.gateways = gateway.gateways;
    snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_the_middle_troubles_no_backend() {
    let backend = Recorder::start().await;
    let stand = stand(&[backend.address()], 100).await;
    let mut leaving = wire(&stand).await;
    leaving.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhalf").await;
    eventually("half is held", || async { metric(&stand, HELD) > 0.0 }).await;
    drop(leaving);
    end_so(&stand, "client_gone", 1).await;
    metric_becomes(&stand, HELD, 0.0).await;
    assert_eq!(backend.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_ends_in_408_and_the_requests_own_time_in_504() {
    let backend = Recorder::start().await;
    for (request, stall, expected, outcome) in
        [(None, 50, 408, "body_timeout"), (Some(50), 10_000, 504, "request_timeout")]
    {
        let timeouts = ir::Timeouts { request: request.map(Duration::from_millis), backend_request: None };
        let mut snapshot =
            governed(&[backend.address()], buffered(100), |rule| rule.timeouts = timeouts.boxed());
        let gateway = ir_samples::with_settings(ir::Snapshot::default(), |settings| {
            settings.limits.stream_idle_timeout = Duration::from_millis(stall);
        });
        snapshot.gateways = gateway.gateways;
        let stand = Stand::of_snapshot(snapshot).await;
        let mut wire = wire(&stand).await;
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhalf").await;
        assert_eq!(wire.answer().await.status, expected);
        let (h2, connection) = stand.h2(&Ask::get("http://a.example/")).await;
        let ask = Ask::new("POST", "http://a.example/");
        let mut sender = h2.sender().ready().await.unwrap();
        let (response, mut body) = sender.send_request(sluice_tests::client::request(&ask), false).unwrap();
        body.send_data(Bytes::from_static(b"half"), false).unwrap();
        assert_eq!(response.await.unwrap().status(), expected);
        connection.abort();
        end_so(&stand, outcome, 2).await;
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_buffered_requests_are_whole() {
    let (main, shadow) = (Recorder::start().await, Recorder::start().await);
    let mut snapshot = governed(&[main.address()], buffered(1 << 20), |rule| {
        let target = ir::BackendTarget::Backend(ir::BackendKey::new("Service/default/shadow:80"));
        rule.filters = [ir::Filter::Mirror(ir::Mirror { target, fraction: ir::Ratio::ALL })].into();
    });
    let backend = ir_samples::backend("shadow", ir::BackendProtocol::Http1);
    let set = ir_samples::endpoints("shadow", &[shadow.address()]);
    snapshot.backends.insert(backend.key.clone(), backend);
    snapshot.endpoint_sets.insert(set.key.clone(), set);
    let stand = Stand::of_snapshot(snapshot).await;
    let body = pattern(100_000);
    let ask = Ask::new("POST", "http://a.example/").body(body.clone());
    assert_eq!(stand.request(&ask).await.status, 200);
    eventually("the copy came", || async { !shadow.requests().is_empty() }).await;
    assert!(main.requests()[0].body == body && shadow.requests()[0].body == body);
}
