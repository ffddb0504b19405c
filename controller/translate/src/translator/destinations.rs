//! The part of the translator that runs DestinationRules: which backends follow them, and what they are told.

use super::Translator;
use crate::destination;
use crate::reads::Node;
use crate::status::Status;
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::BackendKey;
use std::sync::Arc;

impl Translator {
    /// Reruns the backends that a wildcard host covers. Costs a look at each backend, once for each changed rule that
    /// has one; lists of readers would cost every backend the memory of all its wildcards instead.
    pub(super) fn mark_covered(&mut self, wildcards: &[String]) {
        if wildcards.is_empty() {
            return;
        }
        for id in self.state.backends.keys() {
            let host = id.host(&self.state.store.domain);
            if wildcards.iter().any(|it| destination::matches(it, &host)) {
                self.dirty.insert(Node::Backend(id.clone()));
            }
        }
        if !self.state.is_mesh {
            return;
        }
        let store = &self.state.store;
        let is_covered = |host: &str| wildcards.iter().any(|it| destination::matches(it, host));
        let services = store.services.keys().filter(|it| is_covered(&store.domain.host(it)));
        let entries = store.entries.iter().filter(|(_, it)| it.hosts.iter().any(|host| is_covered(host)));
        self.dirty.extend(services.chain(entries.map(|it| it.0)).cloned().map(Node::Mesh));
    }

    /// Notes which rules and policies a backend in the snapshot follows, and tells those that it follows or followed.
    pub(super) fn follow(&mut self, key: &BackendKey, rules: Arc<[ObjectRef]>) {
        let old = self.rules_of.get(key).cloned().unwrap_or_default();
        for rule in old.iter().filter(|it| !rules.contains(it)) {
            if let Some(users) = self.rule_users.get_mut(rule) {
                users.remove(key);
                if users.is_empty() {
                    self.rule_users.remove(rule);
                }
            }
        }
        for rule in rules.iter() {
            self.rule_users.entry(rule.clone()).or_default().insert(key.clone());
        }
        let node = |it: &ObjectRef| match it.kind {
            Kind::HealthCheckPolicy => Node::Health(it.clone()),
            _ => Node::Destination(it.clone()),
        };
        self.dirty.extend(old.iter().chain(rules.iter()).map(node));
        if rules.is_empty() {
            self.rules_of.remove(key);
        } else {
            self.rules_of.insert(key.clone(), rules);
        }
    }

    pub(super) fn run_destination(&mut self, node: &Node, reference: &ObjectRef) {
        let users = self.destination_users(reference);
        let view = View::new(&self.state);
        let computed = view.destination(reference).map(|it| destination::status(&view, it, &users));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Destination(Box::new(it))));
        self.output.set_problems(node, problems);
    }

    /// Namespaces of the routes whose backends follow a rule.
    fn destination_users(&self, rule: &ObjectRef) -> destination::Users {
        let keys = self.rule_users.get(rule).into_iter().flatten();
        let ids = keys.filter_map(|key| self.backends_by_key.get(key)).flatten();
        ids.map(|id| id.client().clone()).collect()
    }
}
