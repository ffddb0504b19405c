//! A match of a rule of a route, as the tables keep it: small, and in the order in which candidates are tried.

use crate::compile::{CompiledMatch, Place};
use crate::condition::{Probe, all_met};
use crate::table::{RuleEntry, TableRoute};
use sluice_ir::RouteKey;
use std::cmp::Ordering;
use std::sync::Arc;

/// Set in [`Candidate::matching`] when nothing but the path is asked.
const BARE: u32 = 1 << 31;

/// Points into a route: two words.
pub(crate) struct Candidate<R> {
    pub(crate) route: Arc<R>,
    rule: u32,
    /// Position of the match in the rule, and [`BARE`].
    matching: u32,
}

impl<R> Clone for Candidate<R> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), ..*self }
    }
}

impl<R: TableRoute> Candidate<R> {
    /// All matches of a route.
    pub(crate) fn all_of(route: &Arc<R>) -> impl Iterator<Item = Self> {
        (0_u32..).zip(route.rules().iter()).flat_map(move |(rule, entry)| {
            // A file of at most 64 MiB has fewer matches than the positions that are left.
            (0..BARE).zip(entry.matches.iter()).map(move |(matching, compiled)| Self {
                route: route.clone(),
                rule,
                matching: if compiled.is_bare() { matching | BARE } else { matching },
            })
        })
    }

    pub(crate) fn rule(&self) -> &RuleEntry<R::Target> {
        &self.route.rules()[self.rule as usize]
    }

    pub(crate) fn compiled(&self) -> &CompiledMatch {
        &self.rule().matches[self.match_index() as usize]
    }

    pub(crate) fn rule_position(&self) -> u32 {
        self.rule
    }

    pub(crate) fn match_index(&self) -> u32 {
        self.matching & !BARE
    }

    /// Whether everything but the path holds.
    #[inline]
    pub(crate) fn is_met(&self, probe: &mut Probe<'_>) -> bool {
        self.matching & BARE != 0 || all_met(self.compiled(), probe)
    }

    /// Whether the path matches the expression; false for other candidates.
    pub(crate) fn regex_matches(&self, path: &str) -> bool {
        matches!(&self.compiled().place, Place::Regex(regex) if regex.is_match(path.as_bytes()))
    }

    /// The order in which candidates of one hostname are tried; no two are equal.
    pub(crate) fn precedence(&self, other: &Self) -> Ordering {
        let (a, b) = (self, other);
        (b.compiled().rank().cmp(&a.compiled().rank()))
            .then(a.route.created_s().cmp(&b.route.created_s()))
            .then_with(|| name_of(a.route.key()).cmp(name_of(b.route.key())))
            .then_with(|| a.route.key().cmp(b.route.key()))
            .then(a.rule().index.cmp(&b.rule().index))
            .then(a.rule.cmp(&b.rule))
            .then(a.match_index().cmp(&b.match_index()))
    }
}

/// `NAMESPACE/NAME` of `KIND/NAMESPACE/NAME`.
pub(crate) fn name_of(key: &RouteKey) -> &str {
    key.as_str().split_once('/').map_or(key.as_str(), |(_, name)| name)
}
