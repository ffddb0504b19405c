//! What is counted for each bound address.

use super::by_outcome::ByOutcome;
use crate::telemetry::Outcome;
use crate::telemetry::stripe::StripedGauge;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counters of one bound address.
#[derive(Default)]
pub struct PortMetrics {
    accepted: AtomicU64,
    open: StripedGauge,
    refused: ByOutcome<AtomicU64>,
    tls_failures: AtomicU64,
    /// No longer bound; connections may still be open.
    retired: AtomicBool,
}

impl PortMetrics {
    /// A connection was accepted.
    pub fn opened(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.add(1);
    }

    /// A connection ended. Once for each [`PortMetrics::opened`].
    pub fn closed(&self) {
        self.open.add(-1);
    }

    /// A connection was turned away before it had a valid request.
    pub fn refused(&self, reason: Outcome) {
        self.refused[reason].fetch_add(1, Relaxed);
    }

    /// A TLS handshake failed.
    pub fn tls_failed(&self) {
        self.tls_failures.fetch_add(1, Relaxed);
    }

    pub(super) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Neither bound nor in use.
    pub(super) fn is_over(&self) -> bool {
        self.is_retired() && self.open() <= 0
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    pub(super) fn open(&self) -> i64 {
        self.open.get()
    }

    pub(super) fn refusals(&self) -> impl Iterator<Item = (Outcome, u64)> {
        self.refused
            .iter()
            .map(|(outcome, count)| (outcome, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    pub(super) fn tls_failures(&self) -> u64 {
        self.tls_failures.load(Relaxed)
    }
}
