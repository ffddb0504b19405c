//! The same ports in front of Pingora's own proxy: what its session does with our connection.

use crate::support::{Log, WANTED, get, limits, read_response, read_to_end, within};
use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use sluice_proxy::listen::{PortConfig, Ports};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Time that the backend takes to accept an upgrade.
const BACKEND_TAKES: Duration = Duration::from_millis(50);

struct ToBackend(SocketAddr);

#[async_trait]
impl ProxyHttp for ToBackend {
    type CTX = ();
    fn new_ctx(&self) {}
    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora_error::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Answers every request with its target and the length of its body; `/upgrade` switches to an echo of bytes;
/// `/slow` sends the body in two parts around the gate.
struct Backend {
    address: SocketAddr,
    gate: Arc<Semaphore>,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind(WANTED).await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let shared = gate.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(BufReader::new(socket), shared.clone()));
            }
        });
        Self { address, gate }
    }
}

async fn serve(mut socket: BufReader<TcpStream>, gate: Arc<Semaphore>) -> std::io::Result<()> {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let lower = head.to_ascii_lowercase();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        if path == "/upgrade" {
            // Pingora 0.9.1 ends an upgraded connection when the 101 overtakes the end of the (empty) request body on
            // its way between the two halves of the proxy. A backend that is not in the same process takes longer.
            tokio::time::sleep(BACKEND_TAKES).await;
            socket
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                )
                .await?;
            let mut byte = [0];
            while socket.read(&mut byte).await? > 0 {
                socket.write_all(&byte.to_ascii_uppercase()).await?;
            }
            return Ok(());
        }
        let len = if lower.contains("transfer-encoding: chunked") {
            read_chunked(&mut socket).await?
        } else {
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            socket.read_exact(&mut body).await?;
            body.len()
        };
        let text = format!("{path} body={len}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if path == "/slow" {
            let (first, rest) = answer.split_at(answer.len() - 3);
            socket.write_all(first.as_bytes()).await?;
            gate.acquire().await.unwrap().forget();
            socket.write_all(rest.as_bytes()).await?;
        } else {
            socket.write_all(answer.as_bytes()).await?;
        }
    }
}

async fn read_chunked(socket: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut total = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut data = vec![0; size + 2];
        socket.read_exact(&mut data).await?;
        total += size;
        if size == 0 {
            return Ok(total);
        }
    }
}

struct Proxied {
    ports: Ports<HttpProxy<ToBackend>>,
    address: SocketAddr,
    backend: Backend,
}

impl Proxied {
    async fn start(config: PortConfig) -> Self {
        let backend = Backend::start().await;
        let proxy = http_proxy(&Arc::new(ServerConf::default()), ToBackend(backend.address));
        let ports = Ports::new(Arc::new(proxy), Arc::new(Log::default()));
        assert!(ports.apply(BTreeMap::from([(WANTED, Arc::new(config))])).await.is_empty());
        let address = ports.bound()[0].1;
        Self { ports, address, backend }
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_and_pipelining_work_through_the_proxy() {
    let proxied = Proxied::start(PortConfig::default()).await;
    let mut socket = proxied.connect().await;
    for n in 0..3 {
        socket.write_all(get(&format!("/{n}")).as_bytes()).await.unwrap();
        assert!(read_response(&mut socket).await.ends_with(&format!("/{n} body=0")));
    }
    let chunked =
        "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let all = format!("{}{}{chunked}{}{last}", get("/a"), post("/b", "12345"), get("/c"));
    socket.write_all(all.as_bytes()).await.unwrap();
    let answers = read_to_end(&mut socket).await;
    let order: Vec<_> = ["/a body=0", "/b body=5", "/chunked body=3", "/c body=0", "/last body=0"]
        .iter()
        .map(|part| answers.find(part).unwrap_or_else(|| panic!("{part} in {answers}")))
        .collect();
    assert!(order.is_sorted(), "{answers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_passes_bytes_both_ways() {
    let proxied =
        Proxied::start(limits(|limits| limits.stream_idle_timeout = Duration::from_millis(100))).await;
    let mut socket = proxied.connect().await;
    let request = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(&mut socket);
    while !head.ends_with("\r\n\r\n") {
        within(reader.read_line(&mut head)).await.unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n"] {
        // Silence is not the end of a WebSocket.
        let silence = tokio::time::timeout(Duration::from_millis(300), reader.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
        reader.write_all(text.as_bytes()).await.unwrap();
        let mut echoed = vec![0; text.len()];
        within(reader.read_exact(&mut echoed)).await.unwrap();
        assert_eq!(String::from_utf8(echoed).unwrap(), text.to_ascii_uppercase());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_upgrade_leaves_the_connection_usable() {
    let proxied = Proxied::start(PortConfig::default()).await;
    let mut socket = proxied.connect().await;
    let request = "GET /no HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    assert!(read_response(&mut socket).await.ends_with("/no body=0"));
    socket.write_all(get("/next").as_bytes()).await.unwrap();
    assert!(read_response(&mut socket).await.ends_with("/next body=0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_response_reaches_the_client_as_it_comes() {
    let proxied = Proxied::start(PortConfig::default()).await;
    let mut socket = proxied.connect().await;
    socket.write_all(get("/slow").as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.ends_with("/slow bod") {
        seen.push(char::from(within(socket.read_u8()).await.unwrap()));
    }
    // The next request waits in our buffer meanwhile.
    socket.write_all(get("/next").as_bytes()).await.unwrap();
    proxied.backend.gate.add_permits(1);
    let mut rest = [0; 3];
    within(socket.read_exact(&mut rest)).await.unwrap();
    assert_eq!(&rest, b"y=0");
    assert!(read_response(&mut socket).await.ends_with("/next body=0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_lets_the_proxy_finish_what_it_has_begun() {
    let proxied = Proxied::start(PortConfig::default()).await;
    let mut idle = proxied.connect().await;
    idle.write_all(get("/").as_bytes()).await.unwrap();
    read_response(&mut idle).await;
    let mut fresh = proxied.connect().await;
    let mut slow = proxied.connect().await;
    slow.write_all(get("/slow").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    within(slow.read_exact(&mut first)).await.unwrap();

    let (cut, ()) = tokio::join!(proxied.ports.drain(Duration::from_secs(8)), async {
        fresh.write_all(get("/fresh").as_bytes()).await.unwrap();
        let answer = read_to_end(&mut fresh).await;
        assert!(answer.ends_with("/fresh body=0"), "{answer}");
        assert_eq!(read_to_end(&mut idle).await, "");
        proxied.backend.gate.add_permits(1);
        assert!(read_to_end(&mut slow).await.ends_with("/slow body=0"));
    });
    assert_eq!(cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_ends_its_request() {
    let proxied =
        Proxied::start(limits(|limits| limits.stream_idle_timeout = Duration::from_millis(300))).await;
    let mut socket = proxied.connect().await;
    socket.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}
