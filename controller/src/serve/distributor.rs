//! The one place that knows what is distributed and who has what. Everything is behind one lock that is held for
//! moments: resources are encoded and sent outside of it.

use super::cache::PackCache;
use super::places::{is_gateway, workloads};
use super::store::{Digest, Dirty, Store};
use super::sync::{GatewaySync, Told};
use super::{ProxyIdentity, session::Sessions};
use parking_lot::Mutex;
use sluice_ir::{self as ir, Resource, ResourceKey};
use sluice_xds::{Packed, Refusal};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tonic::Status;

/// How long after the start a Gateway without data planes counts as not known. More than the longest pause of a data
/// plane between two tries.
const SETTLE_TIME: Duration = Duration::from_secs(15);

/// How long a data plane whose connection broke still counts, if it had what its Gateway needs.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(5);

/// What is distributed, and how the data planes stand. A clone is the same.
#[derive(Clone)]
pub struct Distributor(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    cache: Mutex<PackCache>,
    complete: watch::Sender<bool>,
    /// Ticks when a Gateway's standing changes in what statuses show.
    changes: watch::Sender<u64>,
    /// Ticks when anything that other replicas are told changes.
    told: watch::Sender<u64>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    accounts: HashMap<ir::GatewayKey, String>,
    /// Where Kubernetes nodes are, of those that say so.
    places: HashMap<String, ir::Locality>,
    peers: BTreeMap<String, Vec<Told>>,
    settling: bool,
    /// What statuses showed of each Gateway the last time.
    shown: HashMap<ir::GatewayKey, Shown>,
}

/// What statuses show of a Gateway's data planes.
#[derive(Clone, Default, PartialEq, Eq)]
struct Shown {
    connected: u32,
    programmed: bool,
    settling: bool,
    refusals: Vec<(String, String)>,
}

/// Why a data plane is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not one of this Gateway's.
    Foreign(String),
    /// It is not known yet who may have this Gateway's configuration.
    Unknown(ir::GatewayKey),
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Foreign(why) => Self::permission_denied(why),
            Refused::Unknown(gateway) => Self::unavailable(format!("Gateway {gateway} is not known yet")),
        }
    }
}

/// What a data plane gets next.
pub(super) struct Batch {
    /// New and changed, each with whether every Gateway sees the same.
    pub(super) upserts: Vec<(ResourceKey, Resource, bool)>,
    pub(super) removals: Vec<ResourceKey>,
    /// Destinations that were asked for, and the scopes that have them; `None`: nobody has it.
    pub(super) answers: Vec<(Box<str>, Option<ir::GatewayKey>)>,
    /// See [`Store::digest`].
    pub(super) digest: Digest,
}

impl Default for Distributor {
    fn default() -> Self {
        Self::new()
    }
}

