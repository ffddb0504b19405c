//! Answers for names that clients say: each name is asked for when somebody wants it, once for all who do, and kept as
//! long as DNS says so.
//!
//! In: a name. Out: a [`Lookup`], which is shared by everything that leads to the name, and what it is [`Known`] to be.
//! Who holds a lookup bounds how many there are; this file holds them weakly. A name that does not exist is remembered
//! too (RFC 2308), and so is a failure, for a second at first and for longer each time. Last good addresses serve on while
//! no server answers, for at most [`STALE`] (RFC 8767).

use super::dns::{ResolveError, Resolver, backoff};
use super::endpoint::millis;
use ahash::AHashMap;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions that are asked at one time; further names wait for their turn.
const QUESTIONS: usize = 64;
/// How long somebody waits for an answer, waiting for a turn included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long addresses may be used beyond their time when no server answers.
const STALE: Duration = Duration::from_secs(3600);

/// Why a name has no address that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// It has none, as a server says that knows.
    NoSuchName,
    /// Nobody said anything in time.
    NoAnswer,
}

/// All names that somebody holds.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Resolver,
    questions: Semaphore,
    all: Mutex<AHashMap<Arc<str>, Weak<Lookup>>>,
}

/// One name.
#[derive(Debug)]
pub(super) struct Lookup {
    host: Arc<str>,
    known: ArcSwap<Known>,
    /// Held by who asks: others wait for the same answer.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of a name. A new answer is a new object.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// In the order of the answer, each once; empty with a fault.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) fault: Option<NoAddress>,
    /// On the clock of [`millis`].
    until_ms: u64,
    /// How long the addresses may be used when nobody answers.
    stale_until_ms: u64,
    /// Failures since the last answer.
    failures: u32,
}

impl Lookups {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self { resolver, questions: Semaphore::new(QUESTIONS), all: Mutex::default() }
    }

    /// The name's lookup, the same for everybody. Takes a lock and looks at all names now and then: not for names that
    /// are at hand already.
    pub(super) fn of(&self, host: &Arc<str>) -> Arc<Lookup> {
        let mut all = self.all.lock();
        if let Some(known) = all.get(host).and_then(Weak::upgrade) {
            return known;
        }
        if all.len() == all.capacity() {
            all.retain(|_, lookup| lookup.strong_count() > 0);
        }
        let lookup =
            Arc::new(Lookup { host: host.clone(), known: ArcSwap::default(), asking: Arc::default() });
        all.insert(host.clone(), Arc::downgrade(&lookup));
        lookup
    }

    /// What is known of the name now; asks when that is nothing or too old. Costs one load while it is fresh. Cancel
    /// safe: whoever waits next asks then.
    ///
    /// While nobody answers, those that a last good address serves wait for the first question that fails and for none
    /// after it: the next ones are asked beside them, one at a time.
    pub(super) async fn known(self: &Arc<Self>, lookup: &Arc<Lookup>) -> Arc<Known> {
        if let Some(known) = lookup.fresh() {
            return known;
        }
        let before = lookup.known.load_full();
        if before.failures > 0 && before.is_usable(Instant::now()) {
            if let Ok(turn) = lookup.asking.clone().try_lock_owned() {
                let (lookups, lookup) = (self.clone(), lookup.clone());
                // Ends within the patience.
                tokio::spawn(async move {
                    lookups.renew(&lookup).await;
                    drop(turn);
                });
            }
            return before;
        }
        let _turn = lookup.asking.lock().await;
        if let Some(known) = lookup.fresh() {
            return known;
        }
        self.renew(lookup).await
    }

    /// Asks, and notes the answer. Only for who holds the turn.
    async fn renew(&self, lookup: &Lookup) -> Arc<Known> {
        let answer = timeout(PATIENCE, self.ask(&lookup.host)).await;
        let answer = answer.unwrap_or_else(|_| Err(ResolveError::Failed(format!("nothing in {PATIENCE:?}"))));
        let known = Arc::new(self.next(&lookup.known.load(), answer, &lookup.host, Instant::now()));
        lookup.known.store(known.clone());
        known
    }

    async fn ask(&self, host: &Arc<str>) -> Result<super::dns::Answer, ResolveError> {
        // Never closed.
        let _question = self.questions.acquire().await;
        // A whole name: domains of /etc/resolv.conf would make another of it, which nobody has allowed.
        self.resolver.resolve(format!("{host}.").into()).await
    }

    fn next(
        &self,
        before: &Known,
        answer: Result<super::dns::Answer, ResolveError>,
        host: &str,
        now: Instant,
    ) -> Known {
        let pace = self.resolver.pace();
        let after = |wait: Duration| millis(now + wait);
        match answer {
            Ok(answer) => {
                let ttl = answer.ttl.clamp(pace.shortest, pace.longest);
                let mut addresses: Vec<IpAddr> = Vec::with_capacity(answer.addresses.len());
                for address in answer.addresses {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                Known {
                    addresses,
                    fault: None,
                    until_ms: after(ttl),
                    stale_until_ms: after(ttl + STALE),
                    failures: 0,
                }
            }
            Err(ResolveError::NoSuchName { ttl }) => {
                let ttl = ttl.unwrap_or(pace.shortest).clamp(pace.shortest, pace.longest_retry);
                tracing::debug!(host, "the name has no addresses");
                Known { fault: Some(NoAddress::NoSuchName), until_ms: after(ttl), ..Known::default() }
            }
            Err(ResolveError::Failed(error)) => {
                let failures = before.failures.saturating_add(1);
                let until_ms = after(backoff(pace, failures));
                if before.is_usable(now) {
                    tracing::warn!(host, error, "the name can't be looked up: its last good addresses stay");
                    let (addresses, stale_until_ms) = (before.addresses.clone(), before.stale_until_ms);
                    return Known { addresses, fault: None, until_ms, stale_until_ms, failures };
                }
                tracing::warn!(host, error, "the name can't be looked up");
                Known { fault: Some(NoAddress::NoAnswer), until_ms, failures, ..Known::default() }
            }
        }
    }
}

impl Known {
    /// Whether there are addresses that may be used beyond their time.
    fn is_usable(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && millis(now) < self.stale_until_ms
    }
}

impl Lookup {
    fn fresh(&self) -> Option<Arc<Known>> {
        let known = self.known.load();
        (known.until_ms > millis(Instant::now())).then(|| known.clone())
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
