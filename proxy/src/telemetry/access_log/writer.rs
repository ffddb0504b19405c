//! The buffers that requests write into, and the thread that empties them.
//!
//! Each group of threads has a buffer behind its own lock, so that the lock is hardly ever contended. The writer
//! thread swaps full buffers for an empty one and writes them out without holding a lock: at the latest every
//! [`PERIOD`], at once when a buffer holds a block or somebody flushes. It owns the output. When it is behind,
//! buffers fill up to a bound and further records are dropped and counted: a request never waits for the output.

use super::clock::Clock;
use super::format::{push_json, push_line};
use super::istio::push_istio;
use super::record::AccessRecord;
use crate::telemetry::stripe::{STRIPES, stripe};
use parking_lot::{Condvar, Mutex};
use sluice_ir::AccessLog;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// How long a record waits at most before it is written.
const PERIOD: Duration = Duration::from_millis(200);
/// A buffer of this size is written at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// A buffer of this size takes no further records. Memory of the log: at most nine times as much.
const BUFFER_BYTES: usize = 512 * 1024;
/// Pause before an output that is not ready is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Records counted by what became of them.
#[derive(Debug, Default)]
pub struct AccessLogCounts {
    written: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
}

impl AccessLogCounts {
    /// Written to the output.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Not taken, because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Taken, but the output failed.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// What requests and the writer thread share.
pub(super) struct Shared {
    buffers: [Buffer; STRIPES],
    pub(super) counts: Arc<AccessLogCounts>,
    asked: AtomicU64,
    done: Mutex<u64>,
    done_changed: Condvar,
    pub(super) stop: AtomicBool,
}

#[derive(Default)]
#[repr(align(128))]
struct Buffer(Mutex<Content>);

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    records: u64,
    clock: Clock,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            buffers: Default::default(),
            counts: Arc::default(),
            asked: AtomicU64::new(0),
            done: Mutex::new(0),
            done_changed: Condvar::new(),
            stop: AtomicBool::new(false),
        }
    }

    /// Takes a record; `true` when the writer must be woken.
    pub(super) fn push(&self, format: AccessLog, record: &AccessRecord<'_>) -> bool {
        let mut guard = self.buffers[stripe()].0.lock();
        let content = &mut *guard;
        let before = content.bytes.len();
        if before >= BUFFER_BYTES {
            self.counts.dropped.fetch_add(1, Relaxed);
            return false;
        }
        match format {
            AccessLog::Off => return false,
            AccessLog::Text => push_line(&mut content.bytes, &mut content.clock, record),
            AccessLog::Json => push_json(&mut content.bytes, &mut content.clock, record),
            AccessLog::IstioJson => push_istio(&mut content.bytes, &mut content.clock, record),
        }
        content.records += 1;
        before < BLOCK_BYTES && content.bytes.len() >= BLOCK_BYTES
    }

    /// Waits until everything that was taken before is written; `false` when that took longer than `within`.
    pub(super) fn flush(&self, wake: impl FnOnce(), within: Duration) -> bool {
        let deadline = Instant::now() + within.min(Duration::from_secs(3_600));
        let ticket = self.asked.fetch_add(1, SeqCst) + 1;
        wake();
        let mut done = self.done.lock();
        while *done < ticket {
            if self.done_changed.wait_until(&mut done, deadline).timed_out() {
                return *done >= ticket;
            }
        }
        true
    }
}

/// Body of the writer thread: ends after `stop`, with all buffers written.
pub(super) fn run(shared: &Shared, output: Box<dyn Write + Send>) {
    let mut output = Output { inner: output, torn: false, failing: false };
    let mut block = Vec::new();
    loop {
        let stopping = shared.stop.load(SeqCst);
        let asked = shared.asked.load(SeqCst);
        for buffer in &shared.buffers {
            let records = {
                let mut content = buffer.0.lock();
                std::mem::swap(&mut content.bytes, &mut block);
                std::mem::take(&mut content.records)
            };
            output.write(&block, records, &shared.counts);
            block.clear();
            block.shrink_to(2 * BLOCK_BYTES);
        }
        *shared.done.lock() = asked;
        shared.done_changed.notify_all();
        if stopping {
            return;
        }
        if shared.asked.load(SeqCst) == asked {
            thread::park_timeout(PERIOD);
        }
    }
}

/// The output, which may fail and recover.
struct Output {
    inner: Box<dyn Write + Send>,
    /// A failure left part of a line behind.
    torn: bool,
    /// The last write failed: said once, not again for each block.
    failing: bool,
}

impl Output {
    fn write(&mut self, block: &[u8], records: u64, counts: &AccessLogCounts) {
        if block.is_empty() {
            return;
        }
        let (mut rest, mut result) = (block, Ok(()));
        if self.torn {
            result = self.some(&mut &b"\n"[..]);
            self.torn = result.is_err();
        }
        result = result.and_then(|()| self.some(&mut rest)).and_then(|()| self.inner.flush());
        // Lines that end in the unwritten rest did not get out whole.
        let lost = (rest.iter().filter(|byte| **byte == b'\n').count() as u64).min(records);
        counts.lost.fetch_add(lost, Relaxed);
        counts.written.fetch_add(records - lost, Relaxed);
        match result {
            Ok(()) => self.failing = false,
            Err(error) => {
                let written = block.len() - rest.len();
                self.torn |= written > 0 && block.get(written - 1) != Some(&b'\n');
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the output of the access log fails: records are lost until it recovers");
                }
            }
        }
    }

    /// Writes, moving `rest` forward. An output that is not ready is waited for: the writer may, requests don't.
    fn some(&mut self, rest: &mut &[u8]) -> std::io::Result<()> {
        while !rest.is_empty() {
            match self.inner.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
