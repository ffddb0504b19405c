//! Requests that are being answered end when what has changed meanwhile forbids them.
//!
//! Whoever answers a request leaves its [`UnderWay`] with [`watch`]; whoever has it answered runs that by [`while_allowed`].
//! The request's own task judges it, so that a change wakes tasks and waits for none. Cutting a request is dropping what
//! answers it: its stream of HTTP/2 is reset thereby, its connection of HTTP/1.1 closed.

use crate::generation::GenerationWatch;
use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// A request that has been let in.
pub(crate) trait UnderWay: Send + Sync {
    /// Whether it must not go on, as things are now. It is not asked again after it has said so.
    fn is_forbidden(&self) -> bool;
}

tokio::task_local! {
    /// What the task's current request has left. Pingora hands our phases nothing of whoever called it but the connection,
    /// and one of HTTP/2 has many requests.
    static REQUEST: OnceCell<Arc<dyn UnderWay>>;
}

/// Has the current request judged anew at every change since its answering began. Only its first word counts; outside of
/// [`while_allowed`] nothing comes of it.
pub(crate) fn watch(request: Arc<dyn UnderWay>) {
    let _ = REQUEST.try_with(|left| left.set(request));
}

/// Answers a request; `None`: it was cut. Costs a load each time the task runs; `changes` keeps the task registered, from
/// one request of a connection to the next.
pub(super) async fn while_allowed<T>(
    changes: &mut GenerationWatch,
    answering: impl Future<Output = T>,
) -> Option<T> {
    changes.catch_up();
    let mut answering = pin!(answering);
    let watched = poll_fn(|cx| {
        if let Poll::Ready(answered) = answering.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        changes.register(cx);
        // What is not let in yet may have seen what was before the change: it is judged when it is let in.
        if changes.is_behind()
            && let Some(request) = REQUEST.with(|left| left.get().cloned())
        {
            changes.catch_up();
            if request.is_forbidden() {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    });
    REQUEST.scope(OnceCell::new(), watched).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{UnderWay, watch, while_allowed};
    use crate::generation::Generation;
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
    use tokio::sync::Notify;

    #[derive(Default)]
    struct Request {
        is_forbidden: AtomicBool,
        asked: AtomicU32,
    }

    impl UnderWay for Request {
        fn is_forbidden(&self) -> bool {
            self.asked.fetch_add(1, SeqCst);
            self.is_forbidden.load(SeqCst)
        }
    }

    #[tokio::test]
    async fn a_request_is_judged_at_changes_and_ends_when_it_is_forbidden() {
        let (generation, request) = (Arc::<Generation>::default(), Arc::<Request>::default());
        generation.advance();
        let (mut changes, own) = (generation.watch(), request.clone());
        let task = tokio::spawn(async move {
            let answering = async {
                watch(own);
                pending::<()>().await;
            };
            while_allowed(&mut changes, answering).await
        });
        tokio::task::yield_now().await;
        assert_eq!(request.asked.load(SeqCst), 0, "nothing has changed since it began");
        generation.advance();
        tokio::task::yield_now().await;
        assert_eq!(request.asked.load(SeqCst), 1);
        request.is_forbidden.store(true, SeqCst);
        tokio::task::yield_now().await;
        assert!(!task.is_finished(), "nobody said that anything has changed");
        generation.advance();
        assert_eq!(task.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_change_before_a_request_is_let_in_counts_and_its_end_is_its_answer() {
        let (generation, request) = (Arc::<Generation>::default(), Arc::<Request>::default());
        let (let_in, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (mut changes, own) = (generation.watch(), request.clone());
        let (asked, told) = (let_in.clone(), answer.clone());
        let task = tokio::spawn(async move {
            let answering = async {
                asked.notified().await;
                watch(own);
                told.notified().await;
                7
            };
            while_allowed(&mut changes, answering).await
        });
        tokio::task::yield_now().await;
        generation.advance();
        tokio::task::yield_now().await;
        assert_eq!(request.asked.load(SeqCst), 0, "there is nothing to judge yet");
        let_in.notify_one();
        tokio::task::yield_now().await;
        assert_eq!(request.asked.load(SeqCst), 1);
        answer.notify_one();
        assert_eq!(task.await.unwrap(), Some(7));
    }
}
