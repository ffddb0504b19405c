//! A backend that speaks TLS: it ends TLS in front of an echo and keeps what it saw of each handshake.

use crate::pki::{Pki, Wish};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How it speaks TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsBackendOptions {
    /// What it shows.
    pub certificate: Wish,
    /// The authority whose certificates it asks clients for; none: it asks for nothing.
    #[serde(default)]
    pub asks_for: Option<String>,
}

/// What it saw of a handshake that came to an end.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// SNI.
    pub server_name: Option<String>,
    /// The client's certificate, in DER.
    pub certificate: Option<Vec<u8>>,
}

/// A backend that lives as long as this.
pub struct TlsBackend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
    _stop: DropGuard,
}

impl TlsBackend {
    /// Starts one in front of the backend at `behind`.
    pub async fn start(options: &TlsBackendOptions, behind: SocketAddr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(options)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let (token, notes) = (stop.clone(), seen.clone());
        tokio::spawn(token.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(acceptor.clone(), stream, behind, notes.clone()));
            }
        }));
        Self { address, seen, _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The latest handshake that came to an end.
    pub fn latest(&self) -> Option<Handshake> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

fn config(options: &TlsBackendOptions) -> rustls::ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("known versions");
    let builder = match &options.asks_for {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(Pki::named(authority).roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let (chain, key) = options.certificate.issue();
    let mut config = builder.with_single_cert(chain, key).expect("a certificate with its key");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// One connection; a client that goes away, or is not let in, is no surprise.
async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    behind: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|it| it.first()).map(|it| it.to_vec());
    let handshake = Handshake { server_name: session.server_name().map(str::to_owned), certificate };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(handshake);
    if let Ok(mut behind) = TcpStream::connect(behind).await {
        let _ = copy_bidirectional(&mut stream, &mut behind).await;
    }
}
