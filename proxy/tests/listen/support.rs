//! The application, the observer and the clients of these tests.

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use sluice_proxy::listen::{ConnInfo, Observer, PortConfig, Ports, Refused};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// No wait of a test is longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Answers with what it saw. `/gate` waits until a permit is added; `/panic` panics; `/stream` sends its body in two
/// parts around the gate.
pub(crate) struct Echo {
    pub(crate) gate: Semaphore,
    pub(crate) waiting: Semaphore,
}

impl Echo {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(0), waiting: Semaphore::new(0) })
    }

    async fn pass_gate(&self) {
        self.waiting.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }

    /// Waits until a request stands at the gate.
    pub(crate) async fn someone_waits(&self) {
        within(self.waiting.acquire()).await.unwrap().forget();
    }

    async fn answer(&self, session: &mut ServerSession) -> pingora_error::Result<()> {
        let path = session.req_header().uri.path().to_owned();
        let mut body = 0;
        while let Some(part) = session.read_request_body().await? {
            body += part.len();
        }
        if path == "/gate" {
            self.pass_gate().await;
        }
        assert_ne!(path, "/panic", "as the test asked");
        let text = format!("{} {path} body={body} {}", session.req_header().method, describe(session));
        let mut head = ResponseHeader::build(200, None)?;
        head.insert_header("content-length", text.len())?;
        session.write_response_header(Box::new(head)).await?;
        if path == "/stream" {
            let (first, rest) = text.split_at(4);
            session.write_response_body(Bytes::copy_from_slice(first.as_bytes()), false).await?;
            // Reading is what a proxy does meanwhile; it ends when the gate opens.
            tokio::select! {
                _ = session.read_body_or_idle(true) => {}
                () = self.pass_gate() => {}
            }
            session.write_response_body(Bytes::copy_from_slice(rest.as_bytes()), true).await?;
        } else {
            session.write_response_body(Bytes::from(text), true).await?;
        }
        session.finish_body().await?;
        Ok(())
    }
}

fn describe(session: &ServerSession) -> String {
    let digest = session.digest().unwrap();
    let info = ConnInfo::of(digest).unwrap();
    let pingora_peer = session.client_addr().unwrap().to_string();
    assert_eq!(pingora_peer, info.peer.to_string());
    let tls = match &info.tls {
        Some(tls) => {
            assert_eq!(digest.ssl_digest.as_ref().unwrap().version, tls.version);
            let name = tls.server_name.as_deref().unwrap_or("-");
            format!("{} sni={name} h2={} resumed={}", tls.version, tls.alpn_h2, tls.resumed)
        }
        None => "plain".to_owned(),
    };
    format!("peer={} head_bytes={} {tls}", info.peer, info.limits.limits.request_head_bytes)
}

#[async_trait]
impl HttpServerApp for Echo {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) | Err(_) => return None,
        }
        self.answer(&mut session).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

/// Keeps what it is told, one line each.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) async fn wait_for(&self, part: &str) {
        until(
            || self.lines().iter().any(|line| line.contains(part)),
            || format!("{part}: {:?}", self.lines()),
        )
        .await;
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Log {
    fn opened(&self, _port: SocketAddr) {
        self.add("opened".to_owned());
    }
    fn closed(&self, _port: SocketAddr) {
        self.add("closed".to_owned());
    }
    fn refused(&self, refused: &Refused<'_>) {
        let head = refused.head.map(String::from_utf8_lossy).unwrap_or_default();
        self.add(format!("refused {} {} [{head}]", refused.outcome.word(), refused.reason));
    }
    fn tls_failed(&self, _port: SocketAddr, _peer: SocketAddr, reason: &str) {
        self.add(format!("tls_failed {reason}"));
    }
    fn panicked(&self, _port: SocketAddr) {
        self.add("panicked".to_owned());
    }
}

/// One port on loopback.
pub(crate) struct Server {
    pub(crate) app: Arc<Echo>,
    pub(crate) log: Arc<Log>,
    pub(crate) ports: Ports<Echo>,
    pub(crate) address: SocketAddr,
}

pub(crate) const WANTED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Server {
    pub(crate) async fn start(config: PortConfig) -> Self {
        let (app, log) = (Echo::new(), Arc::new(Log::default()));
        let ports = Ports::new(app.clone(), log.clone());
        let failed = ports.apply(BTreeMap::from([(WANTED, Arc::new(config))])).await;
        assert!(failed.is_empty(), "{failed:?}");
        let address = ports.bound()[0].1;
        Self { app, log, ports, address }
    }

    pub(crate) async fn plain() -> Self {
        Self::start(PortConfig::default()).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    /// Sends the bytes and reads to the end of the connection.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut socket).await
    }
}

/// The limits with a change.
pub(crate) fn limits(change: impl FnOnce(&mut sluice_ir::Limits)) -> PortConfig {
    let mut config = PortConfig::default();
    change(&mut config.limits);
    config
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Waits for a condition.
pub(crate) async fn until(condition: impl Fn() -> bool, describe: impl Fn() -> String) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "never happened: {}", describe());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All that comes until the peer closes; a reset is an error.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.expect("an orderly end");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One response with Content-Length.
pub(crate) async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        if let Some(len) = response_len(&bytes) {
            assert!(bytes.len() <= len, "more than one response");
            if bytes.len() == len {
                return String::from_utf8(bytes).unwrap();
            }
        }
        let byte = within(stream.read_u8()).await.unwrap_or_else(|error| {
            panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
        });
        bytes.push(byte);
    }
}

fn response_len(bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length?;
    Some(head.len() + 4 + length)
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}
