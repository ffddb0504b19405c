//! HTTP/2 by prior knowledge: streams, limits, abuse, drain.

use crate::support::{Server, limits, within};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use std::time::Duration;
use tokio::task::JoinHandle;

type Driver = JoinHandle<Result<(), h2::Error>>;

async fn client(server: &Server) -> (SendRequest<Bytes>, Driver) {
    let socket = server.connect().await;
    let (send, connection) = within(h2::client::handshake(socket)).await.unwrap();
    (send, tokio::spawn(connection))
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}")).body(()).unwrap()
}

/// Sends a request and reads the whole answer.
async fn fetch(send: &mut SendRequest<Bytes>, path: &str) -> Result<(StatusCode, String), h2::Error> {
    let mut send = within(send.clone().ready()).await?;
    let (response, _) = send.send_request(request(path), true)?;
    let response = within(response).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(part) = within(body.data()).await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        text.extend_from_slice(&part);
    }
    Ok((status, String::from_utf8(text).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_answered_side_by_side() {
    let server = Server::plain().await;
    let (mut send, _driver) = client(&server).await;
    let mut waiting = send.clone();
    let slow = tokio::spawn(async move { fetch(&mut waiting, "/gate").await });
    server.app.someone_waits().await;
    let (status, text) = fetch(&mut send, "/quick").await.unwrap();
    assert_eq!(status, 200);
    assert!(text.starts_with("GET /quick body=0 peer=127.0.0.1:"), "{text}");
    server.app.gate.add_permits(1);
    assert!(slow.await.unwrap().unwrap().1.starts_with("GET /gate"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preface_may_arrive_in_pieces() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::plain().await;
    let mut socket = server.connect().await;
    socket.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // The client's and the server's SETTINGS.
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut header = [0; 9];
    within(socket.read_exact(&mut header)).await.unwrap();
    assert_eq!(header[3], 4, "SETTINGS first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_body_larger_than_the_windows_passes() {
    let server = Server::plain().await;
    let (send, _driver) = client(&server).await;
    let mut send = within(send.ready()).await.unwrap();
    let (response, mut body) = send.send_request(request("/body"), false).unwrap();
    let mut left = 3_000_000;
    while left > 0 {
        body.reserve_capacity(left);
        let granted = within(std::future::poll_fn(|cx| body.poll_capacity(cx))).await.unwrap().unwrap();
        body.send_data(Bytes::from(vec![b'x'; granted.min(left)]), granted >= left).unwrap();
        left = left.saturating_sub(granted);
    }
    let mut answer = within(response).await.unwrap().into_body();
    let text = within(answer.data()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&text).contains("body=3000000"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_streams_too_fast_is_told_to_calm_down() {
    let server = Server::start(limits(|limits| limits.resets_per_second = 20)).await;
    let (mut send, driver) = client(&server).await;
    // Far above the limit, but no endless flood: that one would be cut before it reads why.
    for _ in 0..300 {
        let Ok(mut ready) = within(send.clone().ready()).await else { break };
        let Ok((_, mut stream)) = ready.send_request(request("/gate"), false) else { break };
        stream.send_reset(h2::Reason::CANCEL);
        send = ready;
    }
    let error = within(driver).await.unwrap().expect_err("closed by GOAWAY");
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
    assert!(error.is_remote(), "{error}");
    server.log.wait_for("refused bad_request too many stream resets").await;
    server.log.wait_for("closed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_within_its_resets_stays() {
    let server = Server::start(limits(|limits| limits.resets_per_second = 50)).await;
    let (mut send, _driver) = client(&server).await;
    for _ in 0..20 {
        let mut ready = within(send.clone().ready()).await.unwrap();
        let (_, mut stream) = ready.send_request(request("/gate"), false).unwrap();
        stream.send_reset(h2::Reason::CANCEL);
    }
    assert_eq!(fetch(&mut send, "/fine").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_resets_only_its_stream() {
    let server = Server::plain().await;
    let (mut send, _driver) = client(&server).await;
    assert!(fetch(&mut send, "/panic").await.is_err());
    server.log.wait_for("panicked").await;
    assert_eq!(fetch(&mut send, "/after").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_fields_than_the_limit_are_too_large() {
    let server = Server::start(limits(|limits| limits.request_headers = 5)).await;
    let (send, _driver) = client(&server).await;
    let mut send = within(send.ready()).await.unwrap();
    let mut many = request("/");
    for n in 0..6 {
        many.headers_mut()
            .insert(http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(), "y".parse().unwrap());
    }
    let (response, _) = send.send_request(many, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 431);
    server.log.wait_for("refused head_too_large too many header fields [GET ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_sends_goaway_and_finishes_what_is_in_flight() {
    let server = Server::plain().await;
    let (send, driver) = client(&server).await;
    let (_idle, idle_driver) = client(&server).await;
    let mut waiting = send.clone();
    let slow = tokio::spawn(async move { fetch(&mut waiting, "/gate").await });
    server.app.someone_waits().await;
    let (cut, ()) = tokio::join!(server.ports.drain(Duration::from_secs(8)), async {
        within(idle_driver).await.unwrap().unwrap();
        server.app.gate.add_permits(1);
        assert!(slow.await.unwrap().unwrap().1.starts_with("GET /gate"));
        within(driver).await.unwrap().unwrap();
    });
    assert_eq!(cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_told_to_go_away() {
    let server = Server::start(limits(|limits| limits.idle_timeout = Duration::from_millis(200))).await;
    let (mut send, driver) = client(&server).await;
    assert_eq!(fetch(&mut send, "/").await.unwrap().0, 200);
    within(driver).await.unwrap().unwrap();
    server.log.wait_for("closed").await;
}
