//! The part of the translator that runs AuthorizationPolicies: what each comes to, whom it concerns, what it is told.

use super::Translator;
use crate::authorization;
use crate::reads::{Key, Node};
use crate::status::Status;
use crate::view::View;
use sluice_crds::{Name, ObjectRef};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Translator {
    pub(super) fn run_authorization(&mut self, node: &Node, reference: &ObjectRef) {
        let named = {
            let view = View::new(&self.state);
            view.authorization(reference).and_then(|it| authorization::backend_id(&view, it))
        };
        let ids = self.prepare_backends(named.into_iter().collect());
        let view = View::new(&self.state);
        let resolved = view.authorization(reference).map(|it| Arc::new(authorization::compute(&view, it)));
        let reads = if resolved.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.dirty.insert(Node::AuthorizationStatus(reference.clone()));
        let old = self.state.authorizations.get(reference).cloned();
        if old == resolved {
            return;
        }
        let concerned = old.iter().chain(&resolved).flat_map(|it| it.objects.iter().cloned());
        let concerned: BTreeSet<ObjectRef> = concerned.collect();
        let is_for_workloads = old.iter().chain(&resolved).any(|it| it.is_for_workloads);
        match resolved {
            Some(resolved) => drop(self.state.authorizations.insert(reference.clone(), resolved)),
            None => drop(self.state.authorizations.remove(reference)),
        }
        for object in concerned {
            self.mark_readers(&Key::AuthorizationOf(object));
        }
        if is_for_workloads {
            self.mark_readers(&Key::AuthorizationIn(Name::clone(&reference.namespace)));
        }
    }

    pub(super) fn run_authorization_status(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let both = view.authorization(reference).zip(self.state.authorizations.get(reference));
        let computed = both.map(|(model, resolved)| authorization::status(&view, model, resolved));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Destination(Box::new(it))));
        self.output.set_problems(node, problems);
    }
}
