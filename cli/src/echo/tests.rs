//! The echo over real connections on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::command::Listen;
use super::grpc::{EchoRequest, EchoResponse};
use super::serve;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::{CancellationToken, DropGuard};

const DEADLINE: Duration = Duration::from_secs(10);

/// An echo that ends with the guard.
async fn echo() -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, "test".to_owned(), stop.clone()));
    (address, stop.drop_guard())
}

async fn send(address: SocketAddr, version: Version, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    if version == Version::HTTP_2 {
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        client.send_request(request).await.unwrap()
    } else {
        let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        client.send_request(request).await.unwrap()
    }
}

async fn get(address: SocketAddr, path: &str) -> Response<Incoming> {
    let request = Request::get(path).header("host", "shop.test").header("te", "trailers");
    send(address, Version::HTTP_11, request.body(Full::default()).unwrap()).await
}

async fn json(response: Response<Incoming>) -> Value {
    serde_json::from_slice(&response.collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn the_answer_tells_what_was_seen_on_both_protocols() {
    let (address, _guard) = echo().await;
    for (version, uri, protocol) in [
        (Version::HTTP_11, "/a/b?c=d".to_owned(), "HTTP/1.1"),
        (Version::HTTP_2, format!("http://{address}/a/b?c=d"), "HTTP/2"),
    ] {
        let request = Request::post(uri)
            .version(version)
            .header("x-one", "1")
            .header("x-echo-set-header", "x-asked: yes, please")
            .body(Full::from("hello"))
            .unwrap();
        let response = send(address, version, request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-asked"], "yes, please");
        assert_eq!(response.headers()["x-echo-backend"], "test");
        let seen = json(response).await;
        assert_eq!(seen["protocol"], protocol);
        assert_eq!(
            (&seen["method"], &seen["path"], &seen["query"]),
            (&"POST".into(), &"/a/b".into(), &"c=d".into())
        );
        assert_eq!((&seen["body"], &seen["bodyBytes"]), (&"hello".into(), &5.into()));
        assert!(seen["headers"].as_array().unwrap().contains(&serde_json::json!(["x-one", "1"])), "{seen}");
    }
}

#[tokio::test]
async fn knobs_set_status_length_and_failures() {
    let (address, _guard) = echo().await;
    assert_eq!(get(address, "/status/418?delay=1ms").await.status(), 418);
    assert_eq!(get(address, "/other?status=204").await.status(), 204);
    let bytes = get(address, "/bytes/100000").await.collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len(), 100_000);
    for expected in [503, 503, 200, 200] {
        assert_eq!(get(address, "/fail-first?n=2&key=a").await.status(), expected);
    }
    assert_eq!(get(address, "/fail-first?n=1&key=b&status=500").await.status(), 500);
    for _ in 0..3 {
        let request = Request::get("/").header("x-echo-count", "mine").body(Full::default()).unwrap();
        assert_eq!(send(address, Version::HTTP_11, request).await.status(), 200);
    }
    assert_eq!(get(address, "/count/mine").await.collect().await.unwrap().to_bytes(), "3\n");
}

#[tokio::test]
async fn streams_and_trailers_arrive() {
    let (address, _guard) = echo().await;
    let events = get(address, "/sse?events=3&every=1ms").await.collect().await.unwrap().to_bytes();
    assert_eq!(String::from_utf8_lossy(&events).matches("data: event").count(), 3);
    let collected = get(address, "/trailers").await.collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-echo-trailer"], "at the end");
    let request = Request::post("/stream").body(Full::from("back again")).unwrap();
    let streamed = send(address, Version::HTTP_11, request).await.collect().await.unwrap().to_bytes();
    assert_eq!(streamed, "back again");
}

#[tokio::test]
async fn an_early_hint_comes_before_the_answer_and_close_answers_nothing() {
    let (address, _guard) = echo().await;
    let raw = |path: &'static str| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let early = raw("/early").await;
    assert!(early.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{early}");
    assert!(early.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"), "{early}");
    assert_eq!(raw("/close").await, "");
}

#[tokio::test]
async fn web_socket_messages_come_back() {
    let (address, guard) = echo().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, response) =
        tokio_tungstenite::client_async(format!("ws://{address}/chat?greet"), stream).await.unwrap();
    assert_eq!(response.status(), 101);
    let greeting = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&greeting).unwrap()["path"], "/chat");
    for message in [Message::text("one"), Message::binary(vec![0, 255])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    drop(guard);
    let last = timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
    assert!(last.is_close(), "{last:?}");
}

fn framed(messages: &[&str]) -> Bytes {
    let mut bytes = BytesMut::new();
    for message in messages {
        let request = EchoRequest { message: (*message).to_owned(), repeat: 2, interval_ms: 0 };
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(request.encoded_len()).unwrap());
        bytes.put_slice(&request.encode_to_vec());
    }
    bytes.freeze()
}

async fn call(address: SocketAddr, path: &str, messages: &[&str]) -> (Vec<Bytes>, HeaderMap) {
    let request = Request::post(format!("http://{address}{path}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(Full::from(framed(messages)))
        .unwrap();
    let response = send(address, Version::HTTP_2, request).await;
    let head = response.headers().clone();
    let collected = response.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or(head);
    let mut bytes = collected.to_bytes();
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let prefix = bytes.split_to(5);
        let length = u32::from_be_bytes(prefix[1..5].try_into().unwrap()) as usize;
        responses.push(bytes.split_to(length));
    }
    (responses, trailers)
}

#[tokio::test]
async fn grpc_calls_of_all_four_shapes_end_with_a_status() {
    let (address, _guard) = echo().await;
    for (method, sent, expected) in [
        ("Unary", &["a"][..], &["a"][..]),
        ("ServerStream", &["a"], &["a", "a"]),
        ("ClientStream", &["a", "b"], &["a,b"]),
        ("BidiStream", &["a", "b", "c"], &["a", "b", "c"]),
    ] {
        let (responses, trailers) = call(address, &format!("/sluice.echo.v1.Echo/{method}"), sent).await;
        let got: Vec<_> =
            responses.into_iter().map(|response| EchoResponse::decode(response).unwrap().message).collect();
        assert_eq!(got, expected, "{method}");
        assert_eq!(trailers["grpc-status"], "0", "{method}");
    }
    let (none, trailers) = call(address, "/sluice.echo.v1.Echo/Nothing", &["a"]).await;
    assert!(none.is_empty());
    assert_eq!(trailers["grpc-status"], "12");
}

#[tokio::test]
async fn the_health_service_knows_the_echo_only() {
    let (address, _guard) = echo().await;
    let (serving, known) = call(address, "/grpc.health.v1.Health/Check", &["sluice.echo.v1.Echo"]).await;
    assert_eq!((serving.len(), serving[0].as_ref()), (1, &[8, 1][..]), "status SERVING");
    assert_eq!(known["grpc-status"], "0");
    let (_, unknown) = call(address, "/grpc.health.v1.Health/Check", &["other"]).await;
    assert_eq!(unknown["grpc-status"], "5");
}

#[test]
fn what_is_spoken_stands_behind_a_comma() {
    for text in
        ["127.0.0.1:1", "127.0.0.1:1=a", "[::1]:1=a,tls=folder,1", "127.0.0.1:1=a,tcp", "127.0.0.1:1,udp"]
    {
        assert!(text.parse::<Listen>().is_ok(), "{text}");
    }
    let error = "127.0.0.1:1=a,tpc".parse::<Listen>().unwrap_err();
    assert_eq!(error, "\"tpc\" is not known behind a comma; use tls=FOLDER, tcp or udp");
}