impl Distributor {
    /// Nothing to distribute yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            inner: Mutex::default(),
            cache: Mutex::default(),
            complete: watch::Sender::new(false),
            changes: watch::Sender::new(0),
            told: watch::Sender::new(0),
        }))
    }

    /// Publishes what changed; each connected data plane gets what belongs to its Gateway. Never waits for one.
    pub fn publish(&self, delta: &ir::Delta) {
        if delta.is_empty() {
            return;
        }
        {
            let mut cache = self.0.cache.lock();
            delta.upserts.iter().for_each(|resource| cache.forget(&resource.key()));
            delta.removals.iter().for_each(|key| cache.forget(key));
        }
        let mut inner = self.0.inner.lock();
        let Inner { store, sessions, .. } = &mut *inner;
        let dirty = store.apply(delta);
        for (gateway, keys) in &dirty {
            sessions.mark(gateway, keys, store.scope_size(gateway));
        }
        let moved = store.take_moved();
        sessions.moved(&moved, store);
        self.note(&mut inner, dirty_gateways(&dirty));
    }

    /// After the first complete translation; until then connected data planes wait and serve what they have. Must be
    /// called within a tokio runtime.
    pub fn set_complete(&self) {
        if self.0.complete.send_replace(true) {
            return;
        }
        self.0.inner.lock().settling = true;
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SETTLE_TIME).await;
            let mut inner = this.0.inner.lock();
            inner.settling = false;
            this.note_all(&mut inner);
        });
    }

    /// Which ServiceAccount, in the Gateway's namespace, may have this Gateway's configuration; `None`: nobody.
    pub fn set_account(&self, gateway: &ir::GatewayKey, account: Option<String>) {
        let mut inner = self.0.inner.lock();
        match account {
            Some(account) => {
                let before = inner.accounts.insert(gateway.clone(), account.clone());
                if before.is_some_and(|before| before != account) {
                    inner.sessions.end(gateway);
                }
            }
            None => {
                inner.accounts.remove(gateway);
                inner.sessions.end(gateway);
            }
        }
    }

    /// Where a Kubernetes node is; `None`: nobody knows. Data planes there learn it with what they get next.
    pub fn place(&self, node: &str, place: Option<ir::Locality>) {
        let places = &mut self.0.inner.lock().places;
        match place {
            Some(place) => drop(places.insert(node.to_owned(), place)),
            None => drop(places.remove(node)),
        }
    }

    /// Where a Kubernetes node is, if it is known.
    pub(super) fn place_of(&self, node: &str) -> Option<ir::Locality> {
        self.0.inner.lock().places.get(node).cloned()
    }

    /// How the data planes of a Gateway stand, those of other replicas of the controller included.
    pub fn sync(&self, gateway: &ir::GatewayKey) -> GatewaySync {
        self.0.inner.lock().sync(gateway)
    }

    /// The same for every Gateway that is there or has data planes.
    pub fn all(&self) -> Vec<(ir::GatewayKey, GatewaySync)> {
        let inner = self.0.inner.lock();
        inner.gateways().into_iter().map(|gateway| (gateway.clone(), inner.sync(&gateway))).collect()
    }

    /// Whether every data plane of the Gateway answers the challenge, those of other replicas of the controller
    /// included: each has acknowledged exactly the challenges that are known here.
    ///
    /// # Errors
    /// Who or what is missing, in words.
    pub fn answers(&self, challenge: &ir::Challenge) -> Result<(), String> {
        self.0.inner.lock().answers(challenge)
    }

    /// Ticks when [`Distributor::answers`] may answer otherwise.
    pub fn acknowledgements(&self) -> watch::Receiver<u64> {
        self.0.told.subscribe()
    }

    /// Ticks whenever `connected`, `programmed`, `settling` or the refusals of some Gateway changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether the first complete translation is published.
    pub(super) fn complete(&self) -> watch::Receiver<bool> {
        self.0.complete.subscribe()
    }

    /// Ticks when [`Distributor::own`] may read differently.
    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.0.told.subscribe()
    }

    /// The data planes connected here.
    pub(super) fn own(&self) -> Vec<Told> {
        let inner = self.0.inner.lock();
        inner.sessions.told(|gateway| inner.store.digest(gateway))
    }

    /// What another replica tells of its data planes; `None`: it can't be reached.
    pub(super) fn set_peer(&self, replica: &str, told: Option<Vec<Told>>) {
        let mut inner = self.0.inner.lock();
        match told {
            Some(told) => drop(inner.peers.insert(replica.to_owned(), told)),
            None => drop(inner.peers.remove(replica)),
        }
        self.note_all(&mut inner);
    }

    /// Whether a data plane may have what belongs to the Gateway.
    pub(super) fn admit(&self, gateway: &ir::GatewayKey, identity: &ProxyIdentity) -> Result<(), Refused> {
        if let Some(namespace) = workloads(gateway) {
            let message = || format!("the token of namespace {} may not have {gateway}", identity.namespace);
            return if identity.namespace == namespace { Ok(()) } else { Err(Refused::Foreign(message())) };
        }
        let inner = self.0.inner.lock();
        let Some(account) = inner.accounts.get(gateway) else {
            return Err(Refused::Unknown(gateway.clone()));
        };
        let namespace = gateway.as_str().split('/').next().unwrap_or_default();
        if identity.namespace != namespace || identity.service_account != *account {
            return Err(Refused::Foreign(format!(
                "the service account {}/{} may not have the configuration of Gateway {gateway}",
                identity.namespace, identity.service_account
            )));
        }
        Ok(())
    }

    /// A data plane has come. It gets everything with its first batch.
    pub(super) fn open(
        &self,
        gateway: &ir::GatewayKey,
        name: &str,
        version: &str,
        replica: &str,
    ) -> (u64, Arc<Notify>) {
        let mut inner = self.0.inner.lock();
        let opened = inner.sessions.open(gateway, name, version, replica);
        self.note(&mut inner, [gateway.clone()]);
        opened
    }

    /// The data plane asks for destinations, or no longer does.
    ///
    /// # Errors
    /// When it asks for too many.
    pub(super) fn want(&self, session: u64, asked: &[String], left: &[String]) -> Result<(), &'static str> {
        let mut inner = self.0.inner.lock();
        let Inner { store, sessions, .. } = &mut *inner;
        sessions.want(session, (asked, left), store)
    }

    /// What the data plane gets next, if anything; what changes from now on is for the batch after. `Err`: it is too
    /// far behind or no longer welcome, and must come again.
    pub(super) fn take(&self, session: u64) -> Result<Option<Batch>, &'static str> {
        let mut inner = self.0.inner.lock();
        let Inner { store, sessions, .. } = &mut *inner;
        let Some(due) = sessions.take(session, store)? else { return Ok(None) };
        let (digest, answers) = (store.digest(&due.gateway), due.answers);
        let mut batch = Batch { upserts: Vec::new(), removals: Vec::new(), answers, digest };
        for key in due.keys {
            match store.view_of(&due.scopes, &key) {
                Some((resource, common)) => batch.upserts.push((key, resource, common)),
                None => batch.removals.push(key),
            }
        }
        Ok(Some(batch))
    }

    /// The data plane answered the whole batch that it got last, or says something new about it.
    pub(super) fn answered(&self, session: u64, digest: Option<Digest>, refusals: &[Refusal]) {
        let mut inner = self.0.inner.lock();
        let Inner { store, sessions, .. } = &mut *inner;
        if let Some(gateway) = sessions.answered(session, digest, refusals, |key| store.origin(key)) {
            self.note(&mut inner, [gateway]);
        }
    }

    /// The data plane's stream has ended; `broken`: without a word.
    pub(super) fn close(&self, session: u64, broken: bool) {
        let mut inner = self.0.inner.lock();
        let Inner { store, sessions, .. } = &mut *inner;
        let Some((gateway, lingers)) = sessions.close(session, broken, |gateway| store.digest(gateway))
        else {
            return;
        };
        self.note(&mut inner, [gateway.clone()]);
        if lingers {
            let this = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINGER_TIME).await;
                let mut inner = this.0.inner.lock();
                inner.sessions.forget(session);
                this.note(&mut inner, [gateway]);
            });
        }
    }

    /// The wire form of a resource, made once for all who need it now.
    pub(super) fn pack(
        &self,
        key: &ResourceKey,
        resource: &Resource,
        common: bool,
    ) -> Result<Packed, ir::wire::WireError> {
        if !common {
            return Packed::new(resource);
        }
        if let Some(packed) = self.0.cache.lock().get(key, resource) {
            return Ok(packed);
        }
        let packed = Packed::new(resource)?;
        self.0.cache.lock().put(key, resource, &packed);
        Ok(packed)
    }

    fn note_all(&self, inner: &mut Inner) {
        let gateways = inner.gateways();
        self.note(inner, gateways);
    }

    /// Ticks when what is shown of one of these Gateways changed.
    fn note(&self, inner: &mut Inner, gateways: impl IntoIterator<Item = ir::GatewayKey>) {
        let mut changed = false;
        for gateway in gateways.into_iter().filter(is_gateway) {
            let shown = inner.shown(&gateway);
            if shown == Shown::default() {
                changed |= inner.shown.remove(&gateway).is_some();
            } else if inner.shown.get(&gateway) != Some(&shown) {
                inner.shown.insert(gateway, shown);
                changed = true;
            }
        }
        if changed {
            self.0.changes.send_modify(|count| *count += 1);
        }
        self.0.told.send_modify(|count| *count += 1);
    }
}

