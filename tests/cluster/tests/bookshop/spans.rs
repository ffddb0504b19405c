//! A Telemetry has the sidecars of a namespace send their spans to a collector of the mesh's configuration.

use super::stand::{REVIEWS, meshed, outside};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use sluice_cluster_tests::eventually;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// The path of its own that the collector takes spans at.
const PATH: &str = "/otlp/traces";

/// Spans by the service that sent them.
type Seen = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector of OTLP over HTTP.
async fn collector() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind((outside(10), 4318)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let of_task = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = of_task.clone();
            let answer = service_fn(move |request| {
                let seen = seen.clone();
                async move { Ok::<_, Infallible>(take(request, &seen).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), answer).await });
        }
    });
    (address, seen)
}

async fn take(request: Request<Incoming>, seen: &Seen) -> Response<Full<Bytes>> {
    assert_eq!(request.uri().path(), PATH);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    for of_resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        let attributes = of_resource.resource.unwrap().attributes;
        let service = attributes.into_iter().find(|it| it.key == "service.name");
        let Some(Value::StringValue(service)) = service.and_then(|it| it.value?.value) else { continue };
        let spans = of_resource.scope_spans.into_iter().flat_map(|it| it.spans);
        seen.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
    }
    Response::default()
}

#[test]
fn a_telemetry_has_sidecars_send_both_ends_of_a_call_to_the_collector() {
    meshed(async |shop| {
        let (address, seen) = collector().await;
        let root = "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}";
        let config = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
             extensionProviders:\n    - name: otel\n      opentelemetry: {{service: {}, port: {}, http: {{path: {PATH}}}}}\n",
            address.ip(),
            address.port()
        );
        let telemetry = "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: traces}, spec: {tracing: \
                         [{providers: [{name: otel}], randomSamplingPercentage: 100}]}}";
        shop.space.apply(root).await;
        shop.space.apply(&config).await;
        shop.space.apply(telemetry).await;
        let services = ["productpage", "reviews"].map(|it| format!("{it}.{}", shop.namespace));
        eventually("both ends of one call", async || {
            shop.answers("productpage", &[REVIEWS], 200).await;
            let seen = seen.lock().unwrap().clone();
            let of = |service: usize| {
                let name = services[service].as_str();
                seen.iter().filter(move |it| it.0 == name).map(|it| &it.1)
            };
            let is_child = |span: &&Span| of(0).any(|it| it.span_id == span.parent_span_id);
            match of(1).find(is_child) {
                Some(_) => Ok(()),
                None => Err(format!("{} spans", seen.len())),
            }
        })
        .await;
        let of_others: Vec<_> =
            seen.lock().unwrap().iter().map(|it| it.0.clone()).filter(|it| !services.contains(it)).collect();
        assert!(of_others.is_empty(), "of this namespace alone: {of_others:?}");
    });
}
