//! The part of the translator that runs classes, claims, certificates and Gateways, and makes their statuses.

use super::issuers::differing;
use super::{Translator, Update};
use crate::backend::BackendId;
use crate::gateway::{self, Facts, GatewayOutput, StapleStanding};
use crate::reads::{Key, Node};
use crate::status::Status;
use crate::traffic;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{CertificateKey, GatewayKey, Resource, ResourceKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Translator {
    /// Tells how the OCSP responses of certificates that ask for one stand, all of them each time. Only statuses and
    /// problems change by it.
    pub fn staples(&mut self, now: BTreeMap<CertificateKey, StapleStanding>) -> Update {
        let before = std::mem::replace(&mut self.staples, now);
        let changed = differing(&before, &self.staples);
        let users = changed.iter().filter_map(|key| self.certificate_users.get(key)).flatten();
        self.dirty.extend(users.cloned().map(Node::Render));
        self.run()
    }

    pub(super) fn run_class(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let class = view.class(&reference.name);
        let (status, problems) = class.map(|it| gateway::class_status(&view, it)).unwrap_or_default();
        let reads = if class.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::GatewayClass(Box::new(it))));
        self.output.set_problems(node, problems);
    }

    pub(super) fn run_claims(&mut self, node: &Node) {
        let view = View::new(&self.state);
        let lost = gateway::claims(&view);
        let reads = view.into_reads();
        self.note_reads(node, reads);
        let old = std::mem::replace(&mut self.state.lost, lost);
        let gateways: BTreeSet<ObjectRef> = old.keys().chain(self.state.lost.keys()).cloned().collect();
        for gateway in gateways {
            if old.get(&gateway) != self.state.lost.get(&gateway) {
                self.mark_readers(&Key::Lost(gateway));
            }
        }
    }

    pub(super) fn run_certificate(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let outcome = gateway::certificate(reference, view.secret(reference).map(|it| &**it));
        let reads = view.into_reads();
        self.note_reads(node, reads);
        if self.state.certificates.get(reference).is_some_and(|old| **old == outcome) {
            return;
        }
        self.state.certificates.insert(reference.clone(), Arc::new(outcome));
        self.mark_readers(&Key::Certificate(reference.clone()));
    }

    pub(super) fn drop_certificate(&mut self, secret: &ObjectRef) {
        let node = Node::Certificate(secret.clone());
        self.state.certificates.remove(secret);
        self.dirty.remove(&node);
        self.graph.set(&node, Vec::new());
    }

    pub(super) fn run_gateway(&mut self, node: &Node, reference: &ObjectRef) {
        let store = &self.state.store;
        let model = store.gateways.get(reference);
        let secrets = model.map(|it| gateway::secrets(it, &store.sets_of(reference))).unwrap_or_default();
        for secret in &secrets {
            if !self.state.certificates.contains_key(secret) {
                self.run_certificate(&Node::Certificate(secret.clone()), secret);
            }
        }
        let used = self.route_use(node, reference);
        let backends = self.prepare_backends(self.policy_backends(reference));
        let view = View::new(&self.state);
        let model = view.gateway(reference);
        let computed = model.map(|model| gateway::compute(&view, model));
        let reads = if model.is_some() { view.into_reads() } else { Vec::new() };
        let (output, problems) = match computed {
            None => (None, Vec::new()),
            Some(Ok(mut output)) => {
                let problems = std::mem::take(&mut output.problems);
                self.output.set_plan(reference, output.plan.take());
                (Some(output), problems)
            }
            Some(Err(problems)) => (None, problems),
        };
        if output.is_none() {
            self.output.set_plan(reference, None);
        }
        self.output.set_problems(node, problems);
        self.install_gateway(reference, output);
        self.note_reads(node, reads);
        self.drop_unread(&backends);
        let uses = self.route_use(node, reference);
        self.mark_policies(used.as_ref(), uses.as_ref());
        for secret in secrets {
            if !self.graph.is_read(&Key::Certificate(secret.clone())) {
                self.drop_certificate(&secret);
            }
        }
    }

    /// The backends that the policies of a Gateway and of its ListenerSets name.
    fn policy_backends(&self, gateway: &ObjectRef) -> Vec<BackendId> {
        let store = &self.state.store;
        let sets = store.sets_of(gateway).into_iter().map(|it| &it.meta.reference);
        let policies = std::iter::once(gateway).chain(sets).flat_map(|it| store.traffic_of(it));
        policies.filter_map(|it| traffic::backend_id(it, &store.domain)).collect()
    }

    pub(super) fn install_gateway(&mut self, reference: &ObjectRef, output: Option<GatewayOutput>) {
        let key = GatewayKey::new(format!("{}/{}", reference.namespace, reference.name));
        let old = self.gateways.remove(reference);
        let orders = |it: &Option<GatewayOutput>| it.as_ref().map(|it| it.orders.clone()).unwrap_or_default();
        self.orders_changed |= orders(&old) != orders(&output);
        self.count_users(
            old.iter().flat_map(GatewayOutput::backends),
            output.iter().flat_map(GatewayOutput::backends),
        );
        self.install_on_demand(reference, old.as_ref(), output.as_ref());
        self.install_forward_proxies(reference, old.as_ref(), output.as_ref());
        for listener in old.iter().flat_map(|it| &it.listeners) {
            let is_kept = output.iter().flat_map(|it| &it.listeners).any(|it| it.key == listener.key);
            // A set that moved to another Gateway took its listeners with it.
            let is_own =
                self.output.snapshot.listeners.get(&listener.key).is_some_and(|it| it.gateway == key);
            if !is_kept && is_own {
                self.output.remove(ResourceKey::Listener(listener.key.clone()));
            }
        }
        for certificate in old.iter().flat_map(|it| &it.certificates) {
            if let Some(users) = self.certificate_users.get_mut(&certificate.key) {
                users.remove(reference);
            }
        }
        let new = output.iter();
        for certificate in new.flat_map(|it| &it.certificates) {
            self.certificate_users.entry(certificate.key.clone()).or_default().insert(reference.clone());
            self.output.put(Resource::Certificate(certificate.clone()));
        }
        for certificate in old.iter().flat_map(|it| &it.certificates) {
            if self.certificate_users.get(&certificate.key).is_some_and(BTreeSet::is_empty) {
                self.certificate_users.remove(&certificate.key);
                self.output.remove(ResourceKey::Certificate(certificate.key.clone()));
            }
        }
        for listener in output.iter().flat_map(|it| &it.listeners) {
            self.output.put(Resource::Listener(listener.clone()));
        }
        match &output {
            Some(output) => self.output.put(Resource::Gateway(output.gateway.clone())),
            None => self.output.remove(ResourceKey::Gateway(key)),
        }
        self.install_parents(reference, old.as_ref(), output.as_ref());
        self.note_orders(reference, old.as_ref(), output.as_ref());
        self.dirty.insert(Node::Render(reference.clone()));
        if let Some(output) = output {
            self.gateways.insert(reference.clone(), output);
        }
    }

    pub(super) fn install_parents(
        &mut self,
        gateway: &ObjectRef,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) {
        let mut changed = Vec::new();
        for (parent, offered) in new.iter().flat_map(|it| &it.parents) {
            if self.state.parents.get(parent) != Some(offered) {
                self.state.parents.insert(parent.clone(), offered.clone());
                changed.push(parent.clone());
            }
        }
        for (parent, _) in old.iter().flat_map(|it| &it.parents) {
            let is_kept = new.iter().flat_map(|it| &it.parents).any(|it| it.0 == *parent);
            let is_own = self.state.parents.get(parent).is_some_and(|it| it.gateway == *gateway);
            if !is_kept && is_own {
                self.state.parents.remove(parent);
                changed.push(parent.clone());
            }
        }
        for parent in changed {
            self.mark_readers(&Key::Parent(parent));
        }
    }

    pub(super) fn run_orphan(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let is_there = view.listener_set(reference).is_some();
        let problems = gateway::orphan_problems(&view, reference);
        let reads = if is_there { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.output.set_problems(node, problems);
    }

    /// Makes the statuses of Gateways and ListenerSets that changed.
    pub(super) fn render(&mut self, stale: &[ObjectRef]) {
        let mut statuses = Vec::new();
        for gateway in stale {
            // First all that goes, then all that comes: a set may have moved from one Gateway to another.
            for object in self.rendered.remove(gateway).unwrap_or_default() {
                statuses.push((object, None));
            }
        }
        for gateway in stale {
            let facts = Facts {
                attached: &self.attached,
                bind_failures: &self.bind_failures,
                infrastructure: &self.infrastructure,
                waiting: &self.issuance.certificates,
                staples: &self.staples,
            };
            let rendered = self.gateways.get(gateway).map(|it| gateway::render(&it.base, &facts));
            let (list, mut problems) = rendered.unwrap_or_default();
            problems.extend(self.rival_problems(gateway));
            self.output.set_problems(&Node::Render(gateway.clone()), problems);
            if !list.is_empty() {
                self.rendered.insert(gateway.clone(), list.iter().map(|it| it.0.clone()).collect());
            }
            statuses.extend(list.into_iter().map(|(object, status)| (object, Some(status))));
        }
        let last: BTreeMap<ObjectRef, Option<Status>> = statuses.into_iter().collect();
        for (object, status) in last {
            self.output.set_status(&object, status);
        }
    }
}
