//! Candidates by the whole elements that a path begins with: one look-up for each slash of the path.

use crate::candidate::Candidate;
use crate::condition::Probe;
use crate::leaf::{Candidates, Leaf};
use crate::table::TableRoute;
use crate::trie::Trie;
use sluice_ir::RouteKey;
use std::collections::HashSet;
use std::sync::Arc;

/// The table.
pub(crate) struct Prefixes<R> {
    leaves: Trie<Leaf<R>>,
    /// Slashes in the deepest leaf; an upper bound after removals.
    depth: usize,
    /// Under no element: every path begins with them.
    root: Candidates<R>,
}

impl<R> Prefixes<R> {
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.len() == 0 && self.root.is_empty()
    }
}

impl<R: TableRoute> Prefixes<R> {
    /// The best of the first of each list.
    pub(crate) fn find_regex(&self, path: &str, probe: &mut Probe<'_>) -> Option<&Candidate<R>> {
        let mut best: Option<&Candidate<R>> = None;
        self.visit(path, |candidates| {
            if let Some(first) = candidates.first_regex(path, probe)
                && best.is_none_or(|best| first.precedence(best).is_lt())
            {
                best = Some(first);
            }
            None::<()>
        });
        best
    }

    /// Visits the candidates under each prefix of the path, the longest first, until `visit` returns something.
    pub(crate) fn visit<'a, S>(
        &'a self,
        path: &str,
        mut visit: impl FnMut(&'a Candidates<R>) -> Option<S>,
    ) -> Option<S> {
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

    /// Puts a leaf in.
    pub(crate) fn put(&mut self, leaf: Leaf<R>) {
        if leaf.path.is_empty() {
            self.root = leaf.candidates;
        } else {
            self.deepen(&leaf.path);
            self.leaves.set(leaf);
        }
    }

    pub(crate) fn edit(&mut self, prefix: Arc<str>, added: Vec<Candidate<R>>, touched: &HashSet<RouteKey>) {
        if prefix.is_empty() {
            return self.root.edit(added, touched);
        }
        self.deepen(&prefix);
        Leaf::edit_in(&mut self.leaves, prefix, added, touched);
    }

    fn deepen(&mut self, prefix: &str) {
        self.depth = self.depth.max(memchr::memchr_iter(b'/', prefix.as_bytes()).count());
    }
}

impl<R> Clone for Prefixes<R> {
    fn clone(&self) -> Self {
        Self { leaves: self.leaves.clone(), depth: self.depth, root: self.root.clone() }
    }
}

impl<R> Default for Prefixes<R> {
    fn default() -> Self {
        Self { leaves: Trie::default(), depth: 0, root: Candidates::Empty }
    }
}
