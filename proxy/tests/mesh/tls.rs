//! The mesh's TLS between two sidecars: every protocol within, and who may not speak.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict};
use bytes::Bytes;
use http_body_util::Full;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sluice_ir::{ListenerProtocol, MeshTls};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A ClientHello of nobody in the mesh.
pub(crate) fn hello(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A client and a strict server beside an application.
async fn pair(ca: &Ca, app: SocketAddr) -> (Sidecar, Sidecar) {
    let server = Sidecar::beside(app, Some(ca.issue("cart", &[ca]))).await;
    server.govern(strict).await;
    let client = Sidecar::start(Some(ca.issue("web", &[ca]))).await;
    client.govern(|_| {}).await;
    (client, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_either_version_and_what_becomes_of_them() {
    let ca = Ca::new("root");
    let (client, server) = pair(&ca, app::http().await).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Detect, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    let to = client.outbound();

    let mut http1 = app::Http1::connect(to).await;
    let body = Full::new(Bytes::from("b".repeat(200_000)));
    let request = http::Request::post("/large").header("host", "cart").body(body).unwrap();
    let (status, body, _) = http1.ask(request).await.unwrap();
    assert!(status == 200 && body.starts_with("/large HTTP/1.1") && body.len() > 200_000);

    let mut request = http::Request::post("http://cart/grpc").body(Full::new(Bytes::from("x"))).unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let (status, body, trailers) = app::http2(to, request).await;
    assert!(status == 200 && body.contains("HTTP/2.0"), "{body}");
    assert_eq!(trailers["grpc-status"], "0");

    // A WebSocket.
    let mut socket = TcpStream::connect(to).await.unwrap();
    let upgrade = "GET /echo HTTP/1.1\r\nhost: cart\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    socket.write_all(b"ping").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"ping") {
        let mut byte = [0];
        assert_eq!(socket.read(&mut byte).await.unwrap(), 1);
        seen.extend(byte);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_connections_and_the_tls_of_applications_within() {
    let ca = Ca::new("root");
    let (client, server) = pair(&ca, app::tcp("").await).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Tcp, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    assert_eq!(app::exchange(client.outbound(), b"\x00abc", 4).await, b"\x00abc");
    let hello = hello("cart.example");
    assert_eq!(app::exchange(client.outbound(), &hello, hello.len()).await, hello);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_who_is_behind_the_endpoint_gets_nothing() {
    let ca = Ca::new("root");
    let (client, server) = pair(&ca, app::http().await).await;
    let service = Service {
        account: Some("somebody-else"),
        ..Service::new("10.96.0.1", ListenerProtocol::Http, server.inbound())
    };
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    let (status, body) = app::get(client.outbound(), "cart", "/").await;
    assert_eq!((status, body.trim()), (502, "upstream_tls"));
    // One of another mesh, to the same account.
    let stranger = Ca::new("other");
    let client = Sidecar::start(Some(stranger.issue("web", &[&stranger, &ca]))).await;
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    let (status, body) = app::get(client.outbound(), "cart", "/").await;
    assert_eq!(status, 502, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_identity_nothing_is_said_in_the_clear() {
    let server = Sidecar::beside(app::http().await, None).await;
    let client = Sidecar::start(None).await;
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));
    // Given while the request waits.
    let ca = Ca::new("root");
    server.identity.send_replace(Some(ca.issue("cart", &[&ca])));
    let asking = tokio::spawn(async move {
        let answer = app::get(client.outbound(), "cart", "/").await;
        (client, answer)
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!asking.is_finished());
    let (client, (status, body)) = asking.await.unwrap();
    assert_eq!((status, body.trim()), (503, "no_identity"));
    client.identity.send_replace(Some(ca.issue("web", &[&ca])));
    assert_eq!(app::get(client.outbound(), "cart", "/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_do_not_take_the_mesh_are_spoken_to_in_the_clear_unless_it_is_required() {
    let ca = Ca::new("root");
    let client = Sidecar::start(Some(ca.issue("web", &[&ca]))).await;
    client.govern(|_| {}).await;
    let plain =
        Service { account: None, ..Service::new("10.96.0.1", ListenerProtocol::Http, app::http().await) };
    client.apply(plain.resources()).await;
    client.captured_from(Some(plain.vip()));
    assert_eq!(app::get(client.outbound(), "cart", "/").await.0, 200);
    client.apply(Service { mesh: MeshTls::Required("a.b".into()), ..plain }.resources()).await;
    let (status, body) = app::get(client.outbound(), "cart", "/").await;
    assert_eq!((status, body.trim()), (502, "upstream_tls"));
}
