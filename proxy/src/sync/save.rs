//! Keeps the disk in step with what is served: the task that writes, and what waits for it.

use super::disk::{Disk, Edits};
use crate::Proxy;
use parking_lot::Mutex;
use sluice_ir as ir;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a change may settle before it is written to the disk: what comes in a burst is one batch, and a sudden end
/// forgets no more than this.
const SETTLE_TIME: Duration = Duration::from_millis(20);
/// How soon a disk that could not be written is tried again.
const RETRY_TIME: Duration = Duration::from_secs(5);

/// What changed and is not on the disk yet: of each resource the newest.
#[derive(Default)]
pub(super) struct Waiting {
    edits: Mutex<Edits>,
    changed: Notify,
}

impl Waiting {
    /// Notes a delta that the proxy has applied.
    pub(super) fn note(&self, delta: &ir::Delta) {
        if delta.is_empty() {
            return;
        }
        let mut edits = self.edits.lock();
        edits.extend(delta.upserts.iter().map(|resource| (resource.key(), Some(resource.clone()))));
        edits.extend(delta.removals.iter().map(|key| (key.clone(), None)));
        drop(edits);
        self.changed.notify_one();
    }

    fn take(&self) -> Edits {
        std::mem::take(&mut self.edits.lock())
    }
}

/// Writes a moment after something changed, off the request path, and once more at the end.
pub(super) async fn run(mut disk: Disk, proxy: Arc<Proxy>, waiting: Arc<Waiting>, stop: CancellationToken) {
    let mut failed = false;
    while !stop.is_cancelled() {
        tokio::select! {
            () = waiting.changed.notified() => {}
            () = stop.cancelled() => {}
        }
        tokio::select! {
            () = tokio::time::sleep(SETTLE_TIME) => {}
            () = stop.cancelled() => {}
        }
        // Taken before the whole is: that one holds at least these.
        let edits = waiting.take();
        if edits.is_empty() && !failed {
            continue;
        }
        let proxy = proxy.clone();
        let saved = tokio::task::spawn_blocking(move || {
            let saved = disk.save(&edits, || proxy.snapshot());
            (disk, saved)
        });
        let saved = match saved.await {
            Ok((kept, saved)) => {
                disk = kept;
                saved
            }
            // Its folder went with it: what is on the disk stays as it is.
            Err(error) => {
                return tracing::error!(%error, "the configuration is no longer written to the disk");
            }
        };
        let Err(error) = saved else {
            failed = false;
            continue;
        };
        if !std::mem::replace(&mut failed, true) {
            let error = format!("{error:#}");
            tracing::warn!(error, "the configuration can't be written to the disk; trying on");
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_TIME) => waiting.changed.notify_one(),
            () = stop.cancelled() => {}
        }
    }
}
