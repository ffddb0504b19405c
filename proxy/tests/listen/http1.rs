//! HTTP/1: keep-alive, pipelining, bodies, streaming, panics.

use crate::support::{Server, get, limits, read_response, read_to_end, within};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_one_request_after_another() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    for n in 0..3 {
        socket.write_all(get(&format!("/{n}")).as_bytes()).await.unwrap();
        let answer = read_response(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: keep-alive"), "{answer}");
        assert!(answer.contains(&format!("GET /{n} body=0")), "{answer}");
        assert!(answer.contains(&format!("peer={}", socket.local_addr().unwrap())), "{answer}");
    }
    drop(socket);
    server.log.wait_for("closed").await;
    assert_eq!(server.log.lines(), ["opened", "closed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    let chunked = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let sized = "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    let last = "GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let all = format!("{}{chunked}{sized}\r\n{last}", get("/a"));
    socket.write_all(all.as_bytes()).await.unwrap();
    let answers = read_to_end(&mut socket).await;
    let order: Vec<_> = ["GET /a body=0", "POST /b body=3", "POST /c body=4", "GET /d body=0"]
        .iter()
        .map(|part| answers.find(part).unwrap_or_else(|| panic!("{part} in {answers}")))
        .collect();
    assert!(order.is_sorted(), "{answers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_arrives_while_another_is_answered_waits_its_turn() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    socket.write_all(get("/stream").as_bytes()).await.unwrap();
    server.app.someone_waits().await;
    socket.write_all(get("/next").as_bytes()).await.unwrap();
    server.app.gate.add_permits(1);
    assert!(read_response(&mut socket).await.contains("GET /stream"));
    assert!(read_response(&mut socket).await.contains("GET /next"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipelined_request_is_checked_as_strictly_as_the_first() {
    let server = Server::plain().await;
    let smuggled = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answers = server.exchange(format!("{}{smuggled}", get("/a"))).await;
    assert!(answers.contains("GET /a"), "{answers}");
    assert!(answers.contains("HTTP/1.1 400 Bad Request\r\n"), "{answers}");
    assert!(answers.ends_with("Transfer-Encoding and Content-Length\n"), "{answers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_arrive_in_any_pieces() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    socket.set_nodelay(true).unwrap();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nT: u\r\n\r\n";
    for piece in request.as_bytes().chunks(3) {
        socket.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(read_response(&mut socket).await.contains("body=21"));
    socket.write_all(get("/again").as_bytes()).await.unwrap();
    assert!(read_response(&mut socket).await.contains("/again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_passes() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    let body = vec![b'x'; 3_000_000];
    socket
        .write_all(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())
        .await
        .unwrap();
    socket.write_all(&body).await.unwrap();
    assert!(read_response(&mut socket).await.contains("body=3000000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_chunk_ends_the_connection() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_sent_while_the_application_waits() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    socket.write_all(get("/stream").as_bytes()).await.unwrap();
    server.app.someone_waits().await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"GET ") {
        seen.push(within(socket.read_u8()).await.unwrap());
    }
    server.app.gate.add_permits(1);
    let mut rest = [0; 7];
    within(socket.read_exact(&mut rest)).await.unwrap();
    assert_eq!(&rest, b"/stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_and_a_small_body_are_one_packet() {
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    socket.write_all(get("/").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let len = within(socket.read(&mut buffer)).await.unwrap();
    let answer = String::from_utf8_lossy(&buffer[..len]);
    assert!(answer.ends_with("plain"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_only_its_connection() {
    let server = Server::plain().await;
    let mut other = server.connect().await;
    other.write_all(get("/before").as_bytes()).await.unwrap();
    read_response(&mut other).await;

    let answer = server.exchange(get("/panic")).await;
    assert_eq!(answer, "");
    server.log.wait_for("panicked").await;

    other.write_all(get("/after").as_bytes()).await.unwrap();
    assert!(read_response(&mut other).await.contains("/after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_after_the_idle_timeout() {
    let server = Server::start(limits(|limits| limits.idle_timeout = Duration::from_millis(200))).await;
    let mut fresh = server.connect().await;
    let mut used = server.connect().await;
    used.write_all(get("/").as_bytes()).await.unwrap();
    read_response(&mut used).await;
    let start = Instant::now();
    assert_eq!(read_to_end(&mut used).await, "");
    assert_eq!(read_to_end(&mut fresh).await, "");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(server.log.lines().iter().all(|line| !line.contains("refused")), "{:?}", server.log.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_closes_unless_asked_to_stay() {
    let server = Server::plain().await;
    let answer = server.exchange("GET /old HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.contains("GET /old"), "{answer}");
    let mut socket = server.connect().await;
    for _ in 0..2 {
        socket.write_all(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        assert!(read_response(&mut socket).await.contains("GET /old"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_given_up() {
    let server =
        Server::start(limits(|limits| limits.stream_idle_timeout = Duration::from_millis(300))).await;
    let mut socket = server.connect().await;
    // Pipelined requests whose answers nobody reads, until both sides' buffers are full.
    let requests = get("/").repeat(1000);
    let writing = async { while socket.write_all(requests.as_bytes()).await.is_ok() {} };
    tokio::select! {
        () = writing => {}
        () = server.log.wait_for("closed") => {}
    }
    server.log.wait_for("closed").await;
}
