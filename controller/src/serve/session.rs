//! The streams of data planes as the distributor sees them: what each still has to get, and what it said.
//!
//! Only keys wait for a slow data plane, each once, and the newest of each is sent: a stream holds no resource. One
//! that falls behind by more keys than its Gateway has is ended and comes again.

use super::limits;
use super::places::{covers, is_gateway, is_wide, workloads};
use super::store::{Digest, Store, is_structural};
use super::sync::{ProxySync, RefusedResource, Told};
use sluice_ir::{self as ir, ResourceKey};
use sluice_xds::{LONGEST_DESTINATION, Refusal};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Removals that may wait beyond the size of the scope.
const SPARE_KEYS: usize = 10_000;

/// Refusals of one data plane that are kept.
const MOST_REFUSALS: usize = 100;

/// All streams.
#[derive(Default)]
pub(super) struct Sessions {
    last: u64,
    all: HashMap<u64, Session>,
    by_gateway: HashMap<ir::GatewayKey, BTreeSet<u64>>,
    /// Streams by every scope that they have, destinations among them.
    by_scope: HashMap<ir::GatewayKey, BTreeSet<u64>>,
    /// Streams by the destinations that they asked for.
    by_name: HashMap<Box<str>, BTreeSet<u64>>,
}

/// One stream.
struct Session {
    gateway: ir::GatewayKey,
    /// Destinations that it asked for, and the scopes that have them.
    wanted: BTreeMap<Box<str>, Option<ir::GatewayKey>>,
    /// For how many names it has each scope; its own is not among them.
    scopes: BTreeMap<ir::GatewayKey, u32>,
    /// Destinations whose answer is still to be sent.
    unanswered: BTreeSet<Box<str>>,
    pending: Pending,
    /// Resources of the batch that is on its way.
    outstanding: u32,
    /// Digest of what was acknowledged.
    acknowledged: Option<u64>,
    /// The same of challenges.
    challenges: Option<u64>,
    /// Its connection broke a moment ago.
    lingers: bool,
    notify: Arc<Notify>,
    proxy: ProxySync,
}

enum Pending {
    /// The first batch.
    Everything,
    Keys(HashSet<ResourceKey>),
    /// The stream must end.
    End(&'static str),
}

impl Pending {
    fn len(&self) -> usize {
        match self {
            Self::Everything | Self::End(_) => 1,
            Self::Keys(keys) => keys.len(),
        }
    }
}

impl Sessions {
    /// A new stream. One of the same name before it ends: the data plane has come again.
    pub(super) fn open(
        &mut self,
        gateway: &ir::GatewayKey,
        name: &str,
        version: &str,
        replica: &str,
    ) -> (u64, Arc<Notify>) {
        let same = |session: &Session| session.proxy.name == name;
        let before: Vec<_> =
            self.of(gateway).filter(|(_, session)| same(session)).map(|(id, _)| id).collect();
        let (mut acknowledged, mut challenges) = (None, None);
        for id in before {
            if let Some(session) = self.remove(id) {
                // What it had then it still has: a stream that follows another is no reason to doubt the Gateway.
                acknowledged = session.acknowledged;
                challenges = session.challenges;
                session.notify.notify_one();
            }
        }
        self.last += 1;
        let notify = Arc::new(Notify::new());
        let proxy = ProxySync {
            name: name.to_owned(),
            version: version.to_owned(),
            replica: replica.to_owned(),
            since_s: now_s(),
            behind: 1,
            behind_since_s: Some(now_s()),
            refusals: Vec::new(),
        };
        let session = Session {
            gateway: gateway.clone(),
            wanted: BTreeMap::new(),
            scopes: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            pending: Pending::Everything,
            outstanding: 0,
            acknowledged,
            challenges,
            lingers: false,
            notify: notify.clone(),
            proxy,
        };
        self.all.insert(self.last, session);
        self.by_gateway.entry(gateway.clone()).or_default().insert(self.last);
        self.by_scope.entry(gateway.clone()).or_default().insert(self.last);
        (self.last, notify)
    }

