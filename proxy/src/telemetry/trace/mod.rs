//! Spans: one for each request that a data plane passes on and that is recorded.
//!
//! In: requests as they begin and end. Out: their trace told to those who get them (W3C Trace Context or B3, as it came),
//! and spans to a collector by OTLP, over gRPC or HTTP. Who began a trace decides whether it is recorded; where nobody has, a share
//! of requests is. Spans wait in a bounded queue for a task of their own: a request never waits, and what does not fit is
//! dropped and counted.

mod context;
mod export;
mod options;
mod send;
mod span;

pub use context::{Forms, Incoming, Outgoing, SpanIds};
pub use export::TraceCounts;
pub use options::TraceOptions;
pub use span::{Ended, Span};

use super::mesh::OwnWorkload;
use crate::upstream::{random_below, random_number};
use export::Exporter;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use send::Sender;
use sluice_ir::{Collector, CustomTag, TelemetrySettings};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Collectors that spans are sent to at one time. Further ones get none.
const COLLECTORS: usize = 8;

/// The share of requests that is recorded where nobody says anything, in hundredths of a percent: Istio's 1 %.
const SAMPLING: u32 = 100;

/// A whole.
const ALL: u32 = 10_000;

/// Makes spans of a data plane.
#[derive(Default)]
pub struct Tracer {
    options: OnceLock<TraceOptions>,
    exporters: Mutex<BTreeMap<(Collector, String), Weak<Exporter>>>,
    counts: Arc<TraceCounts>,
}

impl Tracer {
    /// Sets what holds where nobody says anything. Only the first word counts.
    pub fn set_options(&self, options: TraceOptions) {
        let _ = self.options.set(options);
    }

    /// What became of spans.
    pub fn counts(&self) -> &Arc<TraceCounts> {
        &self.counts
    }

    /// How ports of one side of a workload, or of a Gateway, trace; `None`: spans have nowhere to go, and what requests say
    /// of their trace is passed on as it came. `before`: what stood there, whose queue goes on.
    pub fn tracing(
        &self,
        settings: &TelemetrySettings,
        own: Option<&OwnWorkload>,
        gateway: &str,
    ) -> Option<Arc<Tracing>> {
        let options = self.options.get();
        let collector = settings.collector.clone().or_else(|| options.and_then(|it| it.collector.clone()))?;
        if settings.is_tracing_disabled {
            return None;
        }
        let named = options.and_then(|it| it.service.clone());
        let of_own = || own.map(|it| format!("{}.{}", it.workload.canonical_service, it.workload.namespace));
        let of_gateway = || gateway.split('/').rev().collect::<Vec<_>>().join(".");
        let service = named.or_else(of_own).unwrap_or_else(of_gateway);
        let sampling = settings.sampling.or(options.and_then(|it| it.sampling)).unwrap_or(SAMPLING).min(ALL);
        Some(Arc::new(Tracing {
            exporter: self.exporter(collector, service)?,
            sampling,
            tags: settings.tags.iter().map(|(name, value)| (name.as_str().into(), Tag::of(value))).collect(),
            own: own.map(span::own_tags).unwrap_or_default(),
        }))
    }

    fn exporter(&self, collector: Collector, service: String) -> Option<Arc<Exporter>> {
        let mut all = self.exporters.lock();
        all.retain(|_, exporter| exporter.strong_count() > 0);
        let key = (collector, service);
        if let Some(exporter) = all.get(&key).and_then(Weak::upgrade) {
            return Some(exporter);
        }
        if all.len() >= COLLECTORS {
            tracing::warn!(
                collector = key.0.url,
                "more collectors of spans than a data plane takes; it gets none"
            );
            return None;
        }
        let none = TraceOptions::default();
        let options = self.options.get().unwrap_or(&none);
        match Sender::new(&key.0, &key.1, options).map(|it| Exporter::start(it, &key.0, self.counts.clone()))
        {
            Ok(exporter) => {
                all.insert(key, Arc::downgrade(&exporter));
                Some(exporter)
            }
            Err(error) => {
                tracing::warn!(collector = key.0.url, %error, "spans can't be sent there");
                None
            }
        }
    }

    /// Sends what waits, at most for so long.
    pub async fn flush(&self, within: Duration) {
        let all: Vec<_> = self.exporters.lock().values().filter_map(Weak::upgrade).collect();
        let flushed = futures::future::join_all(all.iter().map(|it| it.flush()));
        let _ = tokio::time::timeout(within, flushed).await;
    }
}

/// How requests of a port are traced.
pub struct Tracing {
    exporter: Arc<Exporter>,
    sampling: u32,
    tags: Vec<(Box<str>, Tag)>,
    /// What every span says of the own workload.
    own: Vec<(&'static str, Box<str>)>,
}

/// A further tag.
enum Tag {
    Text(Box<str>),
    Header(HeaderName, Box<str>),
}

impl Tag {
    fn of(tag: &CustomTag) -> Self {
        match tag {
            CustomTag::Literal(text) => Self::Text(text.as_str().into()),
            CustomTag::Environment(name, otherwise) => {
                Self::Text(std::env::var(name).unwrap_or_else(|_| otherwise.clone()).into())
            }
            CustomTag::Header(name, otherwise) => match name.parse() {
                Ok(name) => Self::Header(name, otherwise.as_str().into()),
                Err(_) => Self::Text(otherwise.as_str().into()),
            },
        }
    }

    fn text<'a>(&'a self, headers: &'a HeaderMap) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Header(name, otherwise) => {
                headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or(otherwise)
            }
        }
    }
}

/// What a request that begins is.
pub(crate) struct Begun {
    /// Its span, if it is recorded.
    pub(crate) span: Option<Span>,
    /// What takes the place of what it says of its trace.
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
}

impl Tracing {
    /// Decides about a request. Cost of one that is not recorded: a look at its header, and one field where nothing came,
    /// so that nobody after us decides again.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Begun {
        let incoming = Incoming::read(headers);
        let is_sampled =
            incoming.is_sampled.unwrap_or_else(|| random_below(u64::from(ALL)) < u64::from(self.sampling));
        if !is_sampled && incoming.forms != Forms::default() && incoming.is_sampled.is_some() {
            return Begun { span: None, fields: Vec::new() };
        }
        let trace = incoming.span.map_or_else(new_trace, |it| it.trace);
        // Who is not recorded stands for nothing: the span before stays the parent.
        let span = match (is_sampled, incoming.span) {
            (false, Some(parent)) => parent,
            (true, _) | (false, None) => SpanIds { trace, span: new_span() },
        };
        let parent = incoming.span.map(|it| it.span).filter(|it| *it != span.span);
        let fields = Outgoing { span, parent, is_sampled }.fields(incoming.forms);
        Begun { span: is_sampled.then(|| Span::new(span, parent)), fields }
    }

    /// A span is over.
    pub(crate) fn end(&self, span: &Span, ended: &Ended<'_>) {
        let tags = self.tags.iter().map(|(name, tag)| (&**name, tag.text(ended.headers)));
        self.exporter.take(span.data(ended, &self.own, tags));
    }
}

fn new_trace() -> u128 {
    (u128::from(random_number()) << 64 | u128::from(random_number())).max(1)
}

fn new_span() -> u64 {
    random_number().max(1)
}

/// A request's own number (RFC 9562 version 4), for requests that came without.
pub(crate) fn request_id() -> Option<HeaderValue> {
    let number = u128::from(random_number()) << 64 | u128::from(random_number());
    let id = uuid::Builder::from_random_bytes(number.to_ne_bytes()).into_uuid();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::request_id;

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let id = request_id().unwrap();
        let id = id.to_str().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    }
}
