//! One connection to a controller: TCP, TLS with given authorities, HTTP/2. For data planes and for other replicas.

use crate::svid::{PROVIDER, Shown};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;

/// Total time to connect, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A connection that answers no ping is given up.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIME: Duration = Duration::from_secs(10);
/// Bytes that the other side may send ahead: what is taken slowly must not fill memory.
const WINDOW: u32 = 1024 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none that can be used: a token is never sent in the open.
    #[error("the controller's address must look like https://HOST:PORT, not {0}")]
    Address(Uri),
    /// The authorities can't be used.
    #[error("the authorities can't be used: {0}")]
    Authorities(String),
    /// It took too long.
    #[error("{0} does not take a connection in time")]
    Time(Uri),
    /// TCP.
    #[error("{0} can't be reached: {1}")]
    Tcp(Uri, std::io::Error),
    /// TLS, the certificate included.
    #[error("TLS to {0}: {1}")]
    Tls(Uri, std::io::Error),
    /// HTTP/2.
    #[error("HTTP/2 to {0}: {1}")]
    Http(Uri, hyper::Error),
}

/// An open connection; closed when dropped.
pub struct Connection {
    requests: SendRequest<Body>,
    authority: Authority,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects to `https://HOST:PORT`. The certificate must be vouched for by one of the authorities (PEM), for
    /// `name` or else for the address's host.
    ///
    /// # Errors
    /// When any of it fails, or takes more than five seconds.
    pub async fn open(address: &Uri, name: Option<&str>, authorities: &[u8]) -> Result<Self, ConnectError> {
        Self::open_as(address, name, authorities, None).await
    }

    /// The same, showing a certificate if the controller asks for one.
    ///
    /// # Errors
    /// As [`Connection::open`] has them.
    pub async fn open_as(
        address: &Uri,
        name: Option<&str>,
        authorities: &[u8],
        certificate: Option<Arc<CertifiedKey>>,
    ) -> Result<Self, ConnectError> {
        let tls = TlsConnector::from(config(authorities, certificate)?);
        let opened = tokio::time::timeout(CONNECT_TIME, Self::connect(address, name, tls)).await;
        opened.map_err(|_| ConnectError::Time(address.clone()))?
    }

    async fn connect(address: &Uri, name: Option<&str>, tls: TlsConnector) -> Result<Self, ConnectError> {
        let bad = || ConnectError::Address(address.clone());
        let (authority, host, port) = target(address).ok_or_else(bad)?;
        let name = ServerName::try_from(name.unwrap_or(&host).to_owned()).map_err(|_| bad())?;
        let tcp = |error| ConnectError::Tcp(address.clone(), error);
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(tcp)?;
        stream.set_nodelay(true).map_err(tcp)?;
        let stream =
            tls.connect(name, stream).await.map_err(|error| ConnectError::Tls(address.clone(), error))?;
        let (requests, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIME)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::Http(address.clone(), error))?;
        // Its errors are those of the calls.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, authority, _driver: AbortOnDropHandle::new(driver) })
    }

    /// For calls over this connection.
    pub fn service(&self) -> Service {
        Service { requests: self.requests.clone(), authority: self.authority.clone() }
    }
}

fn target(address: &Uri) -> Option<(Authority, String, u16)> {
    let authority = address.authority().filter(|_| address.scheme() == Some(&Scheme::HTTPS))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((authority.clone(), host, authority.port_u16().unwrap_or(443)))
}

fn config(
    authorities: &[u8],
    certificate: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, ConnectError> {
    let unusable = |error: &dyn std::fmt::Display| ConnectError::Authorities(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"there is no certificate"));
    }
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(certificate) => builder.with_client_cert_resolver(Arc::new(Shown(certificate))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Makes calls over a connection.
#[derive(Clone)]
pub struct Service {
    requests: SendRequest<Body>,
    authority: Authority,
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        Box::pin(self.requests.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::target;

    #[test]
    fn a_token_is_never_sent_in_the_open() {
        for open in ["http://controller:15010", "controller:15010", "/"] {
            assert!(target(&open.parse().unwrap()).is_none(), "{open}");
        }
        let (_, host, port) = target(&"https://[::1]:15010".parse().unwrap()).unwrap();
        assert_eq!((host.as_str(), port), ("::1", 15010));
    }
}