    /// A stream asks for destinations, or no longer does.
    ///
    /// # Errors
    /// When it asks for too many.
    pub(super) fn want(
        &mut self,
        id: u64,
        (asked, left): (&[String], &[String]),
        store: &Store,
    ) -> Result<(), &'static str> {
        let Some(client) = self.all.get(&id).and_then(|it| workloads(&it.gateway)).map(str::to_owned) else {
            return Ok(());
        };
        for name in left {
            self.settle(id, name, Answer::Left, store);
            if let Some(session) = self.all.get_mut(&id) {
                session.wanted.remove(name.as_str());
                session.unanswered.remove(name.as_str());
            }
            leave(&mut self.by_name, name.as_str(), id);
        }
        for name in asked.iter().filter(|it| it.len() <= LONGEST_DESTINATION) {
            let session = self.all.get_mut(&id).ok_or("the data plane has come again")?;
            if session.wanted.len() >= limits::DESTINATIONS && !session.wanted.contains_key(name.as_str()) {
                return Err("too many destinations are asked for");
            }
            session.wanted.entry(name.as_str().into()).or_default();
            session.unanswered.insert(name.as_str().into());
            self.by_name.entry(name.as_str().into()).or_default().insert(id);
            self.settle(id, name, Answer::Now(store.find(name, &client)), store);
        }
        if let Some(session) = self.all.get_mut(&id) {
            session.count();
            session.notify.notify_one();
        }
        Ok(())
    }

    /// Destinations may be found elsewhere: whoever asked for one is told.
    pub(super) fn moved(&mut self, names: &BTreeSet<Box<str>>, store: &Store) {
        let mut concerned: Vec<(u64, Box<str>)> = Vec::new();
        for moved in names {
            let whole: Vec<&Box<str>> = match is_wide(moved) {
                true => self.by_name.keys().filter(|name| covers(moved, name)).collect(),
                false => self.by_name.get_key_value(moved).map(|it| it.0).into_iter().collect(),
            };
            for name in whole {
                let ids = self.by_name.get(name).into_iter().flatten();
                concerned.extend(ids.map(|id| (*id, name.clone())));
            }
        }
        for (id, name) in concerned {
            let client = self.all.get(&id).and_then(|it| workloads(&it.gateway)).unwrap_or_default();
            let now = store.find(&name, client);
            if self.all.get(&id).and_then(|it| it.wanted.get(&name)) == Some(&now) {
                continue;
            }
            if let Some(session) = self.all.get_mut(&id) {
                session.unanswered.insert(name.clone());
            }
            self.settle(id, &name, Answer::Now(now), store);
            if let Some(session) = self.all.get_mut(&id) {
                session.count();
                session.notify.notify_one();
            }
        }
    }

    /// Notes what a destination is found in now: a scope that comes or goes by it has all its keys looked at.
    fn settle(&mut self, id: u64, name: &str, answer: Answer, store: &Store) {
        let Some(session) = self.all.get_mut(&id) else { return };
        let Some(wanted) = session.wanted.get_mut(name) else { return };
        let now = match answer {
            Answer::Now(now) => now,
            Answer::Left => None,
        };
        let before = std::mem::replace(wanted, now.clone());
        if before == now {
            return;
        }
        if let Some(now) = now {
            let count = session.scopes.entry(now.clone()).or_default();
            *count += 1;
            if *count == 1 {
                session.look_at(store.scope(&now));
                self.by_scope.entry(now).or_default().insert(id);
            }
        }
        let Some(before) = before else { return };
        let Some(count) = session.scopes.get_mut(&before) else { return };
        *count -= 1;
        if *count == 0 {
            session.scopes.remove(&before);
            session.look_at(store.scope(&before));
            leave(&mut self.by_scope, &before, id);
        }
    }

