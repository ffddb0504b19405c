//! The clock of an open loop: a thread of its own, because tokio's timers are too coarse (1 ms) to spread thousands of
//! requests over a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Ends its thread when dropped.
pub(super) struct Pacer {
    stop: Arc<AtomicBool>,
}

impl Pacer {
    /// Says when each request is due, to `connections` receivers in turn, until every receiver is gone.
    pub(super) fn start(per_second: u32, connections: usize) -> (Self, Vec<UnboundedReceiver<Instant>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..connections).map(|_| unbounded_channel()).unzip();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let started = Instant::now();
            for number in 0_u32.. {
                let due = started + Duration::from_secs(number.into()) / per_second.max(1);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let Some(sender) = senders.get(number as usize % senders.len().max(1)) else { return };
                if stopped.load(Ordering::Relaxed) || sender.send(due).is_err() {
                    return;
                }
            }
        });
        (Self { stop }, receivers)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
