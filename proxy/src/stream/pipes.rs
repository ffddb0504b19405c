//! Pipes for splice(2): made when there is something to move, kept for the next who needs one. A silent connection holds
//! none.

use parking_lot::Mutex;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::io;
use std::os::fd::OwnedFd;

/// Empty pipes that are kept.
const KEPT: usize = 256;
/// Bytes that a pipe holds, where the system allows it: fewer turns for the same bytes than with its usual 64 KiB.
const SIZE: usize = 256 * 1024;

/// A pipe; always empty when it is kept.
pub(super) struct Pipe {
    pub(super) reader: OwnedFd,
    pub(super) writer: OwnedFd,
}

/// Pipes that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Pipes(Mutex<Vec<Pipe>>);

impl Pipes {
    /// A pipe. Fails when the process has no descriptor left.
    pub(super) fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.lock().pop() {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // A process without privileges has a bound on the pages of all its pipes: then it is a smaller one.
        let _ = fcntl_setpipe_size(&writer, SIZE);
        Ok(Pipe { reader, writer })
    }

    /// Gives an empty pipe back.
    pub(super) fn give(&self, pipe: Pipe) {
        let mut kept = self.0.lock();
        if kept.len() < KEPT {
            kept.push(pipe);
        }
    }
}
