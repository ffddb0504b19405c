//! One endpoint: its load and its health, shared by all routes that reach it.
//!
//! A [`Picked`] endpoint counts as one request in flight until it is dropped. Consecutive failures send an endpoint to
//! rest, longer each time it happens again; health checks take it out by a bit of their own ([`health`](super::health)).
//! All numbers are atomics; only sending an endpoint to rest takes a lock (of its pool), so that never too many rest at
//! once.

use super::health::{Check, HealthSnapshot, Probe};
use super::outlier::{self, Tally, Verdict};
use super::pool::EndpointPool;
use super::session::SessionId;
use crate::telemetry::mesh::Party;
use parking_lot::Mutex;
use sluice_ir::{Ejection, Workload};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::time::{Duration, Instant};

/// When an endpoint is sent to rest, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectPolicy {
    /// Consecutive failures after which an endpoint rests; 0: never.
    pub after: u32,
    /// Length of the first rest. Doubles with each further one, up to [`LONGEST_REST`] times this.
    pub base: Duration,
}

impl From<&sluice_ir::Settings> for EjectPolicy {
    fn from(settings: &sluice_ir::Settings) -> Self {
        Self { after: settings.eject_after_failures, base: settings.eject_for }
    }
}

/// A rest is at most this many times the base; after the same time without a further rest, a success makes the next
/// rest a first one again.
pub const LONGEST_REST: u32 = 10;

/// State of an endpoint that survives changes of the others.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) session: SessionId,
    pool: Weak<EndpointPool>,
    /// What runs there, where that is known.
    workload: Option<Arc<Workload>>,
    /// The same as metrics name it.
    party: OnceLock<Arc<Party>>,
    /// When it came, on the clock of [`millis`].
    came_ms: u64,
    in_flight: AtomicU32,
    /// Consecutive failures.
    failures: AtomicU32,
    /// What a rule counts in place of `failures`.
    tally: Tally,
    /// Requests that were sent there.
    number: AtomicU64,
    /// Rests that followed each other closely.
    rests: AtomicU32,
    /// On the clock of [`millis`]; 0: never rested.
    rest_ends_ms: AtomicU64,
    /// When a success forgets the former rests.
    forget_at_ms: AtomicU64,
    /// Whether health checks take it out.
    out: AtomicBool,
    /// Who asks it; `None`: nobody.
    probe: Mutex<Option<Arc<Probe>>>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, session: SessionId, pool: Weak<EndpointPool>) -> Self {
        Self {
            address,
            session,
            pool,
            workload: None,
            party: OnceLock::new(),
            came_ms: millis(Instant::now()),
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            tally: Tally::default(),
            number: AtomicU64::new(0),
            rests: AtomicU32::new(0),
            rest_ends_ms: AtomicU64::new(0),
            forget_at_ms: AtomicU64::new(0),
            out: AtomicBool::new(false),
            probe: Mutex::default(),
        }
    }

    /// An endpoint that this workload answers at.
    pub(super) fn of(self, workload: Option<Arc<Workload>>) -> Self {
        Self { workload, ..self }
    }

    pub(super) fn workload(&self) -> Option<&Arc<Workload>> {
        self.workload.as_ref()
    }

    pub(super) fn came_ms(&self) -> u64 {
        self.came_ms
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn rest_ends_ms(&self) -> u64 {
        self.rest_ends_ms.load(Ordering::Relaxed)
    }

    pub(super) fn rests_at(&self, now_ms: u64) -> bool {
        self.rest_ends_ms() > now_ms
    }

    /// Starts a rest and returns when it ends. The pool decides whether this is allowed.
    pub(super) fn rest(&self, now_ms: u64, base: Duration) -> u64 {
        let before = self.rests.fetch_add(1, Ordering::Relaxed);
        let base_ms = u64::try_from(base.as_millis()).unwrap_or(u64::MAX);
        let longest_ms = base_ms.saturating_mul(u64::from(LONGEST_REST));
        let rest_ms = base_ms.saturating_mul(1 << before.min(31)).min(longest_ms);
        let end_ms = now_ms.saturating_add(rest_ms);
        self.forget_at_ms.store(end_ms.saturating_add(longest_ms), Ordering::Relaxed);
        self.rest_ends_ms.store(end_ms, Ordering::Relaxed);
        end_ms
    }

    /// The same by a rule.
    pub(super) fn rest_by(&self, rule: &Ejection, now_ms: u64) -> u64 {
        let (before, ended_ms) = (self.rests.load(Ordering::Relaxed), self.rest_ends_ms());
        let (number, end_ms) = outlier::next(rule, before, ended_ms, now_ms);
        self.rests.store(number, Ordering::Relaxed);
        self.rest_ends_ms.store(end_ms, Ordering::Relaxed);
        end_ms
    }

    /// Whether health checks take it out.
    pub(super) fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    pub(super) fn set_out(&self, out: bool) {
        self.out.store(out, Ordering::Relaxed);
    }

    /// Has it asked as the check says from now on, or not at all. What was found out so far stays known.
    pub(super) fn ask(self: &Arc<Self>, check: Option<&Arc<Check>>) {
        let mut probe = self.probe.lock();
        let before = probe.take();
        if let Some(before) = &before {
            before.leave(self);
        }
        *probe = check.map(|check| check.probe((self.address, self.workload.as_ref()), before.as_deref()));
        match &*probe {
            Some(probe) => probe.follow(self),
            None => self.set_out(false),
        }
    }

    /// A check ended. `recovered`: it was found unhealthy before and is healthy since then; a rest ends with that, since
    /// the check sees what requests saw.
    pub(super) fn checked(&self, is_good: bool, is_new: bool, recovered: Option<Instant>) {
        if let Some(now) = recovered {
            self.forget_failures();
            self.rest_ends_ms.fetch_min(millis(now), Ordering::Relaxed);
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.checked(is_good, is_new);
        }
    }

    /// What health checks know of it; `None`: nobody asks it.
    pub(super) fn health(&self, now: Instant) -> Option<HealthSnapshot> {
        self.probe.lock().as_ref().map(|it| it.snapshot(now))
    }

    pub(super) fn forget_failures(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.tally.clear();
    }

    fn succeeded(&self, clock: impl FnOnce() -> Instant) {
        // Read before write: healthy endpoints keep their cache line shared between threads.
        if self.failures() != 0 {
            self.forget_failures();
        }
        let rested = self.rests.load(Ordering::Relaxed) != 0;
        if rested && millis(clock()) >= self.forget_at_ms.load(Ordering::Relaxed) {
            self.rests.store(0, Ordering::Relaxed);
        }
    }
}

