//! The candidates of one spot of a host, best first. Nearly every spot has one, which stands in place.

use crate::candidate::Candidate;
use crate::condition::Probe;
use crate::host_table::Kind;
use crate::table::TableRoute;
use crate::trie::{Keyed, Trie};
use sluice_ir::RouteKey;
use std::collections::HashSet;
use std::sync::Arc;

/// Candidates of one path or prefix.
pub(crate) struct Leaf<R> {
    pub(crate) path: Arc<str>,
    pub(crate) candidates: Candidates<R>,
}

/// Best first.
pub(crate) enum Candidates<R> {
    Empty,
    One(Candidate<R>),
    Many(Arc<[Candidate<R>]>),
}

impl<R> Leaf<R> {
    pub(crate) fn new(path: Arc<str>) -> Self {
        Self { path, candidates: Candidates::Empty }
    }
}

impl<R: TableRoute> Leaf<R> {
    /// The best candidate when the leaf is all that a host has.
    pub(crate) fn find(&self, kind: Kind, probe: &mut Probe<'_>) -> Option<&Candidate<R>> {
        let path = probe.request.path;
        match kind {
            Kind::Exact => (*self.path == *path).then(|| self.candidates.first_met(probe)).flatten(),
            Kind::Prefix => {
                let rest = path.strip_prefix(&*self.path)?;
                let is_below = self.path.is_empty() || rest.is_empty() || rest.starts_with('/');
                is_below.then(|| self.candidates.first_met(probe)).flatten()
            }
            Kind::Regex => self.candidates.first_regex(path, probe),
        }
    }

    /// Edits the leaf of a path; one without candidates is gone.
    pub(crate) fn edit_in(
        leaves: &mut Trie<Self>,
        path: Arc<str>,
        added: Vec<Candidate<R>>,
        touched: &HashSet<RouteKey>,
    ) {
        let mut leaf = leaves.get(&path).cloned().unwrap_or_else(|| Self::new(path));
        leaf.candidates.edit(added, touched);
        if leaf.candidates.is_empty() { leaves.remove(&leaf.path) } else { leaves.set(leaf) }
    }
}

impl<R> Candidates<R> {
    pub(crate) fn as_slice(&self) -> &[Candidate<R>] {
        match self {
            Self::Empty => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl<R: TableRoute> Candidates<R> {
    /// The first whose conditions hold.
    #[inline]
    pub(crate) fn first_met(&self, probe: &mut Probe<'_>) -> Option<&Candidate<R>> {
        self.as_slice().iter().find(|candidate| candidate.is_met(probe))
    }

    /// The first whose expression and conditions hold.
    pub(crate) fn first_regex(&self, path: &str, probe: &mut Probe<'_>) -> Option<&Candidate<R>> {
        self.as_slice().iter().find(|candidate| candidate.regex_matches(path) && candidate.is_met(probe))
    }

    pub(crate) fn edit(&mut self, added: Vec<Candidate<R>>, touched: &HashSet<RouteKey>) {
        let is_kept = |it: &&Candidate<R>| !touched.contains(it.route.key());
        let mut all: Vec<Candidate<R>> = self.as_slice().iter().filter(is_kept).cloned().collect();
        all.extend(added);
        all.sort_unstable_by(Candidate::precedence);
        *self = match (all.len(), all.pop()) {
            (_, None) => Self::Empty,
            (1, Some(one)) => Self::One(one),
            (_, Some(last)) => {
                all.push(last);
                Self::Many(all.into())
            }
        };
    }
}

impl<R> Keyed for Leaf<R> {
    fn key(&self) -> &str {
        &self.path
    }
}

impl<R> Clone for Candidates<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::One(one) => Self::One(one.clone()),
            Self::Many(many) => Self::Many(many.clone()),
        }
    }
}

impl<R> Clone for Leaf<R> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), candidates: self.candidates.clone() }
    }
}
