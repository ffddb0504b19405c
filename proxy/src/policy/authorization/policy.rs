//! One policy, compiled; and the name of a rule, for logs.

use super::rule::Rule;
use sluice_ir::{Authorization, Origin};
use std::fmt;
use std::sync::Arc;

/// A policy and its rules.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) ir: Arc<Authorization>,
    /// In the order of the manifest.
    pub(super) rules: Box<[Rule]>,
}

impl Policy {
    pub(super) fn compile(ir: &Arc<Authorization>) -> Arc<Self> {
        Arc::new(Self { ir: ir.clone(), rules: ir.rules.iter().map(Rule::compile).collect() })
    }
}

/// The rule that decided, by its policy.
#[derive(Clone)]
pub struct PolicyRule {
    pub(super) policy: Arc<Authorization>,
    pub(super) index: usize,
}

impl PolicyRule {
    /// The AuthorizationPolicy.
    pub fn origin(&self) -> &Origin {
        &self.policy.origin
    }

    /// Its position in `spec.rules`.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl PartialEq for PolicyRule {
    fn eq(&self, other: &Self) -> bool {
        self.policy.origin == other.policy.origin && self.index == other.index
    }
}

impl fmt::Debug for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PolicyRule {
    /// `AuthorizationPolicy shop/admin rule 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}", self.policy.origin, self.index)
    }
}
