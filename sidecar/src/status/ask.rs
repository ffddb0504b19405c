//! Asks the workload, as the kubelet would.
//!
//! It is called at the pod's address, where the kubelet would have called it, from 127.0.0.6 (or ::6), which is not
//! captured.

use super::probes::{Header, Probe, ProbeKind, Scheme};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::ServerName;
use sluice_proxy::upstream::{Anyone, grpc_health};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Redirects that are followed (as the kubelet does).
const MOST_REDIRECTS: usize = 10;
/// Bytes of an answer's body that are read, so that a connection is not reset while it is sent.
const MOST_BYTES: usize = 64 * 1024;
/// Bytes of an answer's head.
const MOST_HEAD_BYTES: usize = 32 * 1024;

/// The status that the kubelet is to see.
pub(super) async fn ask(probe: &Probe, addresses: &[IpAddr]) -> StatusCode {
    let answer = match timeout(probe.timeout(), ask_in_time(probe, addresses)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {:?}", probe.timeout())),
    };
    answer.unwrap_or_else(|reason| {
        tracing::debug!(reason, ?probe, "a probe of the workload fails");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

async fn ask_in_time(probe: &Probe, addresses: &[IpAddr]) -> Result<StatusCode, String> {
    let text = |error: io::Error| error.to_string();
    match &probe.kind {
        ProbeKind::TcpSocket { port } => {
            connect(addresses, *port).await.map(|_| StatusCode::OK).map_err(text)
        }
        ProbeKind::Grpc { port, service } => {
            let stream = connect(addresses, *port).await.map_err(text)?;
            let authority = format!("localhost:{port}");
            let service = service.as_deref().unwrap_or_default();
            grpc_health(stream, &authority, service).await.map(|()| StatusCode::OK)
        }
        ProbeKind::HttpGet { path, port, scheme, host, http_headers } => {
            let path = format!("/{}", path.trim_start_matches('/'));
            let mut call = Call { port: *port, scheme: *scheme, path, host, fields: http_headers };
            for _ in 0..=MOST_REDIRECTS {
                let response = call.send(addresses).await?;
                match call.redirected(&response, addresses) {
                    Redirect::No => return Ok(response.status()),
                    Redirect::Elsewhere => return Ok(StatusCode::OK),
                    Redirect::To(next) => call = next,
                }
            }
            Err(format!("more than {MOST_REDIRECTS} redirects"))
        }
    }
}

/// One request.
struct Call<'a> {
    port: u16,
    scheme: Scheme,
    /// Path and query.
    path: String,
    host: &'a str,
    fields: &'a [Header],
}

/// Where an answer leads.
enum Redirect<'a> {
    No,
    /// To another host: well, as the kubelet has it, and not followed.
    Elsewhere,
    To(Call<'a>),
}

impl<'a> Call<'a> {
    async fn send(&self, addresses: &[IpAddr]) -> Result<Response<()>, String> {
        let stream = connect(addresses, self.port).await.map_err(|error| error.to_string())?;
        match self.scheme {
            Scheme::Http => self.exchange(stream).await,
            Scheme::Https => {
                let stream = in_tls(stream, self.host).await.map_err(|error| error.to_string())?;
                self.exchange(stream).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S) -> Result<Response<()>, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let response = get(stream, self.request()?).await?;
        let (head, body) = response.into_parts();
        // What it says is of no interest; that it can't be read is not either.
        let _ = Limited::new(body, MOST_BYTES).collect().await;
        Ok(Response::from_parts(head, ()))
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let host = if self.host.is_empty() { "localhost" } else { self.host };
        let mut request = Request::get(&self.path)
            .header(HOST, format!("{host}:{}", self.port))
            .header(USER_AGENT, concat!("sluice-probe/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        for Header { name, value } in self.fields {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    fn redirected(&self, response: &Response<()>, addresses: &[IpAddr]) -> Redirect<'a> {
        let Some(target) = location(response) else { return Redirect::No };
        let path = target.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let own = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            host == self.host
                || host == "localhost"
                || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback() || addresses.contains(&it))
        };
        let (port, scheme) = match (target.host(), target.scheme_str()) {
            (None, _) => (self.port, self.scheme),
            (Some(host), _) if !own(host) => return Redirect::Elsewhere,
            (Some(_), Some("https")) => (target.port_u16().unwrap_or(443), Scheme::Https),
            (Some(_), _) => (target.port_u16().unwrap_or(80), Scheme::Http),
        };
        Redirect::To(Call { port, scheme, path, host: self.host, fields: self.fields })
    }
}

fn location(response: &Response<()>) -> Option<Uri> {
    use StatusCode as S;
    let status = response.status();
    if !matches!(
        status,
        S::MOVED_PERMANENTLY | S::FOUND | S::SEE_OTHER | S::TEMPORARY_REDIRECT | S::PERMANENT_REDIRECT
    ) {
        return None;
    }
    response.headers().get(LOCATION)?.to_str().ok()?.parse().ok()
}

/// One request on a connection of its own. The body comes as it is read.
pub(super) async fn get<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Driven>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEAD_BYTES);
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(text)?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
    let response = sender.send_request(request).await.map_err(text)?;
    Ok(response.map(|body| Driven { body, _driver: driver }))
}

/// A body, and the task that brings it.
pub(super) struct Driven {
    body: Incoming,
    _driver: AbortOnDropHandle<()>,
}

impl http_body::Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, hyper::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }
}

/// Header fields that ask for metrics in a form.
pub(super) fn accepting(accept: &HeaderMap) -> HeaderValue {
    accept.get(ACCEPT).cloned().unwrap_or_else(|| HeaderValue::from_static("*/*"))
}

/// Connects to the workload, past the capture.
pub(super) async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let Some(address) = addresses.first() else {
        return TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    };
    let (socket, source): (_, IpAddr) = match address {
        IpAddr::V4(_) => (TcpSocket::new_v4()?, Ipv4Addr::new(127, 0, 0, 6).into()),
        IpAddr::V6(_) => (TcpSocket::new_v6()?, Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into()),
    };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(SocketAddr::new(*address, port)).await
}

/// The certificate is not verified, as the kubelet does not either.
async fn in_tls(stream: TcpStream, host: &str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Anyone::new(&provider));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or(ServerName::IpAddress(stream.peer_addr()?.ip().into()));
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