    /// What changed for a Gateway; `scope` is how many keys it holds.
    pub(super) fn mark(&mut self, gateway: &ir::GatewayKey, keys: &BTreeSet<ResourceKey>, scope: usize) {
        for id in self.by_scope.get(gateway).into_iter().flatten() {
            let Some(session) = self.all.get_mut(id) else { continue };
            if let Pending::Keys(pending) = &mut session.pending {
                pending.extend(keys.iter().cloned());
                if pending.len() > scope + SPARE_KEYS {
                    session.pending = Pending::End("too far behind");
                }
            }
            session.count();
            session.notify.notify_one();
        }
    }

    /// Ends every stream of a Gateway: who may have it has changed.
    pub(super) fn end(&mut self, gateway: &ir::GatewayKey) {
        for id in self.by_gateway.get(gateway).into_iter().flatten() {
            if let Some(session) = self.all.get_mut(id) {
                session.pending = Pending::End("the service account of the Gateway has changed");
                session.notify.notify_one();
            }
        }
    }

    /// What the next batch is about; `None`: nothing to send.
    pub(super) fn take(&mut self, session: u64, store: &Store) -> Result<Option<Due>, &'static str> {
        let session = self.all.get_mut(&session).ok_or("the data plane has come again")?;
        let mut scopes: Vec<ir::GatewayKey> = session.scopes.keys().cloned().collect();
        scopes.push(session.gateway.clone());
        scopes.sort_unstable();
        let keys = match std::mem::replace(&mut session.pending, Pending::Keys(HashSet::new())) {
            Pending::Everything => scopes.iter().flat_map(|it| store.scope(it)).cloned().collect(),
            Pending::Keys(keys) if keys.is_empty() && session.unanswered.is_empty() => return Ok(None),
            Pending::Keys(keys) => keys,
            Pending::End(why) => {
                session.pending = Pending::End(why);
                return Err(why);
            }
        };
        let unanswered = std::mem::take(&mut session.unanswered);
        session.outstanding = u32::try_from(keys.len() + unanswered.len()).unwrap_or(u32::MAX);
        let answers = unanswered.into_iter().map(|name| {
            let scope = session.wanted.get(&name).cloned().flatten();
            (name, scope)
        });
        let answers = answers.collect();
        session.count();
        Ok(Some(Due { gateway: session.gateway.clone(), scopes, keys, answers }))
    }

    /// The whole batch is answered, or its data plane says something new; returns the Gateway.
    pub(super) fn answered(
        &mut self,
        session: u64,
        digest: Option<Digest>,
        refusals: &[Refusal],
        origin: impl Fn(&ResourceKey) -> Option<String>,
    ) -> Option<ir::GatewayKey> {
        let session = self.all.get_mut(&session)?;
        let keys: Vec<_> =
            refusals.iter().take(MOST_REFUSALS).filter_map(|it| Some((it.key()?, it))).collect();
        let refused = |(key, refusal): &(ResourceKey, &Refusal)| RefusedResource {
            resource: key.to_string(),
            origin: origin(key),
            message: refusal.message.clone(),
        };
        let now: Vec<_> = keys.iter().map(refused).collect();
        for new in now.iter().filter(|refused| !session.proxy.refusals.contains(refused)) {
            tracing::warn!(
                gateway = %session.gateway, proxy = session.proxy.name, resource = new.resource, origin = new.origin,
                reason = new.message, "a data plane refuses a resource"
            );
        }
        session.proxy.refusals = now;
        let refuses = |is: fn(&ResourceKey) -> bool| keys.iter().any(|(key, _)| is(key));
        let structure = digest.filter(|_| !refuses(is_structural));
        session.acknowledged = structure.map(|it| it.structure);
        let challenges = digest.filter(|_| !refuses(|key| matches!(key, ResourceKey::Challenge(_))));
        session.challenges = challenges.map(|it| it.challenges);
        session.outstanding = 0;
        session.count();
        Some(session.gateway.clone())
    }

    /// A stream has ended. Returns its Gateway and whether the data plane still counts for a while.
    pub(super) fn close(
        &mut self,
        id: u64,
        broken: bool,
        digest: impl FnOnce(&ir::GatewayKey) -> Digest,
    ) -> Option<(ir::GatewayKey, bool)> {
        let session = self.all.get_mut(&id)?;
        let gateway = session.gateway.clone();
        let lingers = broken && session.acknowledged == Some(digest(&gateway).structure);
        if lingers {
            session.lingers = true;
        } else {
            self.remove(id);
        }
        Some((gateway, lingers))
    }

    /// Its time is over.
    pub(super) fn forget(&mut self, id: u64) {
        self.remove(id);
    }

    /// Gateways that have streams.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &ir::GatewayKey> {
        self.by_gateway.keys()
    }

    /// How the streams of one Gateway stand, against the newest digest.
    pub(super) fn told_of(&self, gateway: &ir::GatewayKey, digest: Digest) -> Vec<Told> {
        self.of(gateway).filter_map(|(_, session)| session.told(digest)).collect()
    }

    /// How all streams stand, of Gateways alone: sidecars are many, and nobody waits for them.
    pub(super) fn told(&self, digest: impl Fn(&ir::GatewayKey) -> Digest) -> Vec<Told> {
        let of_gateways = self.all.values().filter(|it| is_gateway(&it.gateway));
        of_gateways.filter_map(|session| session.told(digest(&session.gateway))).collect()
    }

    fn of(&self, gateway: &ir::GatewayKey) -> impl Iterator<Item = (u64, &Session)> {
        let ids = self.by_gateway.get(gateway).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.all.get(id)?)))
    }

    fn remove(&mut self, id: u64) -> Option<Session> {
        let session = self.all.remove(&id)?;
        leave(&mut self.by_gateway, &session.gateway, id);
        for scope in session.scopes.keys().chain([&session.gateway]) {
            leave(&mut self.by_scope, scope, id);
        }
        for name in session.wanted.keys() {
            leave(&mut self.by_name, name, id);
        }
        Some(session)
    }
}

