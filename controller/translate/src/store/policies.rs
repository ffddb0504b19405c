//! The part of the store that knows which policies target what.

use super::{Map, Store, Touched, of_namespace, oldest_first, reindex};
use crate::authentication::AuthenticationModel;
use crate::authorization::AuthorizationModel;
use crate::health::HealthModel;
use crate::model::{Meta, PolicyModel, TrafficModel};
use crate::reads::{Key, Node};
use sluice_crds::{Kind, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Objects by what they target.
type ByTarget = BTreeMap<ObjectRef, BTreeSet<ObjectRef>>;

impl Store {
    /// A policy is part of what is known of what it targets: whoever reads that reads it.
    pub(super) fn move_policy(
        &mut self,
        reference: &ObjectRef,
        old: Option<&PolicyModel>,
        touched: &mut Touched,
    ) {
        let objects = |it: Option<&PolicyModel>| owned(it.into_iter().flat_map(PolicyModel::objects));
        let (before, now) = (objects(old), objects(self.policies.get(reference).map(Arc::as_ref)));
        retarget(&mut self.policies_by_target, reference, &before, &now);
        touched.keys.extend(before.into_iter().chain(now).map(Key::Object));
        touched.nodes.push(Node::Policy(reference.clone()));
    }

    /// A policy is part of what is known of its targets: they are computed anew, and so is what is told to the other
    /// policies of the same target.
    pub(super) fn move_traffic(
        &mut self,
        reference: &ObjectRef,
        old: Option<&TrafficModel>,
        touched: &mut Touched,
    ) {
        let objects = |it: Option<&TrafficModel>| owned(it.into_iter().flat_map(TrafficModel::objects));
        let (before, now) = (objects(old), objects(self.traffic.get(reference).map(Arc::as_ref)));
        retarget(&mut self.traffic_by_target, reference, &before, &now);
        for target in before.iter().chain(&now) {
            match target.kind {
                Kind::Gateway => touched.keys.push(Key::Object(target.clone())),
                Kind::ListenerSet => {
                    let parent = self.sets.get(target).map(|it| it.parent.clone());
                    touched.keys.extend(parent.map(Key::SetsOf));
                }
                _ => touched.nodes.push(Node::Route(target.clone())),
            }
            let others = self.traffic_by_target.get(target).into_iter().flatten();
            touched.nodes.extend(others.cloned().map(Node::Traffic));
        }
        touched.nodes.push(Node::Traffic(reference.clone()));
    }

    /// A policy is part of what is known of its targets: whoever reads those reads it.
    pub(super) fn move_health(
        &mut self,
        reference: &ObjectRef,
        old: Option<&HealthModel>,
        touched: &mut Touched,
    ) {
        let objects = |it: Option<&HealthModel>| owned(it.into_iter().flat_map(HealthModel::objects));
        let (before, now) = (objects(old), objects(self.health.get(reference).map(Arc::as_ref)));
        retarget(&mut self.health_by_target, reference, &before, &now);
        touched.keys.extend(before.into_iter().chain(now).map(Key::Object));
        touched.nodes.push(Node::Health(reference.clone()));
    }

    /// Whom it governs learns of it from its own computation.
    pub(super) fn move_authorization(
        &mut self,
        reference: &ObjectRef,
        old: Option<&AuthorizationModel>,
        touched: &mut Touched,
    ) {
        let objects = |it: Option<&AuthorizationModel>| owned(it.into_iter().flat_map(|it| it.objects()));
        let (before, now) = (objects(old), objects(self.authorizations.get(reference).map(Arc::as_ref)));
        retarget(&mut self.authorizations_by_target, reference, &before, &now);
        touched.nodes.push(Node::Authorization(reference.clone()));
    }

    /// A policy is part of what is known of whom it governs.
    pub(super) fn move_authentication(
        &mut self,
        reference: &ObjectRef,
        old: Option<&AuthenticationModel>,
        touched: &mut Touched,
    ) {
        let new = self.authentications.get(reference).cloned();
        let objects = |it: Option<&AuthenticationModel>| owned(it.into_iter().flat_map(|it| it.objects()));
        let (before, now) = (objects(old), objects(new.as_deref()));
        retarget(&mut self.authentications_by_target, reference, &before, &now);
        touched.keys.extend(before.into_iter().chain(now).map(Key::AuthenticationOf));
        if old.into_iter().chain(new.as_deref()).any(AuthenticationModel::is_for_workloads) {
            touched.keys.push(Key::AuthenticationIn(reference.namespace.clone()));
        }
        touched.nodes.push(Node::Authentication(reference.clone()));
    }

    /// The AuthorizationPolicies that name a Gateway or GatewayClass.
    pub(crate) fn authorizations_of(&self, target: &ObjectRef) -> impl Iterator<Item = &ObjectRef> {
        self.authorizations_by_target.get(target).into_iter().flatten()
    }

    /// The RequestAuthentications that name a Gateway or GatewayClass, oldest first, then by name.
    pub(crate) fn authentications_of(&self, target: &ObjectRef) -> Vec<&Arc<AuthenticationModel>> {
        targeting(&self.authentications, &self.authentications_by_target, target, |it| &it.meta)
    }

    /// The RequestAuthentications of a namespace that govern workloads, oldest first, then by name.
    pub(crate) fn authentications_in(&self, namespace: &str) -> Vec<&Arc<AuthenticationModel>> {
        let all = of_namespace(&self.authentications, Kind::RequestAuthentication, namespace);
        oldest_first(all.filter(|it| it.is_for_workloads()), |it| &it.meta)
    }

    /// The policies that target a Service or ServiceEntry, oldest first, then by name: the order in which they win.
    pub(crate) fn policies_of(&self, object: &ObjectRef) -> Vec<&Arc<PolicyModel>> {
        targeting(&self.policies, &self.policies_by_target, object, |it| &it.meta)
    }

    /// The TrafficPolicies that target an object or a section of it, oldest first, then by name: the order in which they
    /// win.
    pub(crate) fn traffic_of(&self, target: &ObjectRef) -> Vec<&Arc<TrafficModel>> {
        targeting(&self.traffic, &self.traffic_by_target, target, |it| &it.meta)
    }

    /// The HealthCheckPolicies that target an object or a port of it, oldest first, then by name: the order in which they
    /// win.
    pub(crate) fn health_of(&self, target: &ObjectRef) -> Vec<&Arc<HealthModel>> {
        targeting(&self.health, &self.health_by_target, target, |it| &it.meta)
    }
}

fn owned<'a>(objects: impl Iterator<Item = &'a ObjectRef>) -> Vec<ObjectRef> {
    objects.cloned().collect()
}

/// Notes that a policy targets other objects now.
fn retarget(index: &mut ByTarget, policy: &ObjectRef, before: &[ObjectRef], now: &[ObjectRef]) {
    for object in before {
        reindex(index, policy, Some(object), None);
    }
    for object in now {
        reindex(index, policy, None, Some(object));
    }
}

/// The policies that target an object, oldest first, then by name.
fn targeting<'a, T>(
    all: &'a Map<T>,
    index: &'a ByTarget,
    object: &ObjectRef,
    meta: impl Fn(&T) -> &Meta,
) -> Vec<&'a Arc<T>> {
    let references = index.get(object).into_iter().flatten();
    oldest_first(references.filter_map(|it| all.get(it)), meta)
}
