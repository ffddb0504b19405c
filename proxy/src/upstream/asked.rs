//! Endpoints that only clients name: hosts of a wildcard, and addresses within networks (ServiceEntry).
//!
//! In: what a client said. Out: an [`AskedName`] with endpoints of its own, or the reason to refuse. What does not match
//! is never looked up. Names are kept by how lately they were used, at most [`NAMES`] of a set; those that lead nowhere go
//! first, so that a stream of invented names pushes out no good one. A name that is known costs a look into a table and
//! takes no lock.

use super::endpoint::millis;
use super::lookup::{Known, Lookup, Lookups, NoAddress};
use super::pool::{EndpointPool, Member};
use super::public::Guard;
use super::tier::Arrangement;
use super::tls::TlsClient;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sluice_ir::{
    AskedHosts, Endpoint, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState, Origin, Workload,
};
use sluice_route::host::host_of;
use sluice_route::{Keyed, Trie};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// Names that are kept for a set.
pub(crate) const NAMES: usize = 1024;

/// Why nothing can be reached by what a client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody lets it be reached.
    NotNamed,
    /// All its addresses lead inside, and it is a name of the internet.
    Inside,
    /// It has no address, or nobody says which.
    NoAddress(NoAddress),
}

/// The part of an endpoint set that clients name.
#[derive(Debug)]
pub struct Asked {
    key: EndpointSetKey,
    origin: Origin,
    hosts: AskedHosts,
    is_external: bool,
    takes_first: bool,
    /// Who is at addresses that are known beforehand.
    workloads: BTreeMap<SocketAddr, Arc<Workload>>,
    lookups: Arc<Lookups>,
    names: ArcSwap<Trie<Kept>>,
    /// Held by who adds a name or arranges them anew; what their pools are arranged by.
    changing: Mutex<Arrangement>,
}

#[derive(Clone, Debug)]
struct Kept(Arc<AskedName>);

impl Keyed for Kept {
    fn key(&self) -> &str {
        &self.0.key
    }
}

/// What a client named.
#[derive(Debug)]
pub struct AskedName {
    /// What was said.
    key: Arc<str>,
    host: Arc<str>,
    port: u16,
    pool: Arc<EndpointPool>,
    way: Way,
    /// When it was last asked for, on the clock of [`millis`].
    used_ms: AtomicU64,
    /// TLS clients for this very name, each with the one that it was made of.
    clients: Mutex<Vec<(Weak<TlsClient>, Arc<TlsClient>)>>,
}

#[derive(Debug)]
enum Way {
    /// An address.
    Straight,
    /// A name, and the answer that the pool was filled from.
    Lookup { lookup: Arc<Lookup>, filled: Mutex<Option<(Arc<Known>, Option<Unreachable>)>> },
}

impl Asked {
    /// `None` for a set whose endpoints are all known.
    pub(super) fn of(set: &EndpointSet, lookups: &Arc<Lookups>) -> Option<Arc<Self>> {
        let hosts = set.asked.as_deref()?.clone();
        Some(Arc::new(Self {
            key: set.key.clone(),
            origin: set.origin.clone(),
            hosts,
            is_external: set.is_external,
            takes_first: set.takes_first,
            workloads: set.endpoints.iter().filter_map(workload).collect(),
            lookups: lookups.clone(),
            names: ArcSwap::default(),
            changing: Mutex::default(),
        }))
    }

