//! What is counted of bodies that change their coding.

use sluice_ir::Coding;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the whole process, by coding.
#[derive(Default)]
pub struct BodyMetrics {
    compressed: [Compressed; 3],
    left_alone: AtomicU64,
    unpacked: [AtomicU64; 3],
}

#[derive(Default)]
struct Compressed {
    answers: AtomicU64,
    taken: AtomicU64,
    given: AtomicU64,
}

/// A reading of one coding.
pub(super) struct Reading {
    pub(super) coding: Coding,
    pub(super) answers: u64,
    pub(super) taken: u64,
    pub(super) given: u64,
    pub(super) unpacked: u64,
}

/// In the order of their places.
const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

impl BodyMetrics {
    /// An answer begins to be compressed.
    pub fn compressed(&self, coding: Coding) {
        self.of(coding).answers.fetch_add(1, Relaxed);
    }

    /// So many bytes went in, and so many came out.
    pub fn compressed_bytes(&self, coding: Coding, taken: usize, given: usize) {
        let it = self.of(coding);
        it.taken.fetch_add(taken as u64, Relaxed);
        it.given.fetch_add(given as u64, Relaxed);
    }

    /// An answer was to be compressed, but too many were under way.
    pub fn left_alone(&self) {
        self.left_alone.fetch_add(1, Relaxed);
    }

    /// A request's body begins to be unpacked.
    pub fn unpacked(&self, coding: Coding) {
        let [gzip, brotli, zstd] = &self.unpacked;
        match coding {
            Coding::Gzip => gzip,
            Coding::Brotli => brotli,
            Coding::Zstd => zstd,
        }
        .fetch_add(1, Relaxed);
    }

    fn of(&self, coding: Coding) -> &Compressed {
        let [gzip, brotli, zstd] = &self.compressed;
        match coding {
            Coding::Gzip => gzip,
            Coding::Brotli => brotli,
            Coding::Zstd => zstd,
        }
    }

    pub(super) fn skipped(&self) -> u64 {
        self.left_alone.load(Relaxed)
    }

    /// Codings that occurred.
    pub(super) fn read(&self) -> Vec<Reading> {
        let all = CODINGS.iter().zip(&self.compressed).zip(&self.unpacked);
        all.map(|((coding, it), unpacked)| Reading {
            coding: *coding,
            answers: it.answers.load(Relaxed),
            taken: it.taken.load(Relaxed),
            given: it.given.load(Relaxed),
            unpacked: unpacked.load(Relaxed),
        })
        .filter(|it| it.answers + it.unpacked > 0)
        .collect()
    }
}
