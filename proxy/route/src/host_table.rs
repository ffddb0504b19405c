//! The matches of one hostname pattern, arranged by path.
//!
//! The exact path and every prefix are hash look-ups: a prefix is tried at the slashes of the path, from the longest to
//! the shortest, and never deeper than the deepest prefix there is. Expressions stand under the whole elements that each
//! of their texts begins with and are found the same way; only those without such elements are tried by every request.
//! What a look-up yields are the few candidates of that very path, best first.

use crate::candidate::Candidate;
use crate::compile::{CompiledMatch, Place};
use crate::condition::Probe;
use crate::trie::{Keyed, Trie};
use sluice_ir::{HostPattern, RouteKey};
use std::collections::HashSet;
use std::sync::Arc;

/// The table of one hostname pattern.
pub(crate) struct HostTable<T> {
    pub(crate) pattern: HostPattern,
    exact: Trie<Leaf<T>>,
    /// `None`: no expression, as on most hosts.
    regexes: Option<Box<Prefixes<T>>>,
    prefixes: Prefixes<T>,
}

/// Candidates by the whole elements that a path begins with.
struct Prefixes<T> {
    leaves: Trie<Leaf<T>>,
    /// Slashes in the deepest leaf; an upper bound after removals.
    depth: usize,
    /// Under no element: every path begins with them.
    root: Candidates<T>,
}

/// Best first.
struct Candidates<T>(Option<Arc<[Candidate<T>]>>);

/// Candidates of one path or prefix.
struct Leaf<T> {
    path: Arc<str>,
    candidates: Candidates<T>,
}

/// Where candidates stand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    Exact(Arc<str>),
    Regex(Arc<str>),
    Prefix(Arc<str>),
}

/// An edited spot of a host. One without a new candidate only loses those of touched routes.
pub(crate) struct Note<T> {
    pub(crate) host: HostPattern,
    pub(crate) spot: Spot,
    pub(crate) added: Option<Candidate<T>>,
}

impl Spot {
    pub(crate) fn of(it: &CompiledMatch) -> Self {
        match &it.place {
            Place::Exact(path) => Self::Exact(path.clone()),
            Place::Prefix(prefix) => Self::Prefix(prefix.clone()),
            Place::Regex(regex) => Self::Regex(regex.lead_elements()),
        }
    }
}

impl<T> HostTable<T> {
    pub(crate) fn new(pattern: HostPattern) -> Self {
        Self { pattern, exact: Trie::default(), regexes: None, prefixes: Prefixes::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.regexes.is_none() && self.prefixes.is_empty()
    }

    /// The best candidate.
    pub(crate) fn find(&self, probe: &mut Probe<'_>) -> Option<&Candidate<T>> {
        let path = probe.request.path;
        if let Some(leaf) = self.exact.get(path)
            && let Some(found) = leaf.candidates.first_met(probe)
        {
            return Some(found);
        }
        if let Some(regexes) = &self.regexes
            && let Some(found) = regexes.find_regex(path, probe)
        {
            return Some(found);
        }
        self.prefixes.visit(path, |candidates| candidates.first_met(probe))
    }

    /// Drops the candidates of touched routes at the edited spots and puts the new ones in. Notes of one spot stand
    /// together.
    pub(crate) fn edit(&mut self, edit: &[Note<T>], touched: &HashSet<RouteKey>) {
        for notes in edit.chunk_by(|a, b| a.spot == b.spot) {
            let Some(spot) = notes.first().map(|note| note.spot.clone()) else { continue };
            let added = notes.iter().filter_map(|note| note.added.clone()).collect();
            match spot {
                Spot::Exact(path) => edit_leaf(&mut self.exact, path, added, touched),
                Spot::Regex(elements) => {
                    let mut regexes = self.regexes.take().unwrap_or_default();
                    regexes.edit(elements, added, touched);
                    self.regexes = (!regexes.is_empty()).then_some(regexes);
                }
                Spot::Prefix(prefix) => self.prefixes.edit(prefix, added, touched),
            }
        }
    }
}

impl<T> Prefixes<T> {
    /// The best of the first of each list.
    fn find_regex(&self, path: &str, probe: &mut Probe<'_>) -> Option<&Candidate<T>> {
        let mut best: Option<&Candidate<T>> = None;
        self.visit(path, |candidates| {
            let mut rest = candidates.as_slice().iter();
            let first = rest.find(|candidate| candidate.regex_matches(path) && candidate.is_met(probe));
            if let Some(first) = first
                && best.is_none_or(|best| first.precedence(best).is_lt())
            {
                best = Some(first);
            }
            None::<()>
        });
        best
    }

    fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.root.0.is_none()
    }

    /// Visits the candidates under each prefix of the path, the longest first, until `visit` returns something.
    fn visit<'a, R>(
        &'a self,
        path: &str,
        mut visit: impl FnMut(&'a Candidates<T>) -> Option<R>,
    ) -> Option<R> {
        if !self.leaves.is_empty() {
            // A prefix of n slashes ends at the latest before the path's slash n + 1.
            let mut slashes = memchr::memchr_iter(b'/', path.as_bytes());
            let mut end = slashes.nth(self.depth).unwrap_or(path.len());
            while end > 0 {
                if let Some(leaf) = self.leaves.get(&path[..end])
                    && let Some(result) = visit(&leaf.candidates)
                {
                    return Some(result);
                }
                end = memchr::memrchr(b'/', &path.as_bytes()[..end]).unwrap_or(0);
            }
        }
        visit(&self.root)
    }

    fn edit(&mut self, prefix: Arc<str>, added: Vec<Candidate<T>>, touched: &HashSet<RouteKey>) {
        if prefix.is_empty() {
            return self.root.edit(added, touched);
        }
        self.depth = self.depth.max(memchr::memchr_iter(b'/', prefix.as_bytes()).count());
        edit_leaf(&mut self.leaves, prefix, added, touched);
    }
}

fn edit_leaf<T>(
    leaves: &mut Trie<Leaf<T>>,
    path: Arc<str>,
    added: Vec<Candidate<T>>,
    touched: &HashSet<RouteKey>,
) {
    let mut leaf = leaves.get(&path).cloned().unwrap_or(Leaf { path, candidates: Candidates(None) });
    leaf.candidates.edit(added, touched);
    match leaf.candidates.0 {
        Some(_) => leaves.set(leaf),
        None => leaves.remove(&leaf.path),
    }
}

impl<T> Candidates<T> {
    fn as_slice(&self) -> &[Candidate<T>] {
        self.0.as_deref().unwrap_or_default()
    }

    #[inline]
    fn first_met(&self, probe: &mut Probe<'_>) -> Option<&Candidate<T>> {
        self.as_slice().iter().find(|candidate| candidate.is_met(probe))
    }

    fn edit(&mut self, added: Vec<Candidate<T>>, touched: &HashSet<RouteKey>) {
        let kept =
            self.as_slice().iter().filter(|candidate| !touched.contains(&candidate.route.key)).cloned();
        let mut all: Vec<Candidate<T>> = kept.chain(added).collect();
        all.sort_unstable_by(Candidate::precedence);
        self.0 = if all.is_empty() { None } else { Some(all.into()) };
    }
}

impl<T> Keyed for HostTable<T> {
    fn key(&self) -> &str {
        match &self.pattern {
            HostPattern::Any => "",
            HostPattern::Wildcard(suffix) => suffix,
            HostPattern::Exact(host) => host,
        }
    }
}

impl<T> Keyed for Leaf<T> {
    fn key(&self) -> &str {
        &self.path
    }
}

impl<T> Clone for Candidates<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Leaf<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), candidates: self.candidates.clone() }
    }
}

impl<T> Clone for HostTable<T> {
    fn clone(&self) -> Self {
        Self {
            pattern: self.pattern.clone(),
            exact: self.exact.clone(),
            regexes: self.regexes.clone(),
            prefixes: self.prefixes.clone(),
        }
    }
}

impl<T> Clone for Prefixes<T> {
    fn clone(&self) -> Self {
        Self { leaves: self.leaves.clone(), depth: self.depth, root: self.root.clone() }
    }
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { leaves: Trie::default(), depth: 0, root: Candidates(None) }
    }
}