    /// Whether both say the same, so that the names of one may stay.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.hosts == other.hosts
            && self.is_external == other.is_external
            && self.takes_first == other.takes_first
            && self.workloads == other.workloads
    }

    /// Whether the port is the client's to choose.
    pub fn wants_port(&self) -> bool {
        self.hosts.port == 0
    }

    /// The endpoint of a connection that was captured on its way to `original`, where such go on to there; `None`: it is
    /// [found](Self::find) by what was said. `said` is the host that its client named, which TLS is for where many names lead
    /// here. Costs a look into a table.
    pub fn original(&self, original: Option<SocketAddr>, said: &str) -> Option<Arc<AskedName>> {
        let original = original.filter(|_| self.hosts.original)?;
        let port = if self.hosts.port == 0 { original.port() } else { self.hosts.port };
        let address = SocketAddr::new(original.ip(), port);
        let is_named = self.hosts.names.as_ref().is_some_and(|it| it.matches(said));
        let key = if is_named { format!("{said}@{address}") } else { address.to_string() };
        let now_ms = millis(Instant::now());
        let known = self.names.load().get(&key).map(|kept| kept.0.clone());
        let name = known.unwrap_or_else(|| {
            let host = if is_named { said.to_owned() } else { address.ip().to_string() };
            self.keep(&key, (&host, port), Some(address.ip()), now_ms)
        });
        name.used_ms.store(now_ms, Ordering::Relaxed);
        Some(name)
    }

    /// What `said` leads to: a host without port, lower case, or `HOST:PORT` where the [port is
    /// wanted](Self::wants_port). `may_be_address` where clients choose their destination
    /// themselves (forward proxies). `Ok(None)`: to the endpoints that the set lists.
    ///
    /// Waits for an answer where the name is not known or its time is over. Cancel safe.
    ///
    /// # Errors
    /// Why it leads nowhere.
    pub async fn find(
        &self,
        said: &str,
        may_be_address: bool,
    ) -> Result<Option<Arc<AskedName>>, Unreachable> {
        let now_ms = millis(Instant::now());
        let Some(name) = self.name(said, may_be_address, now_ms)? else { return Ok(None) };
        name.used_ms.store(now_ms, Ordering::Relaxed);
        if let Way::Lookup { lookup, filled } = &name.way {
            let known = self.lookups.known(lookup).await;
            if let Some(reason) = self.fill(&name, &known, filled) {
                return Err(reason);
            }
        }
        Ok(Some(name))
    }

    fn name(
        &self,
        said: &str,
        may_be_address: bool,
        now_ms: u64,
    ) -> Result<Option<Arc<AskedName>>, Unreachable> {
        if self.wants_port() {
            return self.name_with_port(said, now_ms).map(Some);
        }
        if let Ok(address) = said.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = address.to_canonical();
            let is_named = may_be_address && self.hosts.networks.iter().any(|it| it.contains(&address));
            return match (is_named, &self.hosts.names) {
                (true, _) => {
                    let text = address.to_string();
                    Ok(Some(self.keep(&text, (&text, self.hosts.port), Some(address), now_ms)))
                }
                (false, None) => Ok(None),
                (false, Some(_)) => Err(Unreachable::NotNamed),
            };
        }
        let Some(names) = &self.hosts.names else { return Ok(None) };
        if let Some(kept) = self.names.load().get(said) {
            return Ok(Some(kept.0.clone()));
        }
        // Only what is a host in its normal form: it was compared with others by its text.
        let is_host = host_of(said).is_ok_and(|(host, port)| host == said && port.is_none());
        if !is_host || !names.matches(said) {
            return Err(Unreachable::NotNamed);
        }
        Ok(Some(self.keep(said, (said, self.hosts.port), None, now_ms)))
    }

    /// A name with its port; this machine and addresses are not meant by names of the internet.
    fn name_with_port(&self, said: &str, now_ms: u64) -> Result<Arc<AskedName>, Unreachable> {
        if let Some(kept) = self.names.load().get(said) {
            return Ok(kept.0.clone());
        }
        let (host, port) = said.rsplit_once(':').ok_or(Unreachable::NotNamed)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or(Unreachable::NotNamed)?;
        let is_name = host_of(host).is_ok_and(|(normal, port)| normal == host && port.is_none());
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let is_named = self.hosts.names.as_ref().is_some_and(|names| names.matches(host));
        if !is_name || is_address || is_local || !is_named {
            return Err(Unreachable::NotNamed);
        }
        Ok(self.keep(said, (host, port), None, now_ms))
    }

    fn keep(
        &self,
        key: &str,
        (host, port): (&str, u16),
        address: Option<IpAddr>,
        now_ms: u64,
    ) -> Arc<AskedName> {
        let changing = self.changing.lock();
        let mut names = Trie::clone(&self.names.load());
        if let Some(kept) = names.get(key) {
            return kept.0.clone();
        }
        if names.len() >= NAMES
            && let Some(oldest) = least(&names)
        {
            names.remove(&oldest);
        }
        let host: Arc<str> = host.into();
        let pool = EndpointPool::new(self.key.clone());
        pool.arrange_as(&changing);
        let way = match address {
            Some(address) => {
                let workload = self.workloads.get(&SocketAddr::new(address, port)).cloned();
                pool.update(&[Member { workload, ..member(address, port) }]);
                Way::Straight
            }
            None => Way::Lookup { lookup: self.lookups.of(&host), filled: Mutex::default() },
        };
        let name = Arc::new(AskedName {
            key: key.into(),
            host,
            port,
            pool,
            way,
            used_ms: AtomicU64::new(now_ms),
            clients: Mutex::default(),
        });
        names.set(Kept(name.clone()));
        self.names.store(Arc::new(names));
        name
    }

    /// Makes the pool what is known of its name. Takes a lock for the time of a comparison, and works only for a new
    /// answer.
    fn fill(
        &self,
        name: &AskedName,
        known: &Arc<Known>,
        filled: &Mutex<Option<(Arc<Known>, Option<Unreachable>)>>,
    ) -> Option<Unreachable> {
        let mut filled = filled.lock();
        if let Some((_, reason)) = filled.as_ref().filter(|(before, _)| Arc::ptr_eq(before, known)) {
            return *reason;
        }
        let guard = Guard { host: &name.host, is_external: self.is_external, origin: &self.origin };
        let addresses = known.addresses.iter().filter(|address| guard.lets(**address));
        let most = if self.takes_first { 1 } else { usize::MAX };
        let members: Vec<Member> = addresses.take(most).map(|address| member(*address, name.port)).collect();
        let reason = match known.fault {
            Some(fault) => Some(Unreachable::NoAddress(fault)),
            None => members.is_empty().then_some(Unreachable::Inside),
        };
        name.pool.update(&members);
        *filled = Some((known.clone(), reason));
        reason
    }

    /// Arranges all pools: hashes find endpoints by it.
    pub(super) fn arrange(&self, by: &Arrangement) {
        let mut changing = self.changing.lock();
        *changing = by.clone();
        self.names.load().for_each(&mut |kept| kept.0.pool.arrange_as(by));
    }

    /// Names that are kept at the moment, for `/debug`.
    pub(super) fn len(&self) -> usize {
        self.names.load().len()
    }
}

