//! The part of the translator that runs policies: it finds the Gateways whose routes call what a policy targets.

use super::Translator;
use crate::backend::{BackendId, Caller, Target};
use crate::model::{PolicyModel, TargetModel};
use crate::policy;
use crate::reads::{Key, Node};
use crate::status::Status;
use crate::view::View;
use sluice_crds::ObjectRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What of a route policies have to do with: the backends that it reads, and the Gateways that accepted it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RouteUse {
    backends: Vec<Arc<BackendId>>,
    gateways: BTreeSet<ObjectRef>,
}

impl Translator {
    pub(super) fn run_policy(&mut self, node: &Node, reference: &ObjectRef) {
        let users = self.state.store.policies.get(reference).map(|it| self.policy_users(it));
        let view = View::new(&self.state);
        let computed =
            view.policy(reference).zip(users).map(|(model, users)| policy::status(&view, model, &users));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Policy(Box::new(it))));
        self.output.set_problems(node, problems);
    }

    /// The use that a route makes at the moment; `None` when there is no policy that could care.
    pub(super) fn route_use(&self, node: &Node, reference: &ObjectRef) -> Option<RouteUse> {
        if self.state.store.policies.is_empty() {
            return None;
        }
        let reads = self.graph.reads(node).iter().filter_map(|key| match key {
            Key::Backend(id) => Some(id.clone()),
            _ => None,
        });
        let accepted = self.accepted.get(reference).into_iter().flat_map(|it| it.iter());
        Some(RouteUse { backends: reads.collect(), gateways: accepted.map(|it| it.1.clone()).collect() })
    }

    /// Reruns the policies of Services that a route calls or called, when that changed.
    pub(super) fn mark_policies(&mut self, before: Option<&RouteUse>, after: Option<&RouteUse>) {
        if before == after {
            return;
        }
        for id in before.into_iter().chain(after).flat_map(|it| &it.backends) {
            if let Target::Service { service, .. } = &id.target {
                let policies = self.state.store.policies_of(service).into_iter();
                self.dirty.extend(policies.map(|it| Node::Policy(it.meta.reference.clone())));
            }
        }
    }

    /// The Gateways that call each target of a policy. Costs a look at each route that calls one of the Services.
    fn policy_users(&self, policy: &PolicyModel) -> policy::Users {
        policy.targets.iter().map(|it| self.target_users(it)).collect()
    }

    fn target_users(&self, target: &TargetModel) -> BTreeSet<ObjectRef> {
        let Ok(service) = &target.service else { return BTreeSet::new() };
        let ports = self.state.store.services.get(service).map(|it| it.ports.as_slice()).unwrap_or_default();
        let port = target.section.as_ref().and_then(|name| ports.iter().find(|it| it.name == *name));
        let of_port = |port: u16, caller| BackendId {
            target: Target::Service { service: service.clone(), port },
            caller,
            client: None,
            subset: None,
        };
        let all = of_port(0, Caller::Http)..=of_port(u16::MAX, Caller::Udp);
        let ids = self.state.backends.range(all).map(|it| it.0);
        // TLS is not spoken in datagrams.
        let is_meant = |id: &&Arc<BackendId>| match &id.target {
            Target::Service { port: called, .. } => {
                id.caller != Caller::Udp && port.is_none_or(|it| it.port == i32::from(*called))
            }
            Target::Hostname { .. } => false,
        };
        let mut gateways = BTreeSet::new();
        for id in ids.filter(is_meant) {
            for node in self.graph.readers(&Key::Backend(id.clone())) {
                let (Node::Route(route) | Node::Stream(route)) = node else { continue };
                let accepted = self.accepted.get(&route).into_iter().flat_map(|it| it.iter());
                for (_, gateway) in accepted {
                    if !gateways.contains(gateway) {
                        gateways.insert(gateway.clone());
                    }
                }
            }
        }
        gateways
    }
}
