//! A backend that keeps every byte it received and answers what the test says.

use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A request as the backend read it: strictly by RFC 9112, so that what an attacker slipped in shows up as a request
/// of its own.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection, from 0.
    pub connection: usize,
    /// Request line and fields as they came, without the empty line.
    pub head: String,
    /// Without framing.
    pub body: Bytes,
}

impl Received {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Send these bytes and wait for the next request.
    Send(Vec<u8>),
    /// Send these bytes and close.
    SendAndClose(Vec<u8>),
    /// Send nothing; wait until the other side closes.
    Hang,
}

impl Reply {
    /// A 200 with this body.
    pub fn ok(body: &str) -> Self {
        Self::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

#[derive(Default)]
struct Seen {
    requests: Vec<Received>,
    raw: Vec<Vec<u8>>,
}

/// A running backend. It stops when dropped.
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _stop: DropGuard,
}

impl Recorder {
    /// Answers 200 to everything.
    pub async fn start() -> Self {
        Self::scripted(|request| Reply::ok(request.line())).await
    }

    /// Answers as the script says.
    pub async fn scripted(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, seen.clone(), Arc::new(script), stop.clone()));
        Self { address, seen, _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that was received so far, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.seen).requests.clone()
    }

    /// The request lines of all of it.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.line().to_owned()).collect()
    }

    /// Every byte of every connection.
    pub fn raw(&self) -> Vec<u8> {
        lock(&self.seen).raw.concat()
    }

    /// Whether these bytes came on any connection.
    pub fn saw(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.raw()).contains(text)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        lock(&self.seen).raw.len()
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Seen>>, script: Arc<Script>, stop: CancellationToken) {
    let next = AtomicUsize::new(0);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let number = next.fetch_add(1, Ordering::Relaxed);
        lock(&seen).raw.push(Vec::new());
        let connection =
            Connection { stream, number, buffer: Vec::new(), seen: seen.clone(), script: script.clone() };
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection.run() => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

struct Connection {
    stream: TcpStream,
    number: usize,
    buffer: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Script>,
}

impl Connection {
    async fn run(mut self) {
        while let Some(request) = self.request().await {
            lock(&self.seen).requests.push(request.clone());
            match (self.script)(&request) {
                Reply::Send(bytes) => {
                    if self.stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Reply::SendAndClose(bytes) => {
                    let _ = self.stream.write_all(&bytes).await;
                    let _ = self.stream.shutdown().await;
                    return;
                }
                Reply::Hang => {
                    while self.fill().await {}
                    return;
                }
            }
        }
    }

    /// The next request; `None`: the connection ended, or what came is no request.
    async fn request(&mut self) -> Option<Received> {
        let end = self.position(b"\r\n\r\n", 0).await?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut received = Received { connection: self.number, head, body: Bytes::new() };
        let chunked =
            received.values("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked"));
        let body = if chunked {
            self.chunks().await?
        } else {
            let length =
                received.values("content-length").first().and_then(|value| value.parse().ok()).unwrap_or(0);
            self.take(length).await?
        };
        received.body = body.into();
        Some(received)
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.position(b"\r\n", 0).await?;
            let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end + 2);
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            body.extend(self.take(size).await?);
            self.take(2).await?;
        }
        while self.position(b"\r\n", 0).await? > 0 {
            let end = self.position(b"\r\n", 0).await?;
            self.buffer.drain(..end + 2);
        }
        self.buffer.drain(..2);
        Some(body)
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn position(&mut self, needle: &[u8], from: usize) -> Option<usize> {
        loop {
            let found = self.buffer[from..].windows(needle.len()).position(|window| window == needle);
            if let Some(at) = found {
                return Some(from + at);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(count) if count > 0 => {
                self.buffer.extend_from_slice(&piece[..count]);
                lock(&self.seen).raw[self.number].extend_from_slice(&piece[..count]);
                true
            }
            _ => false,
        }
    }
}
