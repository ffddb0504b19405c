//! The counters of one series, spread over threads as those of routes are.

use super::call::{Call, RequestProtocol};
use crate::telemetry::stripe::{STRIPES, stripe};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Istio's upper bounds, for milliseconds and bytes alike.
pub const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Values by bucket, and their sum.
#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// In thousandths.
    sum: AtomicU64,
}

impl Histogram {
    /// `value` in thousandths of the unit.
    fn observe(&self, value: u64) {
        let bucket = BOUNDS.partition_point(|bound| value as f64 > bound * 1_000.0);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }
}

/// What histograms hold at some moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Each bucket's own values.
    pub(super) buckets: [u64; BUCKETS],
    thousandths: u64,
}

impl Reading {
    fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.thousandths = self.thousandths.wrapping_add(histogram.sum.load(Relaxed));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket;
        }
        self.thousandths = self.thousandths.wrapping_add(other.thousandths);
    }

    pub(super) fn sum(&self) -> f64 {
        self.thousandths as f64 / 1_000.0
    }
}

/// What one group of threads counts of requests.
#[derive(Default)]
#[repr(align(64))]
struct Requests {
    ended: AtomicU64,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
    request_messages: AtomicU64,
    response_messages: AtomicU64,
}

/// What is counted of connections. They are few: all threads share it.
#[derive(Default)]
struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// One series. About 600 bytes for each group of threads that uses it.
pub struct Series {
    pub(super) call: Call,
    /// When it was used last, in minutes of the table's clock.
    used: AtomicU32,
    /// It is in no table any more: whoever holds it must ask for another.
    retired: AtomicBool,
    requests: [OnceLock<Box<Requests>>; STRIPES],
    connections: Connections,
}

/// A request that ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// From its head to the end of its answer.
    pub duration: Duration,
    /// Bytes of its body.
    pub request_bytes: u64,
    /// Bytes of the answer's.
    pub response_bytes: u64,
    /// Messages of gRPC from the client.
    pub request_messages: u64,
    /// Messages to it.
    pub response_messages: u64,
}

impl Series {
    pub(super) fn new(call: Call, now_min: u32) -> Self {
        Self {
            call,
            used: AtomicU32::new(now_min),
            retired: AtomicBool::new(false),
            requests: Default::default(),
            connections: Connections::default(),
        }
    }

    /// Counts a request. Cost: seven atomic additions on lines that this thread's stripe owns.
    pub fn ended(&self, it: &Ended) {
        let stripe = self.requests[stripe()].get_or_init(Box::default);
        stripe.ended.fetch_add(1, Relaxed);
        stripe.duration.observe(u64::try_from(it.duration.as_micros()).unwrap_or(u64::MAX));
        stripe.request_bytes.observe(it.request_bytes.saturating_mul(1_000));
        stripe.response_bytes.observe(it.response_bytes.saturating_mul(1_000));
        if self.call.protocol == RequestProtocol::Grpc {
            stripe.request_messages.fetch_add(it.request_messages, Relaxed);
            stripe.response_messages.fetch_add(it.response_messages, Relaxed);
        }
    }

    /// A connection begins.
    pub fn opened(&self) {
        self.connections.opened.fetch_add(1, Relaxed);
    }

    /// It ended.
    pub fn closed(&self) {
        self.connections.closed.fetch_add(1, Relaxed);
    }

    /// Bytes went from the endpoint to the client.
    pub fn sent(&self, bytes: u64) {
        self.connections.sent.fetch_add(bytes, Relaxed);
    }

    /// Bytes came from the client.
    pub fn received(&self, bytes: u64) {
        self.connections.received.fetch_add(bytes, Relaxed);
    }

    /// Notes that it is used. Writes once a minute.
    pub(super) fn touch(&self, now_min: u32) {
        if self.used.load(Relaxed) != now_min {
            self.used.store(now_min, Relaxed);
        }
    }

    pub(super) fn used_min(&self) -> u32 {
        self.used.load(Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Whether connections of it are open.
    pub(super) fn is_open(&self) -> bool {
        self.connections.opened.load(Relaxed) > self.connections.closed.load(Relaxed)
    }

    pub(super) fn read(&self) -> Values {
        let mut values = Values {
            opened: self.connections.opened.load(Relaxed),
            closed: self.connections.closed.load(Relaxed),
            sent: self.connections.sent.load(Relaxed),
            received: self.connections.received.load(Relaxed),
            ..Values::default()
        };
        for stripe in self.requests.iter().filter_map(OnceLock::get) {
            values.requests += stripe.ended.load(Relaxed);
            values.request_messages += stripe.request_messages.load(Relaxed);
            values.response_messages += stripe.response_messages.load(Relaxed);
            values.duration.add(&stripe.duration);
            values.request_bytes.add(&stripe.request_bytes);
            values.response_bytes.add(&stripe.response_bytes);
        }
        values
    }
}

/// What a series holds at some moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    pub(super) requests: u64,
    pub(super) duration: Reading,
    pub(super) request_bytes: Reading,
    pub(super) response_bytes: Reading,
    pub(super) request_messages: u64,
    pub(super) response_messages: u64,
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Values {
    /// Adds what a series holds whose labels are the same once some are taken away.
    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.duration.merge(&other.duration);
        self.request_bytes.merge(&other.request_bytes);
        self.response_bytes.merge(&other.response_bytes);
        self.request_messages += other.request_messages;
        self.response_messages += other.response_messages;
        self.opened += other.opened;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
    }
}
