//! The endpoints of one port, and the choice among them.
//!
//! In: the members of an endpoint set with names already resolved. Out: a [`Picked`] endpoint for each try. The list
//! is swapped whole behind an `ArcSwap`, so a pick takes no lock and allocates nothing; endpoints that stay keep
//! their load and health. The pool neither connects nor probes: health comes from what callers report, and from health
//! checks, which set a bit on each endpoint.

mod checks;
mod group;
mod shown;

pub use checks::ChecksSnapshot;
pub use shown::{EndpointSnapshot, PoolSnapshot};

pub(super) use group::{Group, Place};

use super::asked::Asked;
use super::endpoint::{Endpoint, Picked, millis};
use super::health::Check;
use super::outlier;
use super::session::SessionId;
use super::tier::{Arrangement, Tier};
use super::warmup::Warming;
use ahash::AHashMap;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use sluice_ir::{
    Balancing, Ejection, EndpointSetKey, EndpointState, HashTable, Locality, LocalityPolicy, Topology,
    Warmup, Workload,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// An endpoint as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    pub(super) state: EndpointState,
    pub(super) weight: u32,
    pub(super) topology: Option<Arc<Topology>>,
    pub(super) workload: Option<Arc<Workload>>,
}

/// The endpoints of one port with their load and health.
#[derive(Debug)]
pub struct EndpointPool {
    key: EndpointSetKey,
    me: Weak<Self>,
    list: ArcSwap<List>,
    /// Endpoints that only clients name, beside those of the list.
    asked: ArcSwapOption<Asked>,
    /// When the last rest of any endpoint ends; 0 while nobody rests, so that picking needs no clock.
    rests_until_ms: AtomicU64,
    /// Rests since the start.
    ejections: AtomicU64,
    /// How endpoints are asked whether they are well; `None`: they are not.
    check: ArcSwapOption<Check>,
    /// Whether checks take any endpoint out, so that picking looks at none otherwise.
    some_out: AtomicBool,
    checks_passed: AtomicU64,
    checks_failed: AtomicU64,
    /// When the newest endpoint came; 0 while nobody has asked for warm-up.
    newest_ms: AtomicU64,
    /// Held by whoever changes the list or sends an endpoint to rest; what the list is arranged by.
    changing: Mutex<Arrangement>,
}

/// How an endpoint is chosen for a backend.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Among those that may be used.
    pub how: Balancing,
    /// Which may be.
    pub rule: Option<&'a Ejection>,
    /// Hash of the request's key; the table of the pool says where it belongs.
    pub key: Option<u64>,
    /// Whether new endpoints get less at first.
    pub warmup: Option<&'a Warmup>,
}

impl Choice<'_> {
    /// Among all, in that way.
    pub fn plain(how: Balancing) -> Self {
        Self { how, rule: None, key: None, warmup: None }
    }
}

#[derive(Debug, Default)]
struct List {
    ready: Tier,
    draining: Tier,
    by_session: AHashMap<SessionId, Arc<Endpoint>>,
}

