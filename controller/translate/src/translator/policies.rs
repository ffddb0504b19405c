//! The part of the translator that runs policies: it finds the Gateways whose routes call what a policy targets.

use super::Translator;
use crate::backend::{BackendId, Caller, Source, Target};
use crate::model::{PolicyModel, TargetModel};
use crate::policy;
use crate::reads::{Key, Node};
use crate::status::Status;
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
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
            let store = &self.state.store;
            let objects: Vec<&ObjectRef> = match &id.target {
                Target::Service { service, .. } | Target::Pods { service, .. } => vec![service],
                Target::Anything { .. } => Vec::new(),
                // Which of the entries it is may have changed as well.
                Target::Hostname { host, .. } => {
                    store.entries_of(host).iter().map(|it| &it.meta.reference).collect()
                }
            };
            let policies = objects.into_iter().flat_map(|it| store.policies_of(it));
            self.dirty.extend(policies.map(|it| Node::Policy(it.meta.reference.clone())));
        }
    }

    /// Reruns the policies of a ServiceEntry, because forward proxies lead elsewhere by it now.
    pub(super) fn mark_policies_of(&mut self, entry: &ObjectRef) {
        let policies = self.state.store.policies_of(entry).into_iter();
        self.dirty.extend(policies.map(|it| Node::Policy(it.meta.reference.clone())));
    }

    /// The Gateways that call each target of a policy, by routes or by policies of their own. Costs a look at each route
    /// that calls one of them.
    fn policy_users(&self, policy: &PolicyModel) -> policy::Users {
        policy.targets.iter().map(|it| self.target_users(it)).collect()
    }

    fn target_users(&self, target: &TargetModel) -> BTreeSet<ObjectRef> {
        let Ok(service) = &target.object else { return BTreeSet::new() };
        if service.kind == Kind::ServiceEntry {
            return self.entry_users(service, target.section.as_deref());
        }
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
            Target::Pods { .. } | Target::Hostname { .. } | Target::Anything { .. } => false,
        };
        self.callers(ids.filter(is_meant))
    }

    /// The Gateways that call a port of a ServiceEntry, or any: by routes, or as forward proxies.
    fn entry_users(&self, entry: &ObjectRef, section: Option<&str>) -> BTreeSet<ObjectRef> {
        let ports = self.state.store.entries.get(entry).map(|it| it.ports.as_slice()).unwrap_or_default();
        let number = section.and_then(|name| ports.iter().find(|it| it.name == name)).map(|it| it.number);
        let is_meant = |id: &Arc<BackendId>| {
            let resolved = self.state.backends.get(id).and_then(|it| it.as_ref().as_ref().ok());
            let source = resolved.map(|it| &it.source);
            id.caller != Caller::Udp
                && matches!(source, Some(Source::Entry { entry: of, port, .. })
                    if of == entry && number.is_none_or(|it| it == i64::from(*port)))
        };
        // Whoever leads to a host of the entry has read it.
        let ids: Vec<_> = self
            .graph
            .readers(&Key::Object(entry.clone()))
            .filter_map(|node| match node {
                Node::Backend(id) => Some(id),
                _ => None,
            })
            .filter(is_meant)
            .collect();
        self.callers(ids.iter())
    }

    /// The Gateways that lead to some backends.
    fn callers<'a>(&self, ids: impl Iterator<Item = &'a Arc<BackendId>>) -> BTreeSet<ObjectRef> {
        let mut gateways = BTreeSet::new();
        for id in ids {
            for node in self.graph.readers(&Key::Backend(id.clone())) {
                match node {
                    Node::Gateway(gateway) => drop(gateways.insert(gateway)),
                    Node::Route(route) | Node::Stream(route) => {
                        let accepted = self.accepted.get(&route).into_iter().flat_map(|it| it.iter());
                        gateways.extend(accepted.map(|it| it.1.clone()));
                    }
                    Node::Egress(entry) => gateways.extend(self.proxies_of(&entry, id)),
                    _ => {}
                }
            }
        }
        gateways
    }

    /// The Gateways whose forward proxies lead to a backend by a ServiceEntry.
    fn proxies_of(&self, entry: &ObjectRef, id: &BackendId) -> BTreeSet<ObjectRef> {
        let resolved = self.state.backends.get(id).and_then(|it| it.as_ref().as_ref().ok());
        let (Some(ways), Some(resolved)) = (self.egress.get(entry), resolved) else { return BTreeSet::new() };
        let listeners = ways.listeners_of(&resolved.backend.key);
        let proxies = listeners.filter_map(|it| self.state.forward_proxies.get(it));
        proxies.map(|it| it.gateway.clone()).collect()
    }
}
