//! The PROXY protocol in front of connections.

use crate::support::{Server, get, limits, read_response};
use sluice_ir::ProxyProtocol;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

async fn server() -> Server {
    let mut config = limits(|limits| limits.tls_handshake_timeout = Duration::from_millis(500));
    config.proxy_protocol = ProxyProtocol::Required;
    Server::start(config).await
}

fn v2(rest: &[u8]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n", rest].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_name_the_client_and_take_no_byte_too_many() {
    let server = server().await;
    let v1 = b"PROXY TCP6 2001:db8::7 ::1 1000 80\r\n".to_vec();
    let tcp4 = v2(&[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x03, 0xe8, 0, 80]);
    for (header, peer) in [(v1, "peer=[2001:db8::7]:1000 "), (tcp4, "peer=192.0.2.1:1000 ")] {
        let bytes = [header, get("/").into_bytes()].concat();
        for step in [1, 5, bytes.len()] {
            let mut socket = server.connect().await;
            socket.set_nodelay(true).unwrap();
            for piece in bytes.chunks(step) {
                socket.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let answer = read_response(&mut socket).await;
            assert!(answer.contains(peer), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_client_in_the_header_the_socket_is_the_peer() {
    let server = server().await;
    for header in [v2(&[0x20, 0, 0, 0]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut socket = server.connect().await;
        socket.write_all(&[header, get("/").into_bytes()].concat()).await.unwrap();
        let answer = read_response(&mut socket).await;
        assert!(answer.contains(&format!("peer={} ", socket.local_addr().unwrap())), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_valid_header_in_time_is_closed() {
    let server = server().await;
    let malformed = v2(&[0x21, 0x11, 0xff, 0xff]);
    for (bytes, logged) in [
        (get("/").into_bytes(), "no PROXY header ["),
        (b"PROXY TCP4 nonsense more nonsense\r\n".to_vec(), "malformed PROXY header"),
        (b"PROXY ".repeat(50), "malformed PROXY header"),
        (malformed, "malformed PROXY header"),
        (b"PROXY TCP4 192".to_vec(), "no PROXY header in time"),
    ] {
        let mut socket = server.connect().await;
        socket.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = crate::support::within(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer)).await;
        assert!(answer.is_empty(), "{:?}", String::from_utf8_lossy(&answer));
        server.log.wait_for(logged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_not_expected_is_an_http_error() {
    let server = Server::plain().await;
    let answer = server.exchange(format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{}", get("/"))).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}
