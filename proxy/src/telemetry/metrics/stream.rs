//! What is counted for each stream route: connections that are carried whole, and sessions of datagrams.

use super::by_outcome::ByOutcome;
use crate::telemetry::Outcome;
use crate::telemetry::stripe::StripedGauge;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one stream route.
#[derive(Default)]
pub struct StreamMetrics {
    name: Box<str>,
    open: StripedGauge,
    ended: ByOutcome<AtomicU64>,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    dropped: AtomicU64,
}

impl StreamMetrics {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// `TCPRoute shop/db`, as metrics and log have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection or session begins.
    pub fn opened(&self) {
        self.open.add(1);
    }

    /// It ended. Once for each [`StreamMetrics::opened`].
    pub fn ended(&self, outcome: Outcome) {
        self.open.add(-1);
        self.ended[outcome].fetch_add(1, Relaxed);
    }

    /// Bytes came from a client, while the connection goes on.
    pub fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes went to a client.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// A datagram went nowhere.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn open(&self) -> i64 {
        self.open.get()
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Relaxed)
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    pub(super) fn dropped_datagrams(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Outcomes and their numbers: only what occurred.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        self.ended
            .iter()
            .map(|(outcome, count)| (outcome, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}
