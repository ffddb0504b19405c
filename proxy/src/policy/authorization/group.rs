//! The rules of all policies of one action, with the index that finds the few that matter.

use super::facts::Facts;
use super::index::Index;
use super::policy::{Policy, PolicyRule};
use super::rule::Sense;
use std::sync::Arc;

/// Policies of one action.
#[derive(Debug)]
pub(super) struct Group {
    sense: Sense,
    /// Each rule, in the order of the policies.
    rules: Box<[(Arc<Policy>, u32)]>,
    index: Index,
}

impl Group {
    pub(super) fn new(sense: Sense, policies: &[Arc<Policy>]) -> Self {
        let rules = policies.iter().flat_map(|policy| {
            (0_u32..).zip(policy.rules.iter()).map(|(position, _)| (policy.clone(), position))
        });
        let rules: Box<[_]> = rules.collect();
        let index = Index::new(policies.iter().flat_map(|it| &it.ir.rules));
        Self { sense, rules, index }
    }

    /// The first rule that fits, where the path reads so.
    pub(super) fn first(&self, facts: &Facts<'_>, path: &str) -> Option<PolicyRule> {
        let mut first = u32::MAX;
        self.index.each(facts, path, |position| {
            if position < first && self.fits(position, facts, path) {
                first = position;
            }
        });
        let (policy, position) = self.rules.get(first as usize)?;
        Some(PolicyRule { policy: policy.ir.clone(), index: *position as usize })
    }

    fn fits(&self, position: u32, facts: &Facts<'_>, path: &str) -> bool {
        let found = self.rules.get(position as usize);
        let rule = found.and_then(|(policy, rule)| policy.rules.get(*rule as usize));
        rule.is_some_and(|it| it.fits(facts, path, self.sense))
    }

    /// The first rule that fits in any reading of the path.
    pub(super) fn any(&self, facts: &Facts<'_>) -> Option<PolicyRule> {
        if self.rules.is_empty() {
            return None;
        }
        match &facts.request {
            None => self.first(facts, ""),
            Some(request) => request.paths.iter().find_map(|path| self.first(facts, path)),
        }
    }

    /// Whether a rule fits in every reading of the path.
    pub(super) fn every(&self, facts: &Facts<'_>) -> bool {
        match &facts.request {
            None => self.first(facts, "").is_some(),
            Some(request) => request.paths.iter().all(|path| self.first(facts, path).is_some()),
        }
    }

    pub(super) fn reads_paths(&self) -> bool {
        self.rules.iter().any(|(policy, rule)| {
            policy.rules.get(*rule as usize).is_some_and(super::rule::Rule::reads_paths)
        })
    }
}
