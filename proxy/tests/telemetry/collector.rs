//! A collector of spans: OTLP over gRPC, as a real one takes them.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
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
    /// `http://HOST:PORT`
    pub(crate) address: String,
    seen: watch::Receiver<Vec<Seen>>,
}

struct Service(watch::Sender<Vec<Seen>>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.map(|it| it.attributes).unwrap_or_default();
            let name = attributes.into_iter().find(|it| it.key == "service.name");
            let service = match name.and_then(|it| it.value?.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            let spans = of_resource.scope_spans.into_iter().flat_map(|it| it.spans);
            self.0.send_modify(|seen| seen.extend(spans.map(|span| Seen { service: service.clone(), span })));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (sender, seen) = watch::channel(Vec::new());
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(Service(sender)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address: format!("http://{address}"), seen }
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
