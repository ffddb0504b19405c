//! From a plan to the objects that a Gateway runs on (GEP-1762): pure, so that every byte can be tested.
//!
//! All of them are in the Gateway's namespace, belong to it by an owner reference (so that the cluster's garbage
//! collector ends them with it), and carry its name as label. What a user's patches say is merged last, but for what
//! makes the objects ours: names, owners, labels and selectors.

mod deployment;
mod scaling;
mod service;

use super::kinds::OwnedKind;
use super::overlay;
use crate::names;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use sluice_crds::ServiceType;
use sluice_translate::{GatewayPlan, Management, ServicePlan};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Label of everything that the provisioner makes; it watches by it.
pub(super) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Field manager, and value of [`MANAGED_BY_LABEL`].
pub(super) const MANAGER: &str = "sluice-controller";
/// Annotation that says which version of an object was applied last.
pub(super) const HASH_ANNOTATION: &str = "sluice.dev/applied";
/// Key of the certificate in its ConfigMap.
pub(super) const CA_KEY: &str = "ca.crt";

/// What the objects of every Gateway have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// Image of the data planes whose parameters name none.
    pub image: String,
    /// Where the data planes find the controller: `https://sluice-controller.sluice-system.svc:15010`.
    pub controller: String,
    /// PEM of the authority that vouches for the controller; nothing is made before it is known.
    pub ca: String,
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// What it is.
    pub kind: OwnedKind,
    /// In the Gateway's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole object, as it is applied.
    pub value: Value,
    /// Of the value without the annotation that holds it.
    pub hash: String,
}

/// The objects of a Gateway. `cluster_ips` are those of the requested addresses that a Service of type ClusterIP can
/// have. A Gateway without a port has no Service; one that is there stays, and keeps its address.
pub fn desired(plan: &GatewayPlan, common: &Common, cluster_ips: &[IpAddr]) -> Vec<Desired> {
    let making = Making { plan, common, name: names::infrastructure(&plan.reference.name, &plan.class) };
    let mut objects = vec![making.ca()];
    if let Management::Managed(workload) = &plan.management {
        let patches = workload.patches.clone().unwrap_or_default();
        objects.push(making.patched(OwnedKind::ServiceAccount, making.account(), patches.service_account));
        let deployment = deployment::deployment(&making, workload);
        objects.push(making.patched(OwnedKind::Deployment, deployment, patches.deployment));
        if !plan.ports.is_empty() {
            let service = service::service(&making, &workload.service, cluster_ips);
            objects.push(making.patched(OwnedKind::Service, service, patches.service));
        }
        if let Some(it) = &workload.autoscaling {
            let object = scaling::autoscaler(&making, it);
            let patch = patches.horizontal_pod_autoscaler;
            objects.push(making.patched(OwnedKind::HorizontalPodAutoscaler, object, patch));
        }
        if let Some(it) = &workload.disruption {
            let object = scaling::budget(&making, it);
            let patch = patches.pod_disruption_budget;
            objects.push(making.patched(OwnedKind::PodDisruptionBudget, object, patch));
        }
    }
    objects.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    objects
}

/// A Service that holds a cluster IP for a moment, to see whether it can be had: the way to no pod, and not among the
/// objects that are watched, but the Gateway's own, should it be forgotten.
pub(super) fn probe(plan: &GatewayPlan, common: &Common, address: IpAddr) -> Value {
    let name = format!("{}-probe", names::infrastructure(&plan.reference.name, &plan.class));
    let making = Making { plan, common, name };
    let service = ServicePlan { r#type: ServiceType::ClusterIP, ..ServicePlan::default() };
    let mut object = service::service(&making, &service, &[address]);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("labels");
        metadata.remove("annotations");
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("selector");
    }
    object
}

/// One Gateway's objects in the making.
struct Making<'a> {
    plan: &'a GatewayPlan,
    common: &'a Common,
    /// Of all but the ConfigMap.
    name: String,
}

