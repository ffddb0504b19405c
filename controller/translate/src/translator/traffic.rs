//! The part of the translator that runs the statuses of TrafficPolicies: it finds out how their targets stand.

use super::Translator;
use crate::model::TrafficTarget;
use crate::reads::Node;
use crate::status::Status;
use crate::traffic::{self, Standing};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};

impl Translator {
    pub(super) fn run_traffic(&mut self, node: &Node, reference: &ObjectRef) {
        let store = &self.state.store;
        let named = store.traffic.get(reference).and_then(|it| traffic::backend_id(it, &store.domain));
        let ids = self.prepare_backends(named.into_iter().collect());
        let view = View::new(&self.state);
        let computed = self.state.store.traffic.get(reference).map(|model| {
            let standings: Vec<Standing> = model.targets.iter().map(|it| self.standing(&view, it)).collect();
            traffic::status(&view, model, &standings)
        });
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.output.set_status(reference, status.map(|it| Status::Policy(Box::new(it))));
        self.output.set_problems(node, problems);
    }

    fn standing(&self, view: &View<'_>, target: &TrafficTarget) -> Standing {
        // A target of another kind is told so, by whoever reads the policy.
        let Ok(object) = &target.object else { return Standing::Ours };
        let (is_there, is_ours) = match object.kind {
            Kind::Gateway => (view.gateway(object).is_some(), view.parent(object).is_some()),
            Kind::ListenerSet => (view.listener_set(object).is_some(), view.parent(object).is_some()),
            // A change of a route reruns the policies that target it.
            _ => (self.state.store.routes.contains_key(object), self.output.statuses.contains_key(object)),
        };
        match (is_there, is_ours) {
            (false, _) => Standing::Absent,
            (true, false) => Standing::Foreign,
            (true, true) => Standing::Ours,
        }
    }

    /// Reruns the policies that target a route which changed.
    pub(super) fn mark_traffic(&mut self, route: &ObjectRef) {
        let policies = self.state.store.traffic_of(route).into_iter();
        self.dirty.extend(policies.map(|it| Node::Traffic(it.meta.reference.clone())));
    }
}
