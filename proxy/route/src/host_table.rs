//! The matches of one hostname pattern, arranged by path.
//!
//! The exact path and every prefix are hash look-ups: a prefix is tried at the slashes of the path, from the longest to
//! the shortest, and never deeper than the deepest prefix there is. Expressions are a list, tried in order. What a
//! look-up yields are the few candidates of that very path, best first.

use crate::candidate::Candidate;
use crate::compile::{CompiledMatch, Place};
use crate::condition::Probe;
use crate::trie::{Keyed, Trie};
use sluice_ir::{HostPattern, RouteKey};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The table of one hostname pattern.
pub(crate) struct HostTable<T> {
    pub(crate) pattern: HostPattern,
    exact: Trie<Leaf<T>>,
    prefixes: Trie<Leaf<T>>,
    /// Slashes in the deepest prefix; an upper bound after removals.
    prefix_depth: usize,
    root: Candidates<T>,
    regexes: Candidates<T>,
}

/// Best first.
struct Candidates<T>(Option<Arc<[Candidate<T>]>>);

/// Candidates of one path or prefix.
struct Leaf<T> {
    path: Arc<str>,
    candidates: Candidates<T>,
}

/// Where candidates stand; the text is empty for expressions and for the prefix `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    Regexes,
}

/// New candidates, by spot. A spot without new ones only loses those of touched routes.
pub(crate) type HostEdit<T> = BTreeMap<Spot, Vec<Candidate<T>>>;

impl Spot {
    pub(crate) fn of(it: &CompiledMatch) -> Self {
        match &it.place {
            Place::Exact(path) => Self::Exact(path.clone()),
            Place::Prefix(prefix) => Self::Prefix(prefix.clone()),
            Place::Regex(_) => Self::Regexes,
        }
    }
}

impl<T> HostTable<T> {
    pub(crate) fn new(pattern: HostPattern) -> Self {
        Self {
            pattern,
            exact: Trie::default(),
            prefixes: Trie::default(),
            prefix_depth: 0,
            root: Candidates(None),
            regexes: Candidates(None),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.root.0.is_none() && self.regexes.0.is_none()
    }

    /// The best candidate.
    pub(crate) fn find(&self, probe: &mut Probe<'_>) -> Option<&Candidate<T>> {
        let path = probe.request.path;
        if let Some(leaf) = self.exact.get(path)
            && let Some(found) = leaf.candidates.first_met(probe)
        {
            return Some(found);
        }
        for candidate in self.regexes.as_slice() {
            if let Place::Regex(regex) = &candidate.compiled().place
                && regex.is_match(path.as_bytes())
                && candidate.is_met(probe)
            {
                return Some(candidate);
            }
        }
        if !self.prefixes.is_empty()
            && let Some(found) = self.find_prefix(path, probe)
        {
            return Some(found);
        }
        self.root.first_met(probe)
    }

    fn find_prefix(&self, path: &str, probe: &mut Probe<'_>) -> Option<&Candidate<T>> {
        // A prefix of n slashes ends at the latest before the path's slash n + 1.
        let mut end = memchr::memchr_iter(b'/', path.as_bytes()).nth(self.prefix_depth).unwrap_or(path.len());
        while end > 0 {
            if let Some(leaf) = self.prefixes.get(&path[..end])
                && let Some(found) = leaf.candidates.first_met(probe)
            {
                return Some(found);
            }
            end = memchr::memrchr(b'/', &path.as_bytes()[..end])?;
        }
        None
    }

    /// Drops the candidates of touched routes at the edited spots and puts the new ones in.
    pub(crate) fn edit(&mut self, edit: HostEdit<T>, touched: &HashSet<RouteKey>) {
        for (spot, added) in edit {
            match spot {
                Spot::Exact(path) => edit_leaf(&mut self.exact, path, added, touched),
                Spot::Prefix(prefix) if prefix.is_empty() => self.root.edit(added, touched),
                Spot::Prefix(prefix) => {
                    let slashes = memchr::memchr_iter(b'/', prefix.as_bytes()).count();
                    self.prefix_depth = self.prefix_depth.max(slashes);
                    edit_leaf(&mut self.prefixes, prefix, added, touched);
                }
                Spot::Regexes => self.regexes.edit(added, touched),
            }
        }
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
            prefixes: self.prefixes.clone(),
            prefix_depth: self.prefix_depth,
            root: self.root.clone(),
            regexes: self.regexes.clone(),
        }
    }
}
