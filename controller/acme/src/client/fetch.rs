//! One HTTP request, bounded in time and size.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Longest time of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer.
const MAX_LEN_BYTES: usize = 1 << 20;
/// Idle connections are closed after this time: authorities close theirs at about the same.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How this program names itself to authorities and webhooks.
pub(crate) const USER_AGENT: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"));

/// Sends requests, with the system's authorities and some more. Keeps connections.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Fetcher {
    /// `authorities` is PEM.
    pub(crate) fn new(authorities: Option<&str>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(authorities.unwrap_or_default().as_bytes()) {
            let certificate = certificate.map_err(|error| format!("the CA bundle can't be read: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("the CA bundle holds no usable authority: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions();
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(hyper_util::rt::TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
        Ok(Self(client.build(connector.build())))
    }

    /// Sends one request. The error says what failed, with its causes, and never what was sent.
    pub(crate) async fn fetch(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| causes(&error))?;
            let (parts, body) = answer.into_parts();
            let body =
                Limited::new(body, MAX_LEN_BYTES).collect().await.map_err(|error| causes(error.as_ref()))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result.map_err(|error: String| format!("{host}: {error}")),
            Err(_) => Err(format!("{host}: no answer within {} s", TIMEOUT.as_secs())),
        }
    }

    /// GET of a URL.
    pub(crate) async fn get(&self, url: &str) -> Result<Response<Bytes>, String> {
        let request = Request::get(url).header(http::header::USER_AGENT, USER_AGENT).body(Full::default());
        self.fetch(request.map_err(|error| format!("{url:?} is no URL: {error}"))?).await
    }
}

/// An error with its causes: the outermost alone often says only that something failed.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