fn leave<K: Eq + Hash + Borrow<Q>, Q: Eq + Hash + ?Sized>(
    index: &mut HashMap<K, BTreeSet<u64>>,
    key: &Q,
    id: u64,
) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

/// What a destination is found in.
enum Answer {
    Now(Option<ir::GatewayKey>),
    /// It is not asked for any more.
    Left,
}

/// What a batch is about.
pub(super) struct Due {
    pub(super) gateway: ir::GatewayKey,
    /// Everything that the stream has, sorted.
    pub(super) scopes: Vec<ir::GatewayKey>,
    pub(super) keys: HashSet<ResourceKey>,
    /// Destinations and their scopes; `None`: nobody has it.
    pub(super) answers: Vec<(Box<str>, Option<ir::GatewayKey>)>,
}

impl Session {
    /// These keys may look different to it now.
    fn look_at<'a>(&mut self, keys: impl Iterator<Item = &'a ResourceKey>) {
        if let Pending::Keys(pending) = &mut self.pending {
            pending.extend(keys.cloned());
        }
    }

    /// Brings the counts that people see up to date.
    fn count(&mut self) {
        let pending = u32::try_from(self.pending.len() + self.unanswered.len()).unwrap_or(u32::MAX);
        self.proxy.behind = self.outstanding.saturating_add(pending);
        self.proxy.behind_since_s = match self.proxy.behind {
            0 => None,
            _ => self.proxy.behind_since_s.or_else(|| Some(now_s())),
        };
    }

    /// `None`: it has gone, and what it had is no longer the newest.
    fn told(&self, digest: Digest) -> Option<Told> {
        let newest = self.acknowledged == Some(digest.structure);
        (newest || !self.lingers).then(|| Told {
            gateway: self.gateway.to_string(),
            acknowledged: self.acknowledged,
            newest,
            challenges: self.challenges,
            proxy: self.proxy.clone(),
        })
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