fn workload(endpoint: &Endpoint) -> Option<(SocketAddr, Arc<Workload>)> {
    match &endpoint.address {
        EndpointAddress::Socket(address) => Some((*address, endpoint.workload.clone()?)),
        EndpointAddress::Dns { .. } => None,
    }
}

fn member(address: IpAddr, port: u16) -> Member {
    let address = SocketAddr::new(address, port);
    Member { address, state: EndpointState::Ready, weight: 1, topology: None, workload: None }
}

/// The name that is let go of first: one that leads nowhere, else the one that was used the longest ago.
fn least(names: &Trie<Kept>) -> Option<Arc<str>> {
    let mut least: Option<((bool, u64), Arc<str>)> = None;
    names.for_each(&mut |kept| {
        let worth = (!kept.0.pool.is_empty(), kept.0.used_ms.load(Ordering::Relaxed));
        if least.as_ref().is_none_or(|(before, _)| worth < *before) {
            least = Some((worth, kept.0.key.clone()));
        }
    });
    least.map(|(_, host)| host)
}

impl AskedName {
    /// Its endpoints.
    pub fn pool(&self) -> &Arc<EndpointPool> {
        &self.pool
    }

    /// The client that asks for this name in its handshakes, of one that speaks to many names. Made once; takes a lock.
    pub fn client(&self, of: &Arc<TlsClient>) -> Arc<TlsClient> {
        let mut clients = self.clients.lock();
        let made = clients.iter().find(|(template, _)| std::ptr::eq(template.as_ptr(), Arc::as_ptr(of)));
        if let Some((_, client)) = made {
            return client.clone();
        }
        clients.retain(|(template, _)| template.strong_count() > 0);
        let client = of.named(&self.host);
        clients.push((Arc::downgrade(of), client.clone()));
        client
    }
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
