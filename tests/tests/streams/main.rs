//! Connections and datagrams that are carried whole, through a real gateway with real sockets on both sides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authorization;
mod records;
mod tcp;
mod tls;
mod tunnel;
mod udp;

use sluice_tests::{Endpoints, Stand, soon};
use socket2::SockRef;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A Gateway `web` with these listeners, and whatever else.
fn gateway(listeners: &[&str], more: &str) -> String {
    let listeners: String = listeners.iter().map(|it| format!("  - {{{it}}}\n")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: web}}\nspec:\n  \
         gatewayClassName: sluice\n{more}  listeners:\n{listeners}"
    )
}

/// Settings that a Gateway names by `PARAMETERS`.
const PARAMETERS: &str =
    "  infrastructure: {parametersRef: {group: sluice.dev, kind: GatewayParameters, name: own}}\n";

fn parameters(spec: &str) -> String {
    format!(
        "---\napiVersion: sluice.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{name: own}}\nspec: {{{spec}}}\n"
    )
}

/// A Service with one port 80 and its endpoints.
fn service(name: &str, protocol: &str, endpoints: &[SocketAddr]) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: main, port: 80, \
         protocol: {protocol}}}]}}\n"
    );
    for (number, endpoint) in endpoints.iter().enumerate() {
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-{number}, labels: \
             {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\nports: [{{name: main, port: {}, protocol: \
             {protocol}}}]\nendpoints: [{{addresses: [{}]}}]\n",
            endpoint.port(),
            endpoint.ip()
        );
    }
    text
}

/// A route of `web`. `backends`: name and weight; `parent` and `hosts` as YAML.
fn route(kind: &str, name: &str, parent: &str, hosts: &str, backends: &[(&str, u32)]) -> String {
    let backends: Vec<_> = backends
        .iter()
        .map(|(name, weight)| format!("{{name: {name}, port: 80, weight: {weight}}}"))
        .collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!("  hostnames: [{hosts}]\n") };
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  parentRefs: \
         [{{name: web, {parent}}}]\n{hosts}  rules: [{{backendRefs: [{}]}}]\n",
        backends.join(", ")
    )
}

async fn stand(yaml: &str) -> Stand {
    let mut stand = Stand::empty(Endpoints::AsWritten).await;
    stand.apply(yaml).await;
    assert_eq!(stand.failures(), []);
    stand
}

/// A listener whose connections the test takes one by one.
struct Backend {
    address: SocketAddr,
    connections: mpsc::UnboundedReceiver<TcpStream>,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, connections }
    }

    async fn next(&mut self) -> TcpStream {
        soon("a connection at the backend", self.connections.recv()).await.unwrap()
    }
}

/// A backend that says its name to whoever connects, and ends.
async fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(name.as_bytes()).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

async fn connect(stand: &Stand, port: u16) -> TcpStream {
    let stream = soon("a connection", TcpStream::connect(stand.address(port))).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// All that comes on a new connection. One that is reset at once may be so before it is there for its client.
async fn whole(stand: &Stand, port: u16) -> std::io::Result<Vec<u8>> {
    rest(&mut soon("a connection", TcpStream::connect(stand.address(port))).await?).await
}

/// Everything until the end.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    soon("the end", stream.read_to_end(&mut bytes)).await.map(|_| bytes)
}

async fn exactly(stream: &mut (impl AsyncRead + Unpin), len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    soon("bytes", stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    soon("room", stream.write_all(bytes)).await.unwrap();
    stream.flush().await.unwrap();
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Bytes that no two places share.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// What the admin server says of a metric: the lines that begin so.
async fn metric(stand: &Stand, start: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(stand.admin()).await.unwrap();
    send(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await;
    let text = String::from_utf8(rest(&mut stream).await.unwrap()).unwrap();
    text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}
