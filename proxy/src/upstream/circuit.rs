//! Circuit breakers of one backend (`connectionPool` of a DestinationRule): exact counts of what is on its way.
//!
//! A request first takes an [`Admission`], then a [`Slot`] for the connection that carries it. A slot may be waited for,
//! by a bounded number of requests, in the order in which they came; everything else is refused at once. What was taken
//! is given back by dropping it. Taking costs a few atomics while nobody waits.

use super::peer::STREAMS_PER_UPSTREAM;
use super::permits::{Permit, Permits};
use sluice_ir::{BackendPolicy, BackendProtocol, CircuitLimits, RetryBudget};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Notify;

/// Thousandths of a percent in a whole.
const WHOLE: u64 = 100_000;

/// The breakers of one backend.
#[derive(Debug)]
pub struct Circuit {
    requests: Arc<Permits>,
    slots: Option<Arc<Slots>>,
    retries: Arc<Permits>,
    limits: CircuitLimits,
}

/// The counters, which live on when the limits change.
#[derive(Debug)]
pub(super) struct Counters {
    requests: Arc<Permits>,
    slots: Arc<Slots>,
    retries: Arc<Permits>,
}

/// The right to be on the way to the backend.
#[derive(Debug)]
pub struct Admission(#[allow(dead_code, reason = "held for its end")] Permit);

impl Counters {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: Permits::new(u32::MAX),
            slots: Arc::new(Slots::new()),
            retries: Permits::new(u32::MAX),
        })
    }

    /// The breakers with these limits. Lowering a limit takes nothing back.
    pub(super) fn with(&self, policy: &BackendPolicy, protocol: BackendProtocol) -> Arc<Circuit> {
        let limits = policy.circuit.clone();
        let shared = match protocol {
            BackendProtocol::H2c => policy.connections.streams.unwrap_or(STREAMS_PER_UPSTREAM as u32),
            BackendProtocol::Http1 | BackendProtocol::Tcp | BackendProtocol::Udp => 1,
        };
        let shared = if policy.connections.is_used_once { 1 } else { shared };
        self.requests.set_limit(limits.requests.unwrap_or(u32::MAX));
        self.retries.set_limit(limits.retries.unwrap_or(u32::MAX));
        self.slots.open.set_limit(limits.connections.map_or(u32::MAX, |it| it.saturating_mul(shared)));
        self.slots.waiting.set_limit(limits.waiting.unwrap_or(u32::MAX));
        self.slots.freed.notify_waiters();
        Arc::new(Circuit {
            requests: self.requests.clone(),
            slots: limits.connections.is_some().then(|| self.slots.clone()),
            retries: self.retries.clone(),
            limits,
        })
    }
}

impl Circuit {
    /// Lets a request on its way, or `None` at the limit.
    pub fn admit(&self) -> Option<Admission> {
        self.requests.try_acquire().map(Admission)
    }

    /// Where connections are counted; `None`: they are not.
    pub fn slots(&self) -> Option<&Arc<Slots>> {
        self.slots.as_ref()
    }

    /// Lets a request be tried again, or `None` at the limit.
    pub fn admit_retry(&self) -> Option<Admission> {
        let permit = match &self.limits.retry_budget {
            Some(budget) => self.retries.try_acquire_within(allowed(budget, self.requests.in_use())),
            None => self.retries.try_acquire(),
        };
        permit.map(Admission)
    }
}

/// Retries that a budget allows beside so many requests.
fn allowed(budget: &RetryBudget, requests: u32) -> u32 {
    let share = u64::from(requests) * u64::from(budget.share) / WHOLE;
    u32::try_from(share).unwrap_or(u32::MAX).max(budget.least)
}

/// Connections in use, and who waits for one.
#[derive(Debug)]
pub struct Slots {
    open: Arc<Permits>,
    waiting: Arc<Permits>,
    freed: Notify,
}

/// The right to use one connection.
#[derive(Debug)]
pub struct Slot {
    permit: Option<Permit>,
    owner: Arc<Slots>,
}

impl Slots {
    fn new() -> Self {
        Self { open: Permits::new(u32::MAX), waiting: Permits::new(u32::MAX), freed: Notify::new() }
    }

    /// A slot if one is free and nobody waits for it.
    pub fn try_take(self: &Arc<Self>) -> Option<Slot> {
        if self.waiting.in_use() > 0 { None } else { self.free() }
    }

    /// A slot, perhaps after waiting; `None`: too many wait already. Bounds no time: the caller does. Cancelling gives
    /// the place in the queue up.
    pub async fn take(self: &Arc<Self>) -> Option<Slot> {
        if let Some(slot) = self.try_take() {
            return Some(slot);
        }
        // A slot that was freed just now may not have reached its waiter: whoever comes then is not refused for it.
        let Some(_waits) = self.waiting.try_acquire() else { return self.free() };
        loop {
            // Listening begins before the look, so that what is freed between the two is not missed.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(slot) = self.free() {
                return Some(slot);
            }
            freed.await;
        }
    }

    /// Connections in use now.
    pub fn in_use(&self) -> u32 {
        self.open.in_use()
    }

    fn free(self: &Arc<Self>) -> Option<Slot> {
        let permit = self.open.try_acquire()?;
        Some(Slot { permit: Some(permit), owner: self.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.owner.freed.notify_one();
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
