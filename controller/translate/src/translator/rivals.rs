//! Gateways that have one Secret ordered by different issuers: only the first is heard, and the others are told.

use super::Translator;
use crate::gateway::{GatewayOutput, Order};
use crate::problem::{Problem, Severity};
use crate::reads::Node;
use sluice_crds::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};

/// Who has a Secret ordered, and by which issuer. The first counts, as in [`Translator::wanted_certificates`].
#[derive(Debug, Default)]
pub(super) struct Rivals(BTreeMap<ObjectRef, BTreeSet<(ObjectRef, ObjectRef)>>);

impl Rivals {
    /// Takes a Gateway's orders over; the Gateways that have the same Secrets ordered.
    fn replace(
        &mut self,
        gateway: &ObjectRef,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) -> BTreeSet<ObjectRef> {
        let orders = |output: Option<&GatewayOutput>| -> BTreeSet<(ObjectRef, ObjectRef)> {
            let all = output.into_iter().flat_map(|it| &it.orders);
            all.map(|it: &Order| (it.secret.clone(), it.issuer.clone())).collect()
        };
        let (old, new) = (orders(old), orders(new));
        let mut concerned = BTreeSet::new();
        for (secret, issuer) in old.symmetric_difference(&new) {
            let entry = (gateway.clone(), issuer.clone());
            let all = self.0.entry(secret.clone()).or_default();
            if new.contains(&(secret.clone(), issuer.clone())) {
                all.insert(entry);
            } else {
                all.remove(&entry);
            }
            concerned.extend(all.iter().map(|(gateway, _)| gateway.clone()));
            if all.is_empty() {
                self.0.remove(secret);
            }
        }
        concerned
    }

    /// Issuers that a Gateway names in vain.
    fn problems(&self, gateway: &ObjectRef, output: &GatewayOutput) -> BTreeSet<Problem> {
        let lost = output.orders.iter().filter_map(|order| {
            let (first, issuer) = self.0.get(&order.secret)?.first()?;
            let message = format!(
                "{} is ordered by {issuer} for {first}: {} orders nothing for it",
                order.secret, order.issuer
            );
            (*issuer != order.issuer).then(|| Problem {
                object: gateway.clone(),
                field: "spec.listeners".to_owned(),
                severity: Severity::Warning,
                message,
                next_step: "name the same issuer, or another Secret".to_owned(),
            })
        });
        lost.collect()
    }
}

impl Translator {
    /// Notes the orders of a Gateway, and has those told anew whose word may count less or more by it.
    pub(super) fn note_orders(
        &mut self,
        gateway: &ObjectRef,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) {
        let concerned = self.rivals.replace(gateway, old, new);
        self.dirty.extend(concerned.into_iter().map(Node::Render));
    }

    /// What a Gateway is told of its orders.
    pub(super) fn rival_problems(&self, gateway: &ObjectRef) -> BTreeSet<Problem> {
        self.gateways.get(gateway).map(|it| self.rivals.problems(gateway, it)).unwrap_or_default()
    }
}
