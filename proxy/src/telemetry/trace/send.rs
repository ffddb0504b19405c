//! Messages to a collector: OTLP over gRPC, or in Protobuf over HTTP; in TLS where its address says so.

use super::options::TraceOptions;
use crate::upstream::{CallError, Calls, ClientError, HttpUrl, Peer, TlsClient, system_roots};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prost::Message as _;
use rustls::RootCertStore;
use sluice_ir::{self as ir, Collector, OtlpProtocol};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::ClientTlsConfig;

/// How long a collector may take for a message.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a message is sent again that a collector over HTTP did not take for now.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Addresses of a collector that are tried.
const MOST_ADDRESSES: usize = 4;
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why nothing can be sent to a collector.
#[derive(Debug, thiserror::Error)]
pub(super) enum SenderError {
    /// It is nowhere.
    #[error("{0:?} is no address of http or https")]
    Address(String),
    /// Nobody would be trusted.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE {file}: {reason}")]
    Authorities {
        /// As it was named.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no certificates.
    #[error("certificates of the system: {0}; name a file by OTEL_EXPORTER_OTLP_CERTIFICATE")]
    System(String),
    /// TLS can't be spoken.
    #[error(transparent)]
    Tls(#[from] ClientError),
    /// The exporter refuses the settings.
    #[error(transparent)]
    Grpc(#[from] ExporterBuildError),
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Over gRPC.
    #[error(transparent)]
    Grpc(#[from] OTelSdkError),
    /// Its name has no address.
    #[error("its name can't be resolved: {0}")]
    Name(io::Error),
    /// Nobody took it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It was refused.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// It took too long.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
}

impl SendError {
    /// Whether the same may be taken a moment later (OTLP §OTLP/HTTP Response: retryable).
    fn may_pass(&self) -> bool {
        match self {
            Self::Name(_) | Self::Call(CallError::Connect(_)) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Grpc(_) | Self::Call(CallError::Exchange(_)) | Self::Timeout => false,
        }
    }
}

/// Sends to one collector. The connection is made by the first message.
pub(super) enum Sender {
    /// Over gRPC.
    Grpc(Box<SpanExporter>),
    /// Over HTTP.
    Http(Box<HttpSender>),
}

impl Sender {
    /// For spans of a service.
    pub(super) fn new(
        collector: &Collector,
        service: &str,
        options: &TraceOptions,
    ) -> Result<Self, SenderError> {
        let bad = || SenderError::Address(collector.url.clone());
        let url = HttpUrl::parse(&collector.url).ok_or_else(bad)?;
        let resource = Resource::builder_empty().with_service_name(service.to_owned()).build();
        let bundle = options.authorities.as_deref().map(read).transpose()?;
        Ok(match collector.protocol {
            OtlpProtocol::Grpc => Self::Grpc(Box::new(grpc(collector, &url, resource, bundle)?)),
            OtlpProtocol::HttpProtobuf => {
                let tls = url.is_tls.then(|| client(&url, bundle)).transpose()?;
                let headers = options.headers.clone();
                let resource = (&resource).into();
                Self::Http(Box::new(HttpSender { url, tls, headers, resource, calls: Calls::default() }))
            }
        })
    }

    /// Sends a message. Takes no longer than ten seconds.
    pub(super) async fn send(&self, spans: Vec<SpanData>) -> Result<(), SendError> {
        match self {
            Self::Grpc(exporter) => Ok(exporter.export(spans).await?),
            Self::Http(sender) => {
                let sent = tokio::time::timeout(TIMEOUT, sender.send(spans)).await;
                sent.unwrap_or(Err(SendError::Timeout))
            }
        }
    }
}

/// Certificates that vouch for collectors.
struct Bundle {
    pem: Vec<u8>,
    roots: RootCertStore,
}

fn read(file: &Path) -> Result<Bundle, SenderError> {
    let fail = |reason: String| SenderError::Authorities { file: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
    let roots = crate::tls::roots(&pem).map_err(fail)?;
    Ok(Bundle { pem, roots })
}

fn grpc(
    collector: &Collector,
    url: &HttpUrl,
    resource: Resource,
    bundle: Option<Bundle>,
) -> Result<SpanExporter, SenderError> {
    let mut builder =
        SpanExporter::builder().with_tonic().with_endpoint(collector.url.as_str()).with_timeout(TIMEOUT);
    if url.is_tls {
        let anchors = match bundle {
            Some(bundle) => bundle.roots.roots,
            None => system_roots().as_ref().map_err(|it| SenderError::System(it.clone()))?.roots.clone(),
        };
        builder = builder.with_tls_config(ClientTlsConfig::new().trust_anchors(anchors));
    }
    let mut exporter = builder.build()?;
    exporter.set_resource(&resource);
    Ok(exporter)
}

fn client(url: &HttpUrl, bundle: Option<Bundle>) -> Result<Arc<TlsClient>, ClientError> {
    let policy = ir::UpstreamTls {
        origin: ir::Origin::new("Collector", "", url.authority.as_str()),
        server_name: url.host.clone(),
        subject_names: Vec::new(),
        trust: bundle.map_or(ir::Trust::System, |it| ir::Trust::Bundle(ir::SecretBytes::new(it.pem))),
        revocations: None,
        certificate: None,
    };
    let key = ir::BackendKey::new(format!("Collector/{}", url.authority));
    TlsClient::of_policy(key, &policy, ir::BackendProtocol::Http1, None)
}

/// Sends by our own client, which bounds what it keeps and reads.
pub(super) struct HttpSender {
    url: HttpUrl,
    tls: Option<Arc<TlsClient>>,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
    calls: Calls,
}

impl HttpSender {
    async fn send(&self, spans: Vec<SpanData>) -> Result<(), SendError> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        for pause in PAUSES {
            match self.post(&body).await {
                Err(error) if error.may_pass() => tokio::time::sleep(pause).await,
                done => return done,
            }
        }
        self.post(&body).await
    }

    async fn post(&self, body: &Bytes) -> Result<(), SendError> {
        let found = tokio::net::lookup_host((self.url.host.as_str(), self.url.port)).await;
        let addresses: Vec<SocketAddr> = found.map_err(SendError::Name)?.take(MOST_ADDRESSES).collect();
        let none = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let mut failed = SendError::Name(none);
        for address in addresses {
            let peer = Peer { address, tls: self.tls.clone() };
            let request = self.request(body.clone());
            match self.calls.send(&peer, ir::BackendProtocol::Http1, request, ANSWER_BYTES).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => return Err(SendError::Status(answer.status)),
                // Nothing was sent: perhaps another address takes it.
                Err(error @ CallError::Connect(_)) => failed = error.into(),
                Err(error @ CallError::Exchange(_)) => return Err(error.into()),
            }
        }
        Err(failed)
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let length = body.len();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        // Both were part of an address that was read.
        *request.uri_mut() = self.url.path.parse().unwrap_or_default();
        let host = HeaderValue::from_str(&self.url.authority);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("")));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static("sluice"));
        headers.insert(CONTENT_LENGTH, length.into());
        request
    }
}
