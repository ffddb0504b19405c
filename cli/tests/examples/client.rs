//! Sends one request over a connection of its own, plain or TLS.

use crate::cases::Case;
use crate::support::{DEADLINE, examples};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A client that knows the offset of the gateway's ports.
pub(crate) struct Client {
    offset: u16,
    folder: PathBuf,
    authority: PathBuf,
}

/// A connection, plain or TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// `authority` vouches for the gateway's certificates; hello's does when it is absent.
    pub(crate) fn new(offset: u16, folder: &Path, authority: Option<&str>) -> Self {
        let authority = match authority {
            Some(file) => folder.join(file),
            None => examples().join("hello/certificate/ca.crt"),
        };
        Self { offset, folder: folder.to_owned(), authority }
    }

    /// Where the case's URL is bound.
    pub(crate) fn at(&self, case: &Case) -> SocketAddr {
        let (address, port) = case.target();
        SocketAddr::new(address, port + self.offset)
    }

    async fn connect(&self, case: &Case) -> Result<TcpStream, String> {
        let at = self.at(case);
        TcpStream::connect(at).await.map_err(|error| format!("can't connect to {at}: {error}"))
    }

    /// A connection for the case's URL, within TLS if it says so.
    pub(crate) async fn open(&self, case: &Case) -> Result<Box<dyn Io>, String> {
        let stream = self.connect(case).await?;
        let uri = case.uri();
        if !case.is_tls() {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(uri.host().unwrap().to_owned()).unwrap();
        let connected = TlsConnector::from(Arc::new(self.tls(case))).connect(name, stream).await;
        Ok(Box::new(connected.map_err(|error| format!("TLS: {error}"))?))
    }

    /// Who vouches for the certificate that comes.
    pub(crate) fn authority(&self, case: &Case) -> PathBuf {
        let own = case.authority.as_ref().map(|file| self.folder.join(file));
        own.unwrap_or_else(|| self.authority.clone())
    }

    fn tls(&self, case: &Case) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority(case)).unwrap()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match &case.certificate {
            None => builder.with_no_client_auth(),
            Some(folder) => {
                let folder = self.folder.join(folder);
                let chain = CertificateDer::from_pem_file(folder.join("tls.crt")).unwrap();
                let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        if case.grpc.is_some() {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        config
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
            let host = || uri.authority().unwrap().as_str().parse().unwrap();
            request.headers_mut().entry("host").or_insert_with(host);
        }
        let answer = async { exchange(self.open(case).await?, request, is_h2).await };
        tokio::time::timeout(DEADLINE, answer).await.map_err(|_| "no answer in time".to_owned())?
    }
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
