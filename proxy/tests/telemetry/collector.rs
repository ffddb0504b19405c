//! A collector of spans, as a real one takes them: OTLP over gRPC, or in Protobuf over HTTP; in the clear or in TLS.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A span, by the service that sent it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `service.name`
    pub(crate) service: String,
    /// As it was sent.
    pub(crate) span: Span,
}

impl Seen {
    /// Its tags.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| match value {
            Value::StringValue(text) => text.clone(),
            other => format!("{other:?}"),
        };
        let tags = self.span.attributes.iter();
        tags.filter_map(|it| Some((it.key.clone(), text(it.value.as_ref()?.value.as_ref()?)))).collect()
    }
}

/// A running collector.
pub(crate) struct Collector {
    /// Where it is, and what it speaks.
    pub(crate) address: ir::Collector,
    seen: watch::Receiver<Vec<Seen>>,
}

#[derive(Clone)]
struct Service(watch::Sender<Vec<Seen>>);

/// A server's certificate, and the file of the authority that vouches for it.
pub(crate) struct Pki {
    certificate: String,
    key: KeyPair,
    /// PEM.
    pub(crate) authority: PathBuf,
    _folder: TempDir,
}

impl Pki {
    /// A new authority.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, ca.pem()).unwrap();
        Self { certificate, key, authority, _folder: folder }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(chain, key).unwrap()).into()
    }
}

impl Service {
    fn take(&self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let attributes = of_resource.resource.map(|it| it.attributes).unwrap_or_default();
            let name = attributes.into_iter().find(|it| it.key == "service.name");
            let service = match name.and_then(|it| it.value?.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            let spans = of_resource.scope_spans.into_iter().flat_map(|it| it.spans);
            self.0.send_modify(|seen| seen.extend(spans.map(|span| Seen { service: service.clone(), span })));
        }
    }

    /// A POST at `/v1/traces` that says who sends it is taken; anything else is not.
    async fn answer(&self, request: http::Request<hyper::body::Incoming>) -> http::Response<Full<Bytes>> {
        let is_right = request.method() == "POST"
            && request.uri().path() == "/v1/traces"
            && request.headers().get("content-type").is_some_and(|it| it == "application/x-protobuf")
            && request.headers().get("x-tenant").is_some_and(|it| it == "shop");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = http::Response::default();
        match (is_right, ExportTraceServiceRequest::decode(body)) {
            (true, Ok(request)) => self.take(request),
            _ => *response.status_mut() = http::StatusCode::BAD_REQUEST,
        }
        response
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one that is spoken to in gRPC in the clear.
    pub(crate) async fn start() -> Self {
        Self::start_grpc(None).await
    }

    /// Starts one that is spoken to in gRPC.
    pub(crate) async fn start_grpc(pki: Option<&Pki>) -> Self {
        let (listener, url) = listen(pki.is_some()).await;
        let (sender, seen) = watch::channel(Vec::new());
        let mut server = tonic::transport::Server::builder();
        if let Some(pki) = pki {
            let identity = Identity::from_pem(&pki.certificate, pki.key.serialize_pem());
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let server = server.add_service(TraceServiceServer::new(Service(sender)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address: ir::Collector::grpc(url), seen }
    }

    /// Starts one that is posted to.
    pub(crate) async fn start_http(pki: Option<&Pki>) -> Self {
        let (listener, url) = listen(pki.is_some()).await;
        let (sender, seen) = watch::channel(Vec::new());
        let acceptor = pki.map(Pki::acceptor);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (service, acceptor) = (Service(sender.clone()), acceptor.clone());
                tokio::spawn(async move {
                    let answer = service_fn(|request| {
                        let service = service.clone();
                        async move { Ok::<_, Infallible>(service.answer(request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    match acceptor {
                        None => drop(http.serve_connection(TokioIo::new(stream), answer).await),
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            drop(http.serve_connection(TokioIo::new(stream), answer).await);
                        }
                    }
                });
            }
        });
        Self { address: ir::Collector::http(format!("{url}/v1/traces")), seen }
    }

    /// Waits for so many spans.
    pub(crate) async fn spans(&self, number: usize) -> Vec<Seen> {
        let mut seen = self.seen.clone();
        let enough = seen.wait_for(|seen| seen.len() >= number);
        let enough = tokio::time::timeout(Duration::from_secs(20), enough).await.expect("spans in time");
        enough.unwrap().clone()
    }

    /// What came so far.
    pub(crate) fn so_far(&self) -> usize {
        self.seen.borrow().len()
    }
}

async fn listen(is_tls: bool) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    (listener, url)
}