impl Inner {
    fn gateways(&self) -> Vec<ir::GatewayKey> {
        let mut all: Vec<_> = self.store.gateways().cloned().collect();
        all.extend(self.sessions.gateways().cloned());
        all.extend(self.peers.values().flatten().map(Told::gateway));
        all.extend(self.shown.keys().cloned());
        all.sort();
        all.dedup();
        all
    }

    fn sync(&self, gateway: &ir::GatewayKey) -> GatewaySync {
        let digest = self.store.digest(gateway);
        let mut sync = GatewaySync { programmed: self.store.has_gateway(gateway), ..GatewaySync::default() };
        for told in self.told_of(gateway) {
            sync.connected += 1;
            sync.in_sync += u32::from(told.proxy.in_sync() && told.newest);
            let same_version = told.proxy.version == env!("CARGO_PKG_VERSION");
            // Another version may write the same resources with other bytes: then its replica's word is taken.
            sync.programmed &= told.newest && (told.acknowledged == Some(digest.structure) || !same_version);
            sync.proxies.push(told.proxy);
        }
        sync.programmed &= sync.connected > 0;
        sync.settling = self.settling && sync.connected == 0;
        sync.proxies.sort_by(|a, b| a.name.cmp(&b.name));
        sync
    }

    /// The data planes of a Gateway, wherever they are connected.
    fn told_of(&self, gateway: &ir::GatewayKey) -> Vec<Told> {
        let mut all = self.sessions.told_of(gateway, self.store.digest(gateway));
        let names: Vec<_> = all.iter().map(|told| told.proxy.name.clone()).collect();
        let peers = self.peers.values().flatten();
        // One that moved here a moment ago is still told by the replica that it left.
        let peers =
            peers.filter(|told| told.gateway == gateway.as_str() && !names.contains(&told.proxy.name));
        all.extend(peers.cloned());
        all
    }

    fn answers(&self, challenge: &ir::Challenge) -> Result<(), String> {
        let gateway = &challenge.gateway;
        if !self.store.has_challenge(challenge) {
            return Err("the challenge is on its way to the controller".to_owned());
        }
        let all = self.told_of(gateway);
        let newest = self.store.digest(gateway).challenges;
        let missing = all.iter().filter(|told| told.challenges != Some(newest)).count();
        match (all.len(), missing) {
            (0, _) => Err(format!("Gateway {gateway} has no data plane that is connected")),
            (_, 0) => Ok(()),
            (all, missing) => Err(format!(
                "{missing} of {all} data planes of Gateway {gateway} have not acknowledged the challenge"
            )),
        }
    }

    fn shown(&self, gateway: &ir::GatewayKey) -> Shown {
        let sync = self.sync(gateway);
        let refusals = sync.proxies.into_iter().flat_map(|proxy| proxy.refusals);
        Shown {
            connected: sync.connected,
            programmed: sync.programmed,
            settling: sync.settling,
            refusals: refusals.map(|refused| (refused.resource, refused.message)).collect(),
        }
    }
}

fn dirty_gateways(dirty: &Dirty) -> Vec<ir::GatewayKey> {
    dirty.keys().cloned().collect()
}