/// An endpoint chosen for one try. Dropping it ends the try: its load goes down by one.
#[derive(Debug)]
pub struct Picked {
    /// Where to connect.
    pub address: SocketAddr,
    endpoint: Arc<Endpoint>,
}

impl Picked {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { address: endpoint.address, endpoint }
    }

    /// The number of a request among those of the endpoint; each call is one more.
    pub fn number(&self) -> u64 {
        self.endpoint.number.fetch_add(1, Ordering::Relaxed)
    }

    /// What runs there; `None`: nobody knows, or it is none of the mesh.
    pub fn workload(&self) -> Option<&Arc<Workload>> {
        self.endpoint.workload()
    }

    /// The same as metrics name it; `name` is asked once an endpoint.
    pub(crate) fn party(&self, name: impl FnOnce(&Workload) -> Arc<Party>) -> Option<&Arc<Party>> {
        let workload = self.endpoint.workload()?;
        Some(self.endpoint.party.get_or_init(|| name(workload)))
    }

    /// The endpoint answered: its consecutive failures are forgotten.
    pub fn succeeded(&self) {
        self.endpoint.succeeded(Instant::now);
    }

    /// The endpoint failed (connect error, reset, 502, 503, 504): after `policy.after` in a row it rests, unless half
    /// of its set rests already.
    pub fn failed(&self, now: Instant, policy: EjectPolicy) {
        if policy.after == 0 {
            return;
        }
        let failures = self.endpoint.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= policy.after
            && let Some(pool) = self.endpoint.pool.upgrade()
        {
            pool.send_to_rest(&self.endpoint, now, policy.base);
        }
    }

    /// Tells the endpoint's health: by the rule's detection where there is one, else by the Gateway's.
    pub fn report(&self, verdict: Verdict, now: Instant, rule: Option<&Ejection>, policy: EjectPolicy) {
        match rule {
            Some(rule) => {
                if self.endpoint.tally.note(verdict, rule)
                    && let Some(pool) = self.endpoint.pool.upgrade()
                {
                    pool.eject(&self.endpoint, now, rule);
                }
            }
            None if verdict.is_failure() => self.failed(now, policy),
            None => self.succeeded(),
        }
    }

    /// What a client presents to come back to this endpoint.
    pub fn session_id(&self) -> SessionId {
        self.endpoint.session
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Milliseconds on a clock of this process; never 0.
pub(crate) fn millis(now: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let passed = now.saturating_duration_since(*START).as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Endpoint, millis};
    use crate::upstream::session::SessionId;
    use sluice_ir::EndpointSetKey;
    use std::sync::Weak;
    use std::time::{Duration, Instant};

    fn endpoint() -> Endpoint {
        let address = "127.0.0.1:1".parse().unwrap();
        Endpoint::new(address, SessionId::of(&EndpointSetKey::new("Service/a/b:1"), address), Weak::new())
    }

    #[test]
    fn each_rest_doubles_up_to_ten_times_the_first() {
        let endpoint = endpoint();
        let lengths: Vec<_> =
            (0..6).map(|_| endpoint.rest(1_000, Duration::from_millis(100)) - 1_000).collect();
        assert_eq!(lengths, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn a_long_healthy_time_makes_the_next_rest_short_again() {
        let endpoint = endpoint();
        let (base, now) = (Duration::from_millis(100), Instant::now());
        endpoint.rest(millis(now), base);
        endpoint.succeeded(|| now + base * 2);
        assert_eq!(endpoint.rest(0, base), 200, "too early to forget");
        endpoint.rest(millis(now), base);
        endpoint.succeeded(|| now + base * 30);
        assert_eq!(endpoint.rest(0, base), 100);
    }
}
