//! What the translation has made so far, and what changed since the last look: a resource that comes out the same
//! keeps its `Arc` and is not in the delta.

use crate::gateway::GatewayPlan;
use crate::problem::Problem;
use crate::reads::Node;
use crate::shared::compact_map;
use crate::status::Status;
use crate::translator::Update;
use sluice_crds::ObjectRef;
use sluice_ir::{Delta, Resource, ResourceKey, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// Snapshot, statuses, plans, problems.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) snapshot: Snapshot,
    pub(crate) statuses: BTreeMap<ObjectRef, Status>,
    /// What each Gateway needs in a cluster.
    pub(crate) plans: BTreeMap<ObjectRef, GatewayPlan>,
    problems: BTreeMap<Node, Vec<Problem>>,
    /// Resources touched since the last look, as they were.
    before: BTreeMap<ResourceKey, Option<Resource>>,
    /// Statuses touched since the last look, as they were.
    statuses_before: BTreeMap<ObjectRef, Option<Status>>,
    /// Plans touched since the last look, as they were.
    plans_before: BTreeMap<ObjectRef, Option<GatewayPlan>>,
}

impl Output {
    /// Puts a resource in, unless the same is there.
    pub(crate) fn put(&mut self, resource: Resource) {
        let key = resource.key();
        let old = self.snapshot.get(&key);
        if old.as_ref() == Some(&resource) {
            return;
        }
        self.before.entry(key).or_insert(old);
        self.snapshot.apply(&Delta { upserts: vec![resource], removals: Vec::new() });
    }

    /// Takes a resource out.
    pub(crate) fn remove(&mut self, key: ResourceKey) {
        let old = self.snapshot.get(&key);
        if old.is_some() {
            self.snapshot.apply(&Delta { upserts: Vec::new(), removals: vec![key.clone()] });
            self.before.entry(key).or_insert(old);
        }
    }

    /// Sets or takes out a status.
    pub(crate) fn set_status(&mut self, object: &ObjectRef, status: Option<Status>) {
        if self.statuses.get(object) == status.as_ref() {
            return;
        }
        let old = match status {
            Some(status) => self.statuses.insert(object.clone(), status),
            None => self.statuses.remove(object),
        };
        self.statuses_before.entry(object.clone()).or_insert(old);
    }

    /// Fills half-empty nodes of the maps.
    pub(crate) fn compact(&mut self) {
        self.snapshot.compact();
        compact_map(&mut self.statuses);
    }

    /// Sets or takes out a plan.
    pub(crate) fn set_plan(&mut self, gateway: &ObjectRef, plan: Option<GatewayPlan>) {
        if self.plans.get(gateway) == plan.as_ref() {
            return;
        }
        let old = match plan {
            Some(plan) => self.plans.insert(gateway.clone(), plan),
            None => self.plans.remove(gateway),
        };
        self.plans_before.entry(gateway.clone()).or_insert(old);
    }

    /// Sets the problems that a computation found.
    pub(crate) fn set_problems(&mut self, node: &Node, problems: Vec<Problem>) {
        if problems.is_empty() {
            self.problems.remove(node);
        } else {
            self.problems.insert(node.clone(), problems);
        }
    }

    /// All problems, by object, then field; each once.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let all: BTreeSet<&Problem> = self.problems.values().flatten().collect();
        all.into_iter().cloned().collect()
    }

    /// What changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Update {
        let mut delta = Delta::default();
        for (key, old) in std::mem::take(&mut self.before) {
            match self.snapshot.get(&key) {
                now if now == old => {}
                Some(resource) => delta.upserts.push(resource),
                None => delta.removals.push(key),
            }
        }
        let statuses = std::mem::take(&mut self.statuses_before);
        let changed = statuses.into_iter().filter(|(object, old)| self.statuses.get(object) != old.as_ref());
        let statuses = changed.map(|(object, _)| object).collect();
        let plans = std::mem::take(&mut self.plans_before);
        let changed = plans.into_iter().filter(|(gateway, old)| self.plans.get(gateway) != old.as_ref());
        let plans = changed.map(|(gateway, _)| gateway).collect();
        Update { delta, statuses, plans, orders: false }
    }
}