impl Making<'_> {
    /// What the Service's and Deployment's pods are found by. Of both, as a Gateway that changes its class has the data
    /// planes of both for a moment.
    fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (names::GATEWAY_NAME_LABEL.to_owned(), names::label_value(&self.plan.reference.name)),
            (names::GATEWAY_CLASS_LABEL.to_owned(), names::label_value(&self.plan.class)),
        ])
    }

    /// Labels of everything: the Gateway's own (GEP-1867), and above them those that make it ours.
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.plan.labels.clone();
        labels.retain(|name, _| !name.starts_with("gateway.networking.k8s.io/"));
        labels.extend(self.selector());
        let ours = [
            ("app.kubernetes.io/name", "sluice-gateway"),
            ("app.kubernetes.io/instance", &self.name),
            ("app.kubernetes.io/part-of", "sluice"),
            (MANAGED_BY_LABEL, MANAGER),
        ];
        labels.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels
    }

    fn metadata(&self, name: &str) -> Value {
        let gateway = &self.plan.reference;
        let mut metadata = json!({
            "name": name,
            "namespace": &*gateway.namespace,
            "labels": self.labels(),
        });
        if !self.plan.annotations.is_empty() {
            metadata["annotations"] = json!(self.plan.annotations);
        }
        if let Some(uid) = &self.plan.uid {
            // Without blockOwnerDeletion, which would need the right to update finalizers of Gateways.
            metadata["ownerReferences"] = json!([{
                "apiVersion": gateway.kind.api_version(),
                "kind": gateway.kind.name(),
                "name": &*gateway.name,
                "uid": uid,
                "controller": true,
            }]);
        }
        metadata
    }

    /// The certificate of the controller's authority: an object of the Gateway's own, so that it goes with it.
    fn ca(&self) -> Desired {
        let name = ca_name(&self.name);
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self.metadata(&name),
            "data": {CA_KEY: self.common.ca},
        });
        self.patched(OwnedKind::ConfigMap, object, Map::new())
    }

    fn account(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self.metadata(&self.name),
            "automountServiceAccountToken": false,
        })
    }

    /// The object with a user's patch merged in, and what makes it ours put back.
    fn patched(&self, kind: OwnedKind, object: Value, patch: Map<String, Value>) -> Desired {
        let mut value = object.clone();
        if !patch.is_empty() {
            overlay::merge(&mut value, &Value::Object(patch));
            let kept: &[&str] = match kind {
                OwnedKind::Deployment => &["/spec/selector"],
                OwnedKind::Service => &["/spec/selector"],
                OwnedKind::PodDisruptionBudget => &["/spec/selector"],
                OwnedKind::HorizontalPodAutoscaler => &["/spec/scaleTargetRef"],
                OwnedKind::ServiceAccount | OwnedKind::ConfigMap => &[],
            };
            let always = [
                "/apiVersion",
                "/kind",
                "/metadata/name",
                "/metadata/namespace",
                "/metadata/ownerReferences",
            ];
            for path in always.iter().chain(kept) {
                overlay::restore(&mut value, &object, path);
            }
            let labels = json!(self.labels());
            overlay::merge(&mut value, &json!({"metadata": {"labels": labels}}));
            if kind == OwnedKind::Deployment {
                let labels = json!(self.selector());
                overlay::merge(&mut value, &json!({"spec": {"template": {"metadata": {"labels": labels}}}}));
            }
        }
        let hash = hash(&value);
        overlay::merge(&mut value, &json!({"metadata": {"annotations": {HASH_ANNOTATION: hash}}}));
        let name = value["metadata"]["name"].as_str().unwrap_or(&self.name).to_owned();
        Desired { kind, namespace: self.plan.reference.namespace.to_string(), name, value, hash }
    }
}

/// Name of the ConfigMap with the certificate of the controller's authority.
fn ca_name(name: &str) -> String {
    format!("{name}-ca")
}

/// Twenty digits of a hash of the object. Maps are sorted, so that equal objects have equal text.
fn hash(value: &Value) -> String {
    let mut text = String::with_capacity(20);
    for byte in Sha256::digest(value.to_string().as_bytes()).iter().take(10) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
