//! The streams of data planes as the distributor sees them: what each still has to get, and what it said.
//!
//! Only keys wait for a slow data plane, each once, and the newest of each is sent: a stream holds no resource. One
//! that falls behind by more keys than its Gateway has is ended and comes again.

use super::store::{Digest, is_structural};
use super::sync::{ProxySync, RefusedResource, Told};
use sluice_ir::{self as ir, ResourceKey};
use sluice_xds::Refusal;
use std::collections::{BTreeSet, HashMap, HashSet};
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
}

/// One stream.
struct Session {
    gateway: ir::GatewayKey,
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
        (self.last, notify)
    }

    /// What changed for a Gateway; `scope` is how many keys it holds.
    pub(super) fn mark(&mut self, gateway: &ir::GatewayKey, keys: &BTreeSet<ResourceKey>, scope: usize) {
        for id in self.by_gateway.get(gateway).into_iter().flatten() {
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

    /// Keys of the next batch with their Gateway; `None`: nothing to send.
    pub(super) fn take(
        &mut self,
        session: u64,
        everything: impl FnOnce(&ir::GatewayKey) -> HashSet<ResourceKey>,
    ) -> Result<Option<(ir::GatewayKey, HashSet<ResourceKey>)>, &'static str> {
        let session = self.all.get_mut(&session).ok_or("the data plane has come again")?;
        let keys = match std::mem::replace(&mut session.pending, Pending::Keys(HashSet::new())) {
            Pending::Everything => everything(&session.gateway),
            Pending::Keys(keys) if keys.is_empty() => return Ok(None),
            Pending::Keys(keys) => keys,
            Pending::End(why) => {
                session.pending = Pending::End(why);
                return Err(why);
            }
        };
        session.outstanding = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        session.count();
        Ok(Some((session.gateway.clone(), keys)))
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

    /// How all streams stand.
    pub(super) fn told(&self, digest: impl Fn(&ir::GatewayKey) -> Digest) -> Vec<Told> {
        self.all.values().filter_map(|session| session.told(digest(&session.gateway))).collect()
    }

    fn of(&self, gateway: &ir::GatewayKey) -> impl Iterator<Item = (u64, &Session)> {
        let ids = self.by_gateway.get(gateway).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.all.get(id)?)))
    }

    fn remove(&mut self, id: u64) -> Option<Session> {
        let session = self.all.remove(&id)?;
        if let Some(ids) = self.by_gateway.get_mut(&session.gateway) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_gateway.remove(&session.gateway);
            }
        }
        Some(session)
    }
}

impl Session {
    /// Brings the counts that people see up to date.
    fn count(&mut self) {
        let pending = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
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
