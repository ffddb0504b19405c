//! Applications: servers that say what they saw, and clients.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Collected, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TIME: Duration = Duration::from_secs(10);

/// Answers requests of HTTP/1.1 and HTTP/2 with what it saw of them; `/echo` becomes a WebSocket's stream, `/ticks` never
/// ends, `/silent` stops after its first word, `/wait` is never answered.
pub(crate) async fn http() -> SocketAddr {
    counting().await.0
}

/// The same, and how many requests it has got.
pub(crate) async fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((socket, peer)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    answer(request, peer)
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(socket), service).await;
            });
        }
    });
    (address, count)
}

async fn answer(
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
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
    match request.uri().path() {
        "/ticks" => return Ok(Response::new(ticks())),
        "/silent" => {
            let first = tokio_stream::iter([Ok(Frame::data(Bytes::from("first")))]);
            let all = futures::StreamExt::chain(first, futures::stream::pending());
            return Ok(Response::new(StreamBody::new(all).boxed()));
        }
        "/wait" => std::future::pending().await,
        _ => {}
    }
    let xfcc = request.headers().get("x-forwarded-client-cert").map(|it| it.to_str().unwrap().to_owned());
    let host = request.uri().authority().map(ToString::to_string);
    let host = host.or_else(|| Some(request.headers().get("host")?.to_str().unwrap().to_owned()));
    let seen = format!(
        "{} {:?} host={} from={} xfcc={} body=",
        request.uri().path(),
        request.version(),
        host.unwrap_or_default(),
        peer.ip(),
        xfcc.unwrap_or_default(),
    );
    let (version, mut text) = (request.version(), seen.into_bytes());
    // Who leaves before the end gets no answer.
    text.extend(request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from(text.clone()))), Ok(Frame::trailers(trailers))];
    Ok(Response::new(match version {
        http::Version::HTTP_2 => StreamBody::new(tokio_stream::iter(frames)).boxed(),
        _ => Full::new(Bytes::from(text)).boxed(),
    }))
}

/// A word every few milliseconds, for as long as somebody reads.
fn ticks() -> BoxBody<Bytes, Infallible> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while sender.send(Ok(Frame::data(Bytes::from("tick\n")))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).boxed()
}

/// Sends back whatever comes, after a word of its own where it speaks first.
pub(crate) async fn tcp(first: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                socket.write_all(first.as_bytes()).await.unwrap();
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// Status, body and trailers of one request on a connection of its own.
pub(crate) async fn get(to: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut client = Http1::connect(to).await;
    let request = Request::get(path).header("host", host).body(Full::default()).unwrap();
    let (status, body, _) = client.ask(request).await.unwrap();
    (status, body)
}

/// A client's connection.
pub(crate) struct Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Http1 {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        Self(sender)
    }

    pub(crate) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(u16, String, HeaderMap), hyper::Error> {
        self.0.ready().await?;
        read(tokio::time::timeout(TIME, self.0.send_request(request)).await.unwrap()?).await
    }
}

/// The same in HTTP/2.
pub(crate) async fn http2(to: SocketAddr, request: Request<Full<Bytes>>) -> (u16, String, HeaderMap) {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    read(tokio::time::timeout(TIME, sender.send_request(request)).await.unwrap().unwrap()).await.unwrap()
}

async fn read(answer: Response<Incoming>) -> Result<(u16, String, HeaderMap), hyper::Error> {
    let status = answer.status().as_u16();
    let whole = tokio::time::timeout(TIME, answer.into_body().collect()).await.unwrap()?;
    let trailers = whole.trailers().cloned().unwrap_or_default();
    Ok((status, String::from_utf8(whole.to_bytes().to_vec()).unwrap(), trailers))
}

/// What comes back for some bytes; empty: the connection was closed or reset without a word, perhaps before it was there for us.
pub(crate) async fn exchange(to: SocketAddr, bytes: &[u8], len: usize) -> Vec<u8> {
    let mut back = vec![0; len];
    let exchanged = async {
        let mut socket = TcpStream::connect(to).await?;
        socket.write_all(bytes).await?;
        socket.read_exact(&mut back).await
    };
    match tokio::time::timeout(TIME, exchanged).await.unwrap() {
        Ok(_) => back,
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused, "nobody listens at {to}");
            Vec::new()
        }
    }
}