impl EndpointPool {
    pub(super) fn new(key: EndpointSetKey) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            key,
            me: me.clone(),
            list: ArcSwap::default(),
            asked: ArcSwapOption::default(),
            rests_until_ms: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            check: ArcSwapOption::empty(),
            some_out: AtomicBool::new(false),
            checks_passed: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            newest_ms: AtomicU64::new(0),
            changing: Mutex::default(),
        })
    }

    /// An endpoint for one try; `None` when there is none at all.
    ///
    /// `sticky` wins while its endpoint is there, healthy and not among `tried`. Otherwise `how` decides among the
    /// ready endpoints, or among the draining ones when none is ready: those that neither rest nor were tried, else
    /// those that were not tried, else all. Where places come in an order, each of these is looked for in the level that
    /// health says, then in the others. What health checks take out is not used at all, unless too few are healthy.
    pub fn pick(&self, how: Balancing, tried: &[SocketAddr], sticky: Option<&SessionId>) -> Option<Picked> {
        self.pick_at(Choice::plain(how), tried, sticky, Instant::now)
    }

    /// The same for a backend whose rule may have a detection of its own: what that leaves out is not used at all,
    /// unless too few endpoints are healthy.
    pub fn pick_by(
        &self,
        choice: Choice<'_>,
        tried: &[SocketAddr],
        sticky: Option<&SessionId>,
    ) -> Option<Picked> {
        self.pick_at(choice, tried, sticky, Instant::now)
    }

    fn pick_at(
        &self,
        choice: Choice<'_>,
        tried: &[SocketAddr],
        sticky: Option<&SessionId>,
        clock: impl FnOnce() -> Instant,
    ) -> Option<Picked> {
        let how = choice.how;
        let list = self.list.load();
        let warming = choice.warmup.and_then(|it| self.warming(it));
        let now_ms = self.now_if_any_rests(clock);
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.address);
        let check = self.check_if_any_is_out();
        let is_in = |endpoint: &Endpoint| check.is_none() || !endpoint.is_out();
        let healthy =
            |endpoint: &Endpoint| is_in(endpoint) && now_ms.is_none_or(|now_ms| !endpoint.rests_at(now_ms));
        let session = sticky.and_then(|session| list.by_session.get(session));
        if let Some(endpoint) = session.filter(|endpoint| untried(endpoint) && healthy(endpoint)) {
            return Some(Picked::new(endpoint.clone()));
        }
        let tier = if list.ready.is_empty() { &list.draining } else { &list.ready };
        let looks = now_ms.is_some() || check.is_some();
        let looked_at: Option<&dyn Fn(&Endpoint) -> bool> = if looks { Some(&healthy) } else { None };
        let start = tier.start(looked_at, choice.rule, choice.key);
        let any = |fits: &dyn Fn(&Endpoint) -> bool| tier.find(start.level, |group| group.choose(how, fits));
        let fits = |endpoint: &Endpoint| untried(endpoint) && healthy(endpoint);
        let warm = |endpoint: &Endpoint| warming.is_none_or(|it| it.takes(endpoint.came_ms()));
        let best = || {
            tier.find(start.level, |group| {
                let belongs = choice.key.and_then(|key| group.by_hash(key, fits));
                let warmed =
                    || warming.and_then(|_| group.choose(how, |endpoint| fits(endpoint) && warm(endpoint)));
                belongs.or_else(warmed).or_else(|| group.choose(how, fits))
            })
        };
        let all = || any(&untried).or_else(|| any(&|_| true));
        let rule = choice.rule.filter(|_| looked_at.is_some());
        let place = match (rule, check.as_ref()) {
            (_, Some(check)) if check.uses_all(tier.all.count(&is_in), tier.all.places.len()) => all()?,
            (Some(_), _) if start.uses_all => all()?,
            (Some(_), _) => best().or_else(|| any(&healthy))?,
            // The Gateway's own detection gives way, the checks do not.
            (None, Some(_)) => best()
                .or_else(|| any(&|endpoint| is_in(endpoint) && untried(endpoint)))
                .or_else(|| any(&is_in))?,
            (None, None) => best().or_else(all)?,
        };
        Some(Picked::new(place.endpoint.clone()))
    }

    /// Whether the session's endpoint is here, so that a rule with several backends finds the right one.
    pub fn holds(&self, session: &SessionId) -> bool {
        self.list.load().by_session.contains_key(session)
    }

    /// Endpoints, draining ones included.
    pub fn len(&self) -> usize {
        let list = self.list.load();
        list.ready.all.places.len() + list.draining.all.places.len()
    }

    /// Whether there is no endpoint at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Endpoints that take new requests; resting ones included.
    pub fn ready(&self) -> usize {
        self.list.load().ready.all.places.len()
    }

    /// Whether it is known where any endpoint is.
    pub fn knows_places(&self) -> bool {
        let list = self.list.load();
        list.ready.knows_places() || list.draining.knows_places()
    }

    /// Which endpoints these are.
    pub fn key(&self) -> &EndpointSetKey {
        &self.key
    }

    /// How often an endpoint was sent to rest since the start.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Endpoints that only clients name; `None` for most. Costs one load.
    pub fn asked(&self) -> Option<Arc<Asked>> {
        self.asked.load_full()
    }

    /// Sets them. What is known of names stays while they are the same hosts.
    pub(super) fn set_asked(&self, asked: Option<Arc<Asked>>) {
        let old = self.asked.load();
        match (&*old, &asked) {
            (None, None) => {}
            (Some(old), Some(new)) if old.is_like(new) => {}
            _ => {
                if let Some(asked) = &asked {
                    asked.arrange(&self.changing.lock());
                }
                self.asked.store(asked);
            }
        }
    }

    /// Sets how hashes find endpoints (`None`: they don't) and which places come first (`None`: all are alike). Builds
    /// what that needs when it changed.
    pub fn arrange(&self, table: Option<&HashTable>, locality: Option<&LocalityPolicy>) {
        self.rearrange(|now| Arrangement {
            table: table.cloned(),
            locality: locality.cloned(),
            own: now.own.clone(),
        });
    }

    /// Sets where this data plane runs; `None`: it does not know, and all places are alike.
    pub(super) fn set_own_locality(&self, own: Option<Arc<Locality>>) {
        self.rearrange(|now| Arrangement { own, ..now.clone() });
    }

    /// Arranges it like another one.
    pub(super) fn arrange_as(&self, by: &Arrangement) {
        self.rearrange(|_| by.clone());
    }

    fn rearrange(&self, change: impl FnOnce(&Arrangement) -> Arrangement) {
        let mut changing = self.changing.lock();
        let wanted = change(&changing);
        if *changing == wanted {
            return;
        }
        let old = self.list.load();
        let again =
            |tier: &Tier| Tier::build(tier.all.places.iter().map(Place::again).collect(), &wanted, tier);
        let by_session = old.by_session.clone();
        self.list.store(Arc::new(List {
            ready: again(&old.ready),
            draining: again(&old.draining),
            by_session,
        }));
        if let Some(asked) = &*self.asked.load() {
            asked.arrange(&wanted);
        }
        *changing = wanted;
    }

    /// Replaces the members. Endpoints that stay keep their state, whatever else changes.
    pub(super) fn update(&self, members: &[Member]) {
        let changing = self.changing.lock();
        let old = self.list.load();
        let check = self.check.load_full();
        let (mut ready, mut draining) = (Vec::new(), Vec::new());
        let mut by_session = AHashMap::with_capacity(members.len());
        for member in members {
            let session = SessionId::of(&self.key, member.address);
            // Another workload at the same address is another endpoint.
            let known = old.by_session.get(&session).filter(|it| it.workload() == member.workload.as_ref());
            let endpoint = known.cloned().unwrap_or_else(|| {
                let endpoint = Endpoint::new(member.address, session, self.me.clone());
                let endpoint = Arc::new(endpoint.of(member.workload.clone()));
                endpoint.ask(check.as_ref());
                endpoint
            });
            if by_session.insert(session, endpoint.clone()).is_none() {
                let places = match member.state {
                    EndpointState::Ready => &mut ready,
                    EndpointState::Draining => &mut draining,
                };
                let (weight, topology) = (member.weight.max(1), member.topology.clone());
                places.push(Place { endpoint, weight, topology });
            }
        }
        let newest = ready.iter().map(|place| place.endpoint.came_ms()).max();
        self.newest_ms.store(newest.unwrap_or(0), Ordering::Relaxed);
        for (session, endpoint) in &old.by_session {
            if !by_session.get(session).is_some_and(|it| Arc::ptr_eq(it, endpoint)) {
                // Requests may hold it for long; nobody asks it any more.
                endpoint.ask(None);
            }
        }
        let list = List {
            ready: Tier::build(ready, &changing, &old.ready),
            draining: Tier::build(draining, &changing, &old.draining),
            by_session,
        };
        self.look(&list);
        self.list.store(Arc::new(list));
    }

    /// The warm-up at this moment; `None` when every endpoint is through.
    fn warming(&self, warmup: &Warmup) -> Option<Warming> {
        let now_ms = millis(Instant::now());
        let warming = Warming::new(warmup, now_ms);
        warming.is_young(self.newest_ms.load(Ordering::Relaxed)).then_some(warming)
    }

    /// Lets an endpoint rest, unless half of its group would rest then: the last ones standing must not be taken out
    /// by failures that all of them share.
    pub(super) fn send_to_rest(&self, endpoint: &Arc<Endpoint>, now: Instant, base: Duration) {
        let _changing = self.changing.lock();
        endpoint.forget_failures();
        let (list, now_ms) = (self.list.load(), millis(now));
        let Some(group) = [&list.ready.all, &list.draining.all].into_iter().find(|group| group.has(endpoint))
        else {
            return;
        };
        let resting = group.places.iter().filter(|place| place.endpoint.rests_at(now_ms)).count();
        if endpoint.rests_at(now_ms) || (resting + 1) * 2 > group.places.len() {
            return;
        }
        let end_ms = endpoint.rest(now_ms, base);
        self.rests_until_ms.fetch_max(end_ms, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        let (set, address, rest_ms) = (&self.key, endpoint.address, end_ms - now_ms);
        tracing::warn!(%set, %address, rest_ms, "endpoint rests after consecutive failures");
    }

    /// Leaves an endpoint out by a rule, unless as many as may be are.
    pub(super) fn eject(&self, endpoint: &Arc<Endpoint>, now: Instant, rule: &Ejection) {
        let _changing = self.changing.lock();
        endpoint.forget_failures();
        let (list, now_ms) = (self.list.load(), millis(now));
        let Some(group) = [&list.ready.all, &list.draining.all].into_iter().find(|group| group.has(endpoint))
        else {
            return;
        };
        let (all, healthy) = (group.places.len(), group.healthy(now_ms));
        if endpoint.rests_at(now_ms) || !outlier::may_eject(rule, all - healthy, all) {
            return;
        }
        let end_ms = endpoint.rest_by(rule, now_ms);
        self.rests_until_ms.fetch_max(end_ms, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        let (set, address, rest_ms) = (&self.key, endpoint.address, end_ms - now_ms);
        tracing::warn!(%set, %address, rest_ms, "endpoint is left out by its DestinationRule");
    }

    fn now_if_any_rests(&self, clock: impl FnOnce() -> Instant) -> Option<u64> {
        let until_ms = self.rests_until_ms.load(Ordering::Relaxed);
        if until_ms == 0 {
            return None;
        }
        let now_ms = millis(clock());
        if now_ms >= until_ms {
            // The last rest is over. Lost when another rest began meanwhile, which is right.
            let _ = self.rests_until_ms.compare_exchange(until_ms, 0, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        }
        Some(now_ms)
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
