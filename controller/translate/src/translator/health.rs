//! The part of the translator that runs the statuses of HealthCheckPolicies.

use super::Translator;
use crate::health;
use crate::reads::Node;
use crate::status::Status;
use crate::view::View;
use sluice_crds::ObjectRef;

impl Translator {
    pub(super) fn run_health(&mut self, node: &Node, reference: &ObjectRef) {
        let is_used = self.rule_users.contains_key(reference);
        let view = View::new(&self.state);
        let computed = view.health(reference).map(|it| health::status(&view, it, is_used));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Policy(Box::new(it))));
        self.output.set_problems(node, problems);
    }
}
