//! WebSocket through the gateway (RFC 6455).

use crate::{plain_manifests, plain_stand};
use futures::{SinkExt, StreamExt};
use sluice_tests::{Stand, soon};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, answer) =
        soon("WebSocket handshake", client_async("ws://a.example/chat", stream)).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["x-echo-backend"], "main.test:80");
    socket
}

async fn echoes(socket: &mut WebSocketStream<TcpStream>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    let answer = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(answer, message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_binary_and_pings_pass_both_ways() {
    let stand = plain_stand().await;
    let mut socket = connect(stand.address(80)).await;
    echoes(&mut socket, Message::text("hello")).await;
    echoes(&mut socket, Message::binary(vec![0, 255, 13, 10])).await;
    echoes(&mut socket, Message::binary(vec![7; 300_000])).await;
    socket.send(Message::Ping(Bytes::from_static(b"ping"))).await.unwrap();
    let pong = soon("a pong", socket.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"ping")));
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = soon("the close", socket.next()).await {}
}

/// A configuration change never closes a connection: not when the route goes, not when the listener is edited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_every_reload() {
    let mut stand = Stand::start(&plain_manifests()).await;
    let mut socket = connect(stand.address(80)).await;
    echoes(&mut socket, Message::text("before")).await;
    for round in 0..10 {
        let edited = plain_manifests().replace("name: all", &format!("name: all-{round}"));
        stand.apply(&edited).await;
        echoes(&mut socket, Message::text(format!("after {round}"))).await;
    }
    stand.apply(&plain_manifests().replace("name: http, port: 80", "name: other, port: 80")).await;
    echoes(&mut socket, Message::text("after the listener was renamed")).await;
    connect(stand.address(80)).await.close(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_open_at_once() {
    let stand = plain_stand().await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(connect(stand.address(80)).await);
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        echoes(socket, Message::text(format!("socket {number}"))).await;
    }
}
