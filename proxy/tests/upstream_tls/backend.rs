//! A TLS server that says what it saw.

use crate::pki::{Authority, Issued};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How a server differs from the usual one.
#[derive(Default)]
pub(crate) struct Habits {
    /// Offered by ALPN; none: the server knows no ALPN.
    pub(crate) alpn: &'static [&'static str],
    /// Asks for client certificates of this authority.
    pub(crate) clients: Option<Arc<rustls::RootCertStore>>,
    /// Closes each connection after one answer.
    pub(crate) closes: bool,
    /// Streams of an HTTP/2 connection.
    pub(crate) streams: Option<u32>,
    /// How long it takes, once there is TLS, until it says anything of HTTP/2.
    pub(crate) hesitates: Duration,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    handshakes: AtomicUsize,
    resumed: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
}

/// A running server.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
    /// `/gate` waits for a permit.
    pub(crate) gate: Arc<Semaphore>,
}

/// What a connection is known for.
#[derive(Clone)]
struct Connection {
    number: usize,
    server_name: String,
    client: bool,
    closes: bool,
}

impl Backend {
    pub(crate) async fn start(issued: &Issued, habits: Habits) -> Self {
        let (chain, key) = issued.der();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match &habits.clients {
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build().unwrap(),
            ),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = habits.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            address: listener.local_addr().unwrap(),
            counts: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        let (server, habits) = (backend.clone(), Arc::new(habits));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                server.counts.accepted.fetch_add(1, SeqCst);
                let (server, acceptor, habits) = (server.clone(), acceptor.clone(), habits.clone());
                tokio::spawn(async move { server.serve(socket, acceptor, &habits).await });
            }
        });
        backend
    }

    /// One that offers both versions.
    pub(crate) async fn usual(issued: &Issued) -> Self {
        Self::start(issued, Habits { alpn: &["h2", "http/1.1"], ..Habits::default() }).await
    }

    async fn serve(self, socket: TcpStream, acceptor: TlsAcceptor, habits: &Habits) {
        let Ok(stream) = acceptor.accept(socket).await else { return };
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let http2 = session.alpn_protocol() == Some(b"h2");
        let connection = Connection {
            number: self.counts.handshakes.fetch_add(1, SeqCst),
            server_name: session.server_name().unwrap_or("-").to_owned(),
            client: session.peer_certificates().is_some(),
            closes: habits.closes,
        };
        self.counts.resumed.fetch_add(usize::from(resumed), SeqCst);
        self.counts.open.fetch_add(1, SeqCst);
        let counts = self.counts.clone();
        let service = service_fn(move |request| self.clone().answer(request, connection.clone()));
        if http2 {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(habits.streams);
            tokio::time::sleep(habits.hesitates).await;
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        } else {
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
        counts.open.fetch_sub(1, SeqCst);
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        self.counts.requests.fetch_add(1, SeqCst);
        if request.headers().contains_key("upgrade") {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let (mut read, mut write) = tokio::io::split(&mut stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let answer = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .body(Full::default().boxed());
            return Ok(answer.unwrap());
        }
        if request.uri().path() == "/gate" {
            self.gate.acquire().await.unwrap().forget();
        }
        let seen = format!(
            "{} {:?} scheme={} host={} connection={} sni={} certificate={} body=",
            request.uri().path(),
            request.version(),
            request.uri().scheme_str().unwrap_or("-"),
            request
                .uri()
                .authority()
                .map(ToString::to_string)
                .or_else(|| Some(request.headers().get("host")?.to_str().unwrap().to_owned()))
                .unwrap_or_default(),
            connection.number,
            connection.server_name,
            connection.client,
        );
        let (version, mut text) = (request.version(), seen.into_bytes());
        text.extend(request.into_body().collect().await.unwrap().to_bytes());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from(text.clone()))), Ok(Frame::trailers(trailers))];
        let mut answer = Response::new(match version {
            http::Version::HTTP_2 => StreamBody::new(tokio_stream::iter(frames)).boxed(),
            _ => Full::new(Bytes::from(text)).boxed(),
        });
        if connection.closes {
            answer.headers_mut().insert("connection", "close".parse().unwrap());
        }
        Ok(answer)
    }

    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(SeqCst)
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.counts.handshakes.load(SeqCst)
    }

    pub(crate) fn resumed(&self) -> usize {
        self.counts.resumed.load(SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An authority, and a usual backend for `shop.example`.
pub(crate) async fn shop() -> (Authority, Backend) {
    let authority = Authority::new();
    let backend = Backend::usual(&authority.issue(&["shop.example"])).await;
    (authority, backend)
}
