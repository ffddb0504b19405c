//! Answers challenges as a data plane does, and remembers what was presented.

use crate::places::loopback;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_acme::{Answer, Challenge, ChallengeError, ChallengeId, Challenges, Kind, Scope};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Where HTTP-01 is answered.
pub const HTTP_PORT: u16 = 10_080;
/// Where TLS-ALPN-01 is answered.
pub const TLS_PORT: u16 = 10_443;

/// The data plane of every scope.
#[derive(Clone)]
pub struct Responder {
    ip: IpAddr,
    shown: Arc<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    challenges: Mutex<BTreeMap<ChallengeId, Challenge>>,
    presented: Mutex<Vec<ChallengeId>>,
}

impl Shown {
    fn challenges(&self) -> std::sync::MutexGuard<'_, BTreeMap<ChallengeId, Challenge>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Responder {
    /// Starts to answer on an address of its own.
    pub async fn start() -> Self {
        let (ip, shown) = (loopback(), Arc::new(Shown::default()));
        let http = TcpListener::bind((ip, HTTP_PORT)).await.expect("a free port");
        let tls = TcpListener::bind((ip, TLS_PORT)).await.expect("a free port");
        tokio::spawn(serve_http(http, shown.clone()));
        tokio::spawn(serve_tls(tls, shown.clone()));
        Self { ip, shown }
    }

    /// Where names must lead.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Where HTTP is answered.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.ip, HTTP_PORT)
    }

    /// What is answered now.
    pub fn shown(&self) -> Vec<ChallengeId> {
        self.shown.challenges().keys().cloned().collect()
    }

    /// What was ever presented, in order.
    pub fn presented(&self) -> Vec<ChallengeId> {
        self.shown.presented.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Challenges for Responder {
    async fn present(&self, _scope: &Scope, challenge: &Challenge) -> Result<(), ChallengeError> {
        self.shown.challenges().insert(challenge.id(), challenge.clone());
        self.shown.presented.lock().unwrap_or_else(PoisonError::into_inner).push(challenge.id());
        Ok(())
    }

    async fn withdraw(&self, _scope: &Scope, challenge: &ChallengeId) {
        self.shown.challenges().remove(challenge);
    }
}

async fn serve_http(listener: TcpListener, shown: Arc<Shown>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shown = shown.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(&shown, &request);
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

fn answer(shown: &Shown, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let host = request.headers().get(http::header::HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_owned();
    let token = request.uri().path().strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
    let id = ChallengeId { host, kind: Kind::Http(token.to_owned()) };
    match shown.challenges().get(&id).map(|it| it.answer.clone()) {
        Some(Answer::Http { key_authorization, .. }) => {
            Response::new(Full::from(key_authorization.expose().to_vec()))
        }
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn serve_tls(listener: TcpListener, shown: Arc<Shown>) {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(shown)));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(shake(acceptor.clone(), stream));
    }
}

async fn shake(acceptor: TlsAcceptor, stream: TcpStream) {
    if let Ok(mut stream) = acceptor.accept(stream).await {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    }
}

#[derive(Debug)]
struct Resolver(Arc<Shown>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let id = ChallengeId { host: hello.server_name()?.to_owned(), kind: Kind::TlsAlpn };
        match self.0.challenges().get(&id)?.answer.clone() {
            Answer::TlsAlpn { certificate, key } => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().to_vec()));
                let key = crypto::aws_lc_rs::sign::any_supported_type(&key).ok()?;
                Some(Arc::new(CertifiedKey::new(vec![CertificateDer::from(certificate)], key)))
            }
            Answer::Http { .. } => None,
        }
    }
}
