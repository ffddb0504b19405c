//! The access log: one line for each request that ended, as JSON or text, to standard output.
//!
//! In: an [`AccessRecord`]. Out: whole lines, in order for each thread, within 200 ms. Writing costs a request one
//! uncontended lock and a copy; a thread of the log's own does the I/O. What is deliberately absent: header values,
//! queries, bodies, and waiting. Records that can't be kept are counted ([`AccessLogCounts`]).

mod clock;
mod escape;
mod format;
pub mod istio;
pub mod record;
mod trace;
mod writer;

pub use record::AccessRecord;
pub(crate) use trace::digits as trace_digits;
pub use trace::trace_id;
pub use writer::AccessLogCounts;

use sluice_ir::AccessLog;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{self, Thread};
use std::time::Duration;
use writer::Shared;

/// How long [`AccessLogger::flush`] waits at most, so that a blocked output can't keep a process from ending.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes access records. Cheap to clone; when the last clone is gone, its thread writes the rest and ends.
#[derive(Clone)]
pub struct AccessLogger(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// None when no thread could be started.
    writer: Option<Thread>,
}

impl Handle {
    fn wake(&self) {
        if let Some(writer) = &self.writer {
            writer.unpark();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.wake();
    }
}

impl AccessLogger {
    /// Logs to standard output.
    pub fn stdout() -> Self {
        Self::to_writer(Box::new(io::stdout()))
    }

    /// Logs to `output`, which only the log's own thread uses. It may block; should it fail, the records of that
    /// moment are lost and counted, and it is tried again with the next. Where the system gives no further thread,
    /// that is reported once and records are dropped and counted.
    pub fn to_writer(output: Box<dyn Write + Send>) -> Self {
        let shared = Arc::new(Shared::new());
        let of_writer = shared.clone();
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer::run(&of_writer, output));
        if let Err(error) = &thread {
            tracing::error!(%error, "the access log has no thread: nothing is logged");
        }
        let writer = thread.ok().map(|thread| thread.thread().clone());
        Self(Arc::new(Handle { shared, writer }))
    }

    /// Takes a record in the given form. Never waits for the output; a record for which there is no room is dropped
    /// and counted.
    pub fn write(&self, format: AccessLog, record: &AccessRecord<'_>) {
        if format != AccessLog::Off && self.0.shared.push(format, record) {
            self.0.wake();
        }
    }

    /// Waits until everything that was taken before is written, at most [`FLUSH_TIMEOUT`]; `false` when that did not
    /// do. Blocks the thread: for the end of the process, after the last request.
    pub fn flush(&self) -> bool {
        self.flush_within(FLUSH_TIMEOUT)
    }

    /// As [`AccessLogger::flush`], with another bound.
    pub fn flush_within(&self, within: Duration) -> bool {
        self.0.shared.flush(|| self.0.wake(), within)
    }

    /// What became of the records.
    pub fn counts(&self) -> Arc<AccessLogCounts> {
        self.0.shared.counts.clone()
    }
}

#[cfg(test)]
mod tests;
