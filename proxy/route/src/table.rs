//! The routes of one listener, and the search among them.

use crate::candidate::Candidate;
use crate::compile::{CompiledMatch, Place};
use crate::condition::{Probe, Request};
use crate::host_table::HostTable;
use crate::trie::{Keyed, Trie};
use sluice_ir::{HostPattern, RouteKey};
use std::fmt;
use std::sync::Arc;

/// A route in its compiled form, shared by the tables of all listeners that serve it.
pub trait TableRoute {
    /// What the search returns of a rule.
    type Target;

    /// `KIND/NAMESPACE/NAME`.
    fn key(&self) -> &RouteKey;

    /// Creation time in seconds since 1970.
    fn created_s(&self) -> i64;

    /// In the order of the manifest.
    fn rules(&self) -> &[RuleEntry<Self::Target>];
}

/// One route, as one listener serves it.
#[derive(Debug)]
pub struct RouteEntry<R> {
    /// The route.
    pub route: Arc<R>,
    /// Intersection of the listener's and the route's hosts; a route without any is kept but never found.
    pub hostnames: Arc<[HostPattern]>,
}

/// One rule of a route.
#[derive(Clone, Debug)]
pub struct RuleEntry<T> {
    /// Position in the manifest, from 0.
    pub index: u32,
    /// One of them must hold.
    pub matches: Box<[CompiledMatch]>,
    /// What the search returns.
    pub target: T,
}

/// The routes of one listener. Immutable: [`RouteTable::with`] makes the next one. A clone costs a few pointers.
pub struct RouteTable<R> {
    pub(crate) routes: Trie<RouteEntry<R>>,
    pub(crate) hosts: Trie<Arc<HostTable<R>>>,
    pub(crate) wildcards: Trie<Arc<HostTable<R>>>,
    /// Dots in the wildcard with the most labels; an upper bound after removals.
    pub(crate) wildcard_dots: usize,
    pub(crate) any: Option<Arc<HostTable<R>>>,
}

/// The winner.
pub struct Found<'a, R: TableRoute> {
    /// The route.
    pub route: &'a Arc<R>,
    /// Position of the rule in [`TableRoute::rules`].
    pub rule_position: u32,
    /// Position of the match in the rule.
    pub match_index: u32,
    /// The route's hostname that the request's host matched.
    pub hostname: &'a HostPattern,
    /// Bytes of the path that a prefix match covers, without a trailing slash: 0 for `/`. The rest of the path is
    /// empty or begins with a slash. `None` for other matches.
    pub matched_prefix_len: Option<usize>,
}

impl<'a, R: TableRoute> Found<'a, R> {
    /// The rule.
    pub fn rule(&self) -> &'a RuleEntry<R::Target> {
        &self.route.rules()[self.rule_position as usize]
    }

    /// The rule's target.
    pub fn target(&self) -> &'a R::Target {
        &self.rule().target
    }
}

/// Why there is no winner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// No route answers for the host.
    Host,
    /// Routes answer for the host, but none of their rules match.
    Rule,
}

impl<R: TableRoute> RouteTable<R> {
    /// The winning rule (the crate's page has the order).
    ///
    /// Cost: two to three hash look-ups for the host, one for the path and one for each of its slashes, as far as there
    /// are wildcards and prefixes; conditions of the few candidates found; expressions one after the other, most of
    /// them dismissed by their literal beginning. Nothing is allocated, except scratch memory for expressions: on their
    /// first use by a thread, and for joined header fields and encoded query values.
    ///
    /// # Errors
    /// [`Miss`] when no rule matches.
    pub fn find(&self, request: &Request<'_>) -> Result<Found<'_, R>, Miss> {
        let mut probe = Probe::new(*request);
        let mut miss = Miss::Host;
        let winner = self.try_hosts(request.host, |table| {
            miss = Miss::Rule;
            table.find(&mut probe).map(|candidate| found(candidate, &table.pattern))
        });
        winner.ok_or(miss)
    }

    /// As [`find`](Self::find), but only routes of the most specific hostname that covers the host count: what none of
    /// their rules matches does not fall to a wildcard.
    ///
    /// # Errors
    /// [`Miss`] when no rule matches.
    pub fn find_most_specific(&self, request: &Request<'_>) -> Result<Found<'_, R>, Miss> {
        let table = self.try_hosts(request.host, Some).ok_or(Miss::Host)?;
        let candidate = table.find(&mut Probe::new(*request)).ok_or(Miss::Rule)?;
        Ok(found(candidate, &table.pattern))
    }

    /// Visits the tables whose pattern covers the host, the most specific first, until `visit` returns something.
    pub(crate) fn try_hosts<'a, S>(
        &'a self,
        host: &str,
        mut visit: impl FnMut(&'a HostTable<R>) -> Option<S>,
    ) -> Option<S> {
        if let Some(table) = self.hosts.get(host)
            && let Some(result) = visit(table)
        {
            return Some(result);
        }
        if !self.wildcards.is_empty() && !host.starts_with('.') {
            let mut dots_left = memchr::memchr_iter(b'.', host.as_bytes()).count();
            for dot in memchr::memchr_iter(b'.', host.as_bytes()) {
                dots_left -= 1;
                if dots_left <= self.wildcard_dots
                    && let Some(table) = self.wildcards.get(&host[dot + 1..])
                    && let Some(result) = visit(table)
                {
                    return Some(result);
                }
            }
        }
        visit(self.any.as_deref()?)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The routes, sorted by key: for dumps.
    pub fn routes(&self) -> Vec<&RouteEntry<R>> {
        let mut routes = Vec::with_capacity(self.len());
        self.routes.for_each(&mut |route| routes.push(route));
        routes.sort_unstable_by(|a, b| a.route.key().cmp(b.route.key()));
        routes
    }

    /// The route of a key.
    pub fn route(&self, key: &RouteKey) -> Option<&Arc<R>> {
        self.routes.get(key.as_str()).map(|entry| &entry.route)
    }
}

fn found<'a, R: TableRoute>(candidate: &'a Candidate<R>, hostname: &'a HostPattern) -> Found<'a, R> {
    let compiled = candidate.compiled();
    let matched_prefix_len = match &compiled.place {
        Place::Prefix(prefix) if !compiled.is_call() => Some(prefix.len()),
        Place::Prefix(_) | Place::Exact(_) | Place::Regex(_) => None,
    };
    Found {
        route: &candidate.route,
        rule_position: candidate.rule_position(),
        match_index: candidate.match_index(),
        hostname,
        matched_prefix_len,
    }
}

impl<R: TableRoute> Keyed for RouteEntry<R> {
    fn key(&self) -> &str {
        self.route.key().as_str()
    }
}

impl<R> Clone for RouteEntry<R> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), hostnames: self.hostnames.clone() }
    }
}

impl<R> Clone for RouteTable<R> {
    fn clone(&self) -> Self {
        Self {
            routes: self.routes.clone(),
            hosts: self.hosts.clone(),
            wildcards: self.wildcards.clone(),
            wildcard_dots: self.wildcard_dots,
            any: self.any.clone(),
        }
    }
}

impl<R> Default for RouteTable<R> {
    fn default() -> Self {
        Self {
            routes: Trie::default(),
            hosts: Trie::default(),
            wildcards: Trie::default(),
            wildcard_dots: 0,
            any: None,
        }
    }
}

impl<R: TableRoute> fmt::Debug for RouteTable<R> {
    /// Sizes only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.len() + self.wildcards.len() + usize::from(self.any.is_some());
        f.debug_struct("RouteTable").field("routes", &self.len()).field("hosts", &hosts).finish()
    }
}
