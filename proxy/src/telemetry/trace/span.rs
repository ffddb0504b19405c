//! One span, with the tags that Istio's have.

use super::context::SpanIds;
use crate::telemetry::mesh::{Direction, OwnWorkload};
use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::net::SocketAddr;
use std::time::SystemTime;

/// Longest text of a tag (Envoy's `max_path_tag_length`).
const MOST_TEXT: usize = 256;

/// A request that is recorded, while it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    ids: SpanIds,
    parent: Option<u64>,
    started: SystemTime,
}

/// How it ended.
pub struct Ended<'a> {
    /// Which side of a call it was.
    pub direction: Direction,
    /// `HOST:PORT/*` of what was called.
    pub name: String,
    /// The request's header.
    pub headers: &'a HeaderMap,
    /// Its method.
    pub method: &'a str,
    /// `http://HOST/PATH`, without query.
    pub url: String,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    /// Status that the client got; 0 for none.
    pub status: u16,
    /// `grpc-status`.
    pub grpc_status: Option<u8>,
    /// Envoy's response flags.
    pub flags: &'a str,
    /// Body bytes.
    pub request_bytes: u64,
    /// The answer's.
    pub response_bytes: u64,
    /// The backend in Envoy's words.
    pub cluster: Option<&'a str>,
    /// The client.
    pub client: SocketAddr,
    /// The endpoint.
    pub endpoint: Option<SocketAddr>,
}

/// What every span says of a workload.
pub(super) fn own_tags(own: &OwnWorkload) -> Vec<(&'static str, Box<str>)> {
    let workload = &own.workload;
    vec![
        ("node_id", own.node_id().into()),
        ("istio.canonical_service", workload.canonical_service.as_str().into()),
        ("istio.canonical_revision", workload.canonical_revision.as_str().into()),
        ("istio.namespace", workload.namespace.as_str().into()),
        ("istio.mesh_id", own.mesh.as_str().into()),
        ("istio.cluster_id", own.cluster.as_str().into()),
    ]
}

impl Span {
    pub(super) fn new(ids: SpanIds, parent: Option<u64>) -> Self {
        Self { ids, parent, started: SystemTime::now() }
    }

    /// In the words of OpenTelemetry.
    pub(super) fn data<'a>(
        &self,
        ended: &Ended<'_>,
        own: &[(&'static str, Box<str>)],
        further: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> SpanData {
        let context = SpanContext::new(
            TraceId::from_bytes(self.ids.trace.to_be_bytes()),
            SpanId::from_bytes(self.ids.span.to_be_bytes()),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let mut attributes = tags(ended);
        attributes.extend(own.iter().map(|(name, value)| KeyValue::new(*name, value.to_string())));
        attributes.extend(further.map(|(name, value)| KeyValue::new(name.to_owned(), cut(value))));
        let is_error = ended.status == 0 || ended.status >= 500;
        if is_error {
            attributes.push(KeyValue::new("error", "true"));
        }
        SpanData {
            span_context: context,
            parent_span_id: self.parent.map_or(SpanId::INVALID, |it| SpanId::from_bytes(it.to_be_bytes())),
            parent_span_is_remote: self.parent.is_some(),
            span_kind: match ended.direction {
                Direction::Outbound => SpanKind::Client,
                Direction::Inbound => SpanKind::Server,
            },
            name: ended.name.clone().into(),
            start_time: self.started,
            end_time: SystemTime::now().max(self.started),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if is_error { Status::error("") } else { Status::Unset },
            instrumentation_scope: InstrumentationScope::builder("sluice")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

fn tags(ended: &Ended<'_>) -> Vec<KeyValue> {
    let field = |name: &str| ended.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut tags = Vec::with_capacity(26);
    let mut add = |name: &'static str, value: String| tags.push(KeyValue::new(name, value));
    add("component", "proxy".to_owned());
    add("http.url", cut(&ended.url));
    add("http.method", cut(ended.method));
    add("http.protocol", ended.protocol.to_owned());
    add("http.status_code", ended.status.to_string());
    add("user_agent", cut(field("user-agent")));
    add("guid:x-request-id", cut(field("x-request-id")));
    add("downstream_cluster", "-".to_owned());
    add("request_size", ended.request_bytes.to_string());
    add("response_size", ended.response_bytes.to_string());
    add("response_flags", ended.flags.to_owned());
    add("peer.address", ended.client.ip().to_string());
    if let Some(endpoint) = ended.endpoint {
        add("upstream_address", endpoint.to_string());
    }
    if let Some(cluster) = ended.cluster {
        add("upstream_cluster", cluster.to_owned());
        add("upstream_cluster.name", cluster.to_owned());
    }
    if let Some(status) = ended.grpc_status {
        add("grpc.status_code", status.to_string());
    }
    tags
}

/// No longer than a tag may be.
fn cut(text: &str) -> String {
    let end = (0..=text.len().min(MOST_TEXT)).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or_default()].to_owned()
}
