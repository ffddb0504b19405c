//! The way of spans to a collector: a bounded queue, and a task that sends what is in it.

use super::send::Sender;
use opentelemetry_sdk::trace::SpanData;
use sluice_ir::Collector;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Spans that wait. One takes about two kilobytes.
const WAITING: usize = 1_024;
/// Spans of one message.
const BATCH: usize = 256;
/// How long a span waits for others.
const PERIOD: Duration = Duration::from_secs(1);

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceCounts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl TraceCounts {
    /// The collector has them.
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Not taken, because too many wait.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Sent, but the collector did not take them.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}

enum Message {
    Span(Box<SpanData>),
    Flush(oneshot::Sender<()>),
}

/// The queue of one collector. Its task ends with the last who holds it.
pub(super) struct Exporter {
    queue: mpsc::Sender<Message>,
    counts: Arc<TraceCounts>,
}

impl Exporter {
    /// Starts the task. Must be called within a tokio runtime. The connection is made by the first message.
    pub(super) fn start(sender: Sender, collector: &Collector, counts: Arc<TraceCounts>) -> Arc<Self> {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(run(sender, waiting, counts.clone(), collector.clone()));
        Arc::new(Self { queue, counts })
    }

    /// Takes a span, or drops it and counts that. Never waits.
    pub(super) fn take(&self, span: SpanData) {
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Ready when everything that was taken before is sent.
    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

/// Sends until nobody holds the queue any more.
async fn run(
    sender: Sender,
    mut waiting: mpsc::Receiver<Message>,
    counts: Arc<TraceCounts>,
    collector: Collector,
) {
    let mut is_failing = false;
    let mut batch = Vec::new();
    while let Some(first) = waiting.recv().await {
        let mut flushed = collect(first, &mut waiting, &mut batch).await;
        if !batch.is_empty() {
            let number = batch.len() as u64;
            let sent = sender.send(std::mem::take(&mut batch)).await;
            match sent {
                Ok(()) => {
                    counts.exported.fetch_add(number, Relaxed);
                    is_failing = false;
                }
                Err(error) => {
                    counts.failed.fetch_add(number, Relaxed);
                    // Said once, not again for each message.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(collector = collector.url, %error, "the collector takes no spans: they are lost until it does");
                    }
                }
            }
        }
        if let Some(done) = flushed.take() {
            let _ = done.send(());
        }
    }
}

/// Gathers a message: until it is full, somebody flushes, or its first span has waited for the period.
async fn collect(
    first: Message,
    waiting: &mut mpsc::Receiver<Message>,
    batch: &mut Vec<SpanData>,
) -> Option<oneshot::Sender<()>> {
    match first {
        Message::Span(span) => batch.push(*span),
        Message::Flush(done) => return Some(done),
    }
    let deadline = tokio::time::Instant::now() + PERIOD;
    while batch.len() < BATCH {
        match tokio::time::timeout_at(deadline, waiting.recv()).await {
            Ok(Some(Message::Span(span))) => batch.push(*span),
            Ok(Some(Message::Flush(done))) => return Some(done),
            Ok(None) | Err(_) => return None,
        }
    }
    None
}
