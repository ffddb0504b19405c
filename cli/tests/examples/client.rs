//! Sends one request over a connection of its own, plain or TLS.

use crate::cases::Case;
use crate::support::{DEADLINE, examples};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A client that knows the offset of the gateway's ports.
pub(crate) struct Client {
    offset: u16,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(offset: u16) -> Self {
        Self { offset }
    }

    pub(crate) async fn connect(&self, case: &Case) -> Result<TcpStream, String> {
        let (address, port) = case.target();
        let stream = TcpStream::connect((address, port + self.offset)).await;
        stream.map_err(|error| format!("can't connect to {address}:{port} + {}: {error}", self.offset))
    }

    /// Sends the case's request with this body.
    pub(crate) async fn send(
        &self,
        case: &Case,
        method: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let uri = case.uri();
        let is_h2 = case.grpc.is_some();
        let target = if is_h2 { uri.to_string() } else { uri.path_and_query().unwrap().to_string() };
        let mut request = Request::builder().method(method).uri(target).body(Full::new(body)).unwrap();
        *request.headers_mut() = headers.clone();
        if !is_h2 {
            request.headers_mut().insert("host", uri.authority().unwrap().as_str().parse().unwrap());
        }
        let stream = self.connect(case).await?;
        let answer = async {
            match uri.scheme_str() {
                Some("https") => exchange(tls(stream, uri.host().unwrap()).await?, request, is_h2).await,
                _ => exchange(stream, request, is_h2).await,
            }
        };
        tokio::time::timeout(DEADLINE, answer).await.map_err(|_| "no answer in time".to_owned())?
    }
}

async fn tls(
    stream: TcpStream,
    host: &str,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, String> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(examples().join("hello/certificate/ca.crt")).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| format!("TLS: {error}"))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    is_h2: bool,
) -> Result<Answer, String> {
    let (io, text) = (TokioIo::new(stream), |error: hyper::Error| format!("{error:?}"));
    let response = if is_h2 {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut client, connection) = handshake.map_err(text)?;
        tokio::spawn(connection);
        client.send_request(request).await.map_err(text)?
    } else {
        let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.map_err(text)?;
        tokio::spawn(connection);
        client.send_request(request).await.map_err(text)?
    };
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.map_err(text)?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: parts.status, headers: parts.headers, trailers, body: collected.to_bytes() })
}
