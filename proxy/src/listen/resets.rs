//! Counts the streams that an HTTP/2 client resets, in the frames of the connection as they are read.
//!
//! A client that opens and resets streams as fast as it can (rapid reset) makes work without ever reaching the limit
//! of concurrent streams. The h2 crate counts only streams reset before they were accepted, so we count all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PREFACE_LEN: u32 = 24;
const HEADER_LEN: usize = 9;
const RST_STREAM: u8 = 3;
const WINDOW: Duration = Duration::from_secs(1);

/// Set once the client has reset more streams in a second than it may.
#[derive(Clone, Debug, Default)]
pub(super) struct ResetFlood(Arc<AtomicBool>);

impl ResetFlood {
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Follows the frames that a client sends (RFC 9113 §4.1).
#[derive(Debug)]
pub(super) struct ResetMeter {
    limit: u32,
    flood: ResetFlood,
    /// Bytes of the preface or of a payload that are passed over.
    skip: u32,
    header: [u8; HEADER_LEN],
    header_len: usize,
    count: u32,
    since: Instant,
}

impl ResetMeter {
    /// A meter for a connection from its first byte, and the flag it raises above `limit` resets in a second.
    pub(super) fn new(limit: u32) -> (Self, ResetFlood) {
        let flood = ResetFlood::default();
        let meter = Self {
            limit,
            flood: flood.clone(),
            skip: PREFACE_LEN,
            header: [0; HEADER_LEN],
            header_len: 0,
            count: 0,
            since: Instant::now(),
        };
        (meter, flood)
    }

    /// Whether the client may go on.
    pub(super) fn is_calm(&self) -> bool {
        !self.flood.is_raised()
    }

    /// Reads the next bytes of the connection. Cost: a few operations a frame, none for payload.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                self.skip -= passed;
                bytes = &bytes[passed as usize..];
                continue;
            }
            let wanted = (HEADER_LEN - self.header_len).min(bytes.len());
            self.header[self.header_len..self.header_len + wanted].copy_from_slice(&bytes[..wanted]);
            self.header_len += wanted;
            bytes = &bytes[wanted..];
            if self.header_len == HEADER_LEN {
                self.header_len = 0;
                let [a, b, c, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, a, b, c]);
                if kind == RST_STREAM {
                    self.reset(Instant::now());
                }
            }
        }
    }

    fn reset(&mut self, now: Instant) {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        if self.count > self.limit {
            self.flood.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{PREFACE_LEN, ResetMeter};
    use std::time::Duration;

    fn frames(resets: usize) -> Vec<u8> {
        let mut bytes = vec![3; PREFACE_LEN as usize];
        // DATA whose payload looks like resets.
        bytes.extend([0, 0, 18, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0, 0, 4, 3, 0, 0, 0, 0, 1].repeat(2));
        for _ in 0..resets {
            bytes.extend([0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
        }
        bytes
    }

    #[test]
    fn resets_are_counted_however_the_bytes_arrive() {
        for step in [1, 2, 7, 1000] {
            let (mut meter, flood) = ResetMeter::new(3);
            frames(3).chunks(step).for_each(|piece| meter.read(piece));
            assert!(!flood.is_raised(), "step {step}");
            meter.read(&[0, 0, 4, 3, 0, 0, 0, 0, 1]);
            assert!(flood.is_raised(), "step {step}");
            assert!(!meter.is_calm());
        }
    }

    #[test]
    fn a_new_second_counts_anew() {
        let (mut meter, flood) = ResetMeter::new(1);
        let start = meter.since;
        meter.reset(start);
        meter.reset(start + Duration::from_secs(1));
        meter.reset(start + Duration::from_secs(2));
        assert!(!flood.is_raised());
        meter.reset(start + Duration::from_millis(2900));
        assert!(flood.is_raised());
    }
}
