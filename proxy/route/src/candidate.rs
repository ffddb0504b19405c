//! A match of a rule of a route, as the tables keep it: small, and in the order in which candidates are tried.

use crate::compile::{CompiledMatch, Place};
use crate::condition::{Probe, all_met};
use crate::table::{RouteEntry, RuleEntry};
use sluice_ir::RouteKey;
use std::cmp::Ordering;
use std::sync::Arc;

/// Points into a route.
pub(crate) struct Candidate<T> {
    pub(crate) route: Arc<RouteEntry<T>>,
    rule: u32,
    matching: u32,
    /// Nothing but the path is asked.
    is_bare: bool,
}

impl<T> Clone for Candidate<T> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), ..*self }
    }
}

impl<T> Candidate<T> {
    /// All matches of a route.
    pub(crate) fn all_of(route: &Arc<RouteEntry<T>>) -> impl Iterator<Item = Self> {
        (0_u32..).zip(route.rules.iter()).flat_map(move |(rule, entry)| {
            (0_u32..).zip(entry.matches.iter()).map(move |(matching, compiled)| Self {
                route: route.clone(),
                rule,
                matching,
                is_bare: compiled.is_bare(),
            })
        })
    }

    pub(crate) fn rule(&self) -> &RuleEntry<T> {
        &self.route.rules[self.rule as usize]
    }

    pub(crate) fn compiled(&self) -> &CompiledMatch {
        &self.rule().matches[self.matching as usize]
    }

    pub(crate) fn match_index(&self) -> u32 {
        self.matching
    }

    /// Whether everything but the path holds.
    #[inline]
    pub(crate) fn is_met(&self, probe: &mut Probe<'_>) -> bool {
        self.is_bare || all_met(self.compiled(), probe)
    }

    /// Whether the path matches the expression; false for other candidates.
    pub(crate) fn regex_matches(&self, path: &str) -> bool {
        matches!(&self.compiled().place, Place::Regex(regex) if regex.is_match(path.as_bytes()))
    }

    /// The order in which candidates of one hostname are tried; no two are equal.
    pub(crate) fn precedence(&self, other: &Self) -> Ordering {
        let (a, b) = (self, other);
        (b.compiled().rank.cmp(&a.compiled().rank))
            .then(a.route.created_s.cmp(&b.route.created_s))
            .then_with(|| name_of(&a.route.key).cmp(name_of(&b.route.key)))
            .then_with(|| a.route.key.cmp(&b.route.key))
            .then(a.rule().index.cmp(&b.rule().index))
            .then(a.rule.cmp(&b.rule))
            .then(a.matching.cmp(&b.matching))
    }
}

/// `NAMESPACE/NAME` of `KIND/NAMESPACE/NAME`.
pub(crate) fn name_of(key: &RouteKey) -> &str {
    key.as_str().split_once('/').map_or(key.as_str(), |(_, name)| name)
}
