//! A number that grows with each change of something, for many tasks that must know of it.
//!
//! Who waits compares the number whenever it runs anyway, and is woken when the number grows. Unlike a watch channel, whose
//! waiter takes a shared lock each time it is polled, a lock is taken when a task begins to wait, when it is gone, and at a
//! change.

use ahash::AHashMap;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

/// The number, and who waits for the next.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    now: AtomicU64,
    next_waiter: AtomicU64,
    waiting: Mutex<AHashMap<u64, Waker>>,
}

impl Generation {
    /// Something has changed: whoever waits is woken. Costs a waker for each.
    pub(crate) fn advance(&self) {
        self.now.fetch_add(1, SeqCst);
        let woken: Vec<Waker> = self.waiting.lock().values().cloned().collect();
        woken.into_iter().for_each(Waker::wake);
    }

    /// Knows of all changes until now.
    pub(crate) fn watch(self: &Arc<Self>) -> GenerationWatch {
        GenerationWatch { generation: self.clone(), known: self.now.load(SeqCst), registered: None }
    }
}

/// One who must know of changes. Of one task at a time.
#[derive(Debug)]
pub(crate) struct GenerationWatch {
    generation: Arc<Generation>,
    known: u64,
    registered: Option<(u64, Waker)>,
}

impl GenerationWatch {
    /// Takes note of all changes until now; whether there were any. Costs one load.
    pub(crate) fn catch_up(&mut self) -> bool {
        let now = self.generation.now.load(SeqCst);
        std::mem::replace(&mut self.known, now) != now
    }

    /// Whether there were changes that it has not taken note of. Costs one load.
    pub(crate) fn is_behind(&self) -> bool {
        self.known != self.generation.now.load(SeqCst)
    }

    /// Has the task woken at every change from now on: what is not seen after this wakes it. Costs a comparison once it is
    /// registered.
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        let waker = cx.waker();
        if self.registered.as_ref().is_some_and(|(_, known)| known.will_wake(waker)) {
            return;
        }
        let id = match &self.registered {
            Some((id, _)) => *id,
            None => self.generation.next_waiter.fetch_add(1, SeqCst),
        };
        self.generation.waiting.lock().insert(id, waker.clone());
        self.registered = Some((id, waker.clone()));
    }

    /// Waits for a change that it has not taken note of, and takes note. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        poll_fn(|cx| {
            self.register(cx);
            if self.catch_up() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for GenerationWatch {
    fn drop(&mut self) {
        if let Some((id, _)) = &self.registered {
            self.generation.waiting.lock().remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Generation;
    use futures::FutureExt as _;
    use std::sync::Arc;

    #[tokio::test]
    async fn each_waiter_learns_of_a_change_once_and_of_none_that_it_knew() {
        let generation = Arc::<Generation>::default();
        generation.advance();
        let (mut first, mut second) = (generation.watch(), generation.watch());
        assert!(first.changed().now_or_never().is_none(), "it was there before");
        generation.advance();
        generation.advance();
        assert!(first.is_behind() && first.changed().now_or_never().is_some());
        assert!(!first.is_behind() && first.changed().now_or_never().is_none());
        assert!(second.catch_up() && !second.catch_up());
    }

    #[tokio::test]
    async fn a_change_wakes_tasks_that_wait_and_those_that_are_gone_leave_nothing() {
        let generation = Arc::<Generation>::default();
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let mut watch = generation.watch();
                tokio::spawn(async move {
                    watch.changed().await;
                    watch.changed().await;
                })
            })
            .collect();
        while generation.waiting.lock().len() < 3 {
            tokio::task::yield_now().await;
        }
        generation.advance();
        // A task that has not run yet would take both changes for one.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        generation.advance();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(generation.waiting.lock().is_empty());
    }
}
