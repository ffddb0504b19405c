//! The life of one connection of the load: send, judge, and connect again when the server closed it properly.

use std::rc::Rc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;

use super::link::{Failure, Link};
use super::{Shared, Until};

/// Closed loop: the next request follows the last answer.
pub(super) async fn closed(shared: Rc<Shared>) {
    let mut slot = Slot::default();
    let mut now = Instant::now();
    while let Some(number) = shared.next(now) {
        match slot.request(&shared, number, now).await {
            Turn::Next(at) => now = at,
            Turn::Over => return,
        }
    }
}

/// Open loop: a request for each instant that comes through `due`.
pub(super) async fn paced(shared: Rc<Shared>, mut due: UnboundedReceiver<Instant>) {
    let mut slot = Slot::default();
    while let Some(at) = due.recv().await {
        let Some(number) = shared.next(at) else {
            return;
        };
        if let Turn::Over = slot.request(&shared, number, at).await {
            return;
        }
    }
}

enum Turn {
    /// Go on; the time of the last answer.
    Next(Instant),
    /// The proxy has drained: nothing listens any more.
    Over,
}

/// A connection, or the buffer of the last one.
#[derive(Default)]
struct Slot {
    link: Option<Link>,
    spare: Option<Vec<u8>>,
}

impl Slot {
    /// One request, on a second connection when the first one had been closed while it was idle.
    async fn request(&mut self, shared: &Shared, number: u64, due: Instant) -> Turn {
        let plan = &shared.plan;
        let request = &plan.requests[usize::try_from(number).unwrap_or(0) % plan.requests.len()];
        let mut fresh = self.link.is_none();
        loop {
            if self.link.is_none() {
                match Link::connect(&plan.target(number), self.spare.take()).await {
                    Ok(link) => self.link = Some(link),
                    Err(failure) => return refused(shared, &failure).await,
                }
            }
            let Some(link) = self.link.as_mut() else { return Turn::Over };
            match link.exchange(request, plan.body_bytes).await {
                Ok(head) => {
                    let now = Instant::now();
                    shared.tally.borrow_mut().answer(now.duration_since(due));
                    if head.close || plan.reconnect {
                        self.close();
                    }
                    return Turn::Next(now);
                }
                // RFC 9112 §9.3.1: a kept connection may close at any time; a client sends an idempotent request again.
                Err(Failure::NoAnswer(_)) if !fresh => {
                    shared.tally.borrow_mut().reconnected();
                    self.close();
                    fresh = true;
                }
                Err(Failure::Status(503)) if plan.may_refuse => {
                    shared.tally.borrow_mut().refuse();
                    return Turn::Next(Instant::now());
                }
                Err(failure) => {
                    self.close();
                    shared.failed(failure.to_string());
                    // Let others run even when every attempt fails at once.
                    tokio::task::yield_now().await;
                    return Turn::Next(Instant::now());
                }
            }
        }
    }

    fn close(&mut self) {
        self.spare = self.link.take().map(Link::into_buffer);
    }
}

async fn refused(shared: &Shared, failure: &Failure) -> Turn {
    let refused =
        matches!(failure, Failure::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused);
    if refused && shared.draining.get() && matches!(shared.plan.until, Until::Told) {
        return Turn::Over;
    }
    shared.failed(failure.to_string());
    tokio::task::yield_now().await;
    Turn::Next(Instant::now())
}
