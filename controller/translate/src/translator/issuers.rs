//! The part of the translator that runs CertificateIssuers, gathers what they are to order, and takes in what came of it
//! and which challenges are to be answered.

use super::{Translator, Update};
use crate::issuer::{self, Issuance, Orders, WantedCertificate};
use crate::reads::{Key, Node};
use crate::status::Status;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{Challenge, Resource, ResourceKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Translator {
    /// What issuers have to do.
    pub fn orders(&self) -> Orders {
        Orders {
            issuers: self.state.issuers.values().filter_map(|it| it.plan.clone()).collect(),
            certificates: self.wanted_certificates(),
            on_demand: self.state.on_demand.values().flatten().cloned().collect(),
            held: self.on_demand.values().cloned().collect(),
        }
    }

    fn wanted_certificates(&self) -> Vec<WantedCertificate> {
        let mut wanted: BTreeMap<&ObjectRef, WantedCertificate> = BTreeMap::new();
        for (gateway, output) in &self.gateways {
            for order in &output.orders {
                let certificate = wanted.entry(&order.secret).or_insert_with(|| WantedCertificate {
                    secret: order.secret.clone(),
                    issuer: order.issuer.clone(),
                    names: Vec::new(),
                    gateways: Vec::new(),
                    is_there: order.is_there,
                });
                if certificate.issuer != order.issuer {
                    continue;
                }
                if !certificate.names.contains(&order.name) {
                    certificate.names.push(order.name.clone());
                }
                if !certificate.gateways.contains(gateway) {
                    certificate.gateways.push(gateway.clone());
                }
            }
        }
        let mut all: Vec<_> = wanted.into_values().collect();
        all.iter_mut().for_each(|it| it.names.sort());
        all
    }

    /// Tells what came of orders so far, all of it each time. Only statuses change by it.
    pub fn issuance(&mut self, now: Issuance) -> Update {
        let before = std::mem::replace(&mut self.issuance, now);
        let changed = differing(&before.certificates, &self.issuance.certificates);
        for (gateway, output) in &self.gateways {
            if output.orders.iter().any(|it| changed.contains(&it.secret)) {
                self.dirty.insert(Node::Render(gateway.clone()));
            }
        }
        for reference in differing(&before.issuers, &self.issuance.issuers) {
            if self.state.issuers.contains_key(&reference) {
                self.dirty.insert(Node::Issuer(reference));
            }
        }
        self.run()
    }

    /// Tells the challenges that data planes are to answer, all of them each time. Nothing else changes by it.
    pub fn challenges(&mut self, now: impl IntoIterator<Item = Challenge>) -> Update {
        let now: BTreeMap<_, _> = now.into_iter().map(|it| (it.key.clone(), Arc::new(it))).collect();
        let gone: Vec<_> =
            self.output.snapshot.challenges.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
        for key in gone {
            self.output.remove(ResourceKey::Challenge(key));
        }
        for challenge in now.into_values() {
            self.output.put(Resource::Challenge(challenge));
        }
        self.run()
    }

    pub(super) fn run_issuer(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let model = view.issuer_model(reference);
        let judged = model.map(|it| (issuer::judge(&view, it), it.meta.generation));
        let reads = if model.is_some() { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        let (outcome, problems, status) = match judged {
            None => (None, Vec::new(), None),
            Some(((outcome, problems), generation)) => {
                let standing = self.issuance.issuers.get(reference);
                let status = issuer::status(&outcome, standing, generation);
                (Some(outcome), problems, Some(Status::Issuer(Box::new(status))))
            }
        };
        self.output.set_status(reference, status);
        self.output.set_problems(node, problems);
        if self.state.issuers.get(reference).map(|it| &**it) == outcome.as_ref() {
            return;
        }
        self.orders_changed = true;
        match outcome {
            Some(outcome) => drop(self.state.issuers.insert(reference.clone(), Arc::new(outcome))),
            None => drop(self.state.issuers.remove(reference)),
        }
        self.mark_readers(&Key::Issuer(reference.clone()));
    }
}

/// Keys whose values differ.
pub(super) fn differing<K: Ord + Clone, V: PartialEq>(
    before: &BTreeMap<K, V>,
    now: &BTreeMap<K, V>,
) -> BTreeSet<K> {
    let keys = before.keys().chain(now.keys());
    keys.filter(|key| before.get(*key) != now.get(*key)).cloned().collect()
}
