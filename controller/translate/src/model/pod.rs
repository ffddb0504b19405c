//! A Pod with a sidecar: which workload it is, and where.

use sluice_crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use sluice_crds::{Kind, Name, ObjectRef, Pod};
use sluice_ir::Workload;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Label of pods that have a sidecar, with its value (Istio).
const SIDECAR: (&str, &str) = ("security.istio.io/tlsMode", "istio");
/// Label with the hash of a ReplicaSet's template, which ends its name.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A Pod that has a sidecar and runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodModel {
    pub(crate) reference: ObjectRef,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// As clients see it that speak the mesh's TLS to it.
    pub(crate) workload: Arc<Workload>,
    /// Of two pods with one address the one counts that does not end, then the newer one.
    pub(crate) is_ending: bool,
    pub(crate) created_s: i64,
}

impl PodModel {
    /// `None`: it has no sidecar, or has ended, so that its address may be another's.
    pub(crate) fn read(it: &Pod) -> Option<Self> {
        let labels = it.metadata.labels.clone().unwrap_or_default();
        let status = it.status.as_ref();
        let phase = status.and_then(|it| it.phase.as_deref());
        if !has_sidecar(&labels) || matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let meta = super::Meta::read(Kind::Pod, &it.metadata);
        let all = status.into_iter().flat_map(|it| it.pod_ips.iter().flatten()).map(|it| it.ip.as_str());
        let first = status.and_then(|it| it.pod_ip.as_deref());
        let mut addresses: Vec<IpAddr> = all.chain(first).filter_map(|it| it.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let account = it.spec.as_ref().and_then(|it| it.service_account_name.clone());
        let owner = it.metadata.owner_references.iter().flatten().find(|it| it.controller == Some(true));
        let name = owner.map_or_else(|| meta.reference.name.to_string(), |it| maker(it, &labels));
        Some(Self {
            workload: Arc::new(workload(&meta.reference.namespace, account, name, &labels)),
            labels,
            addresses,
            is_ending: it.metadata.deletion_timestamp.is_some(),
            created_s: meta.created_s,
            reference: meta.reference,
        })
    }
}

/// Whether clients may speak the mesh's TLS to who has these labels.
pub(crate) fn has_sidecar(labels: &BTreeMap<String, String>) -> bool {
    labels.get(SIDECAR.0).is_some_and(|it| it == SIDECAR.1)
}

/// A workload with a sidecar, by its labels.
pub(crate) fn workload(
    namespace: &Name,
    account: Option<String>,
    name: String,
    labels: &BTreeMap<String, String>,
) -> Workload {
    let label = |name: &str| labels.get(name).filter(|it| !it.is_empty()).cloned();
    let (app, version) = (label("app"), label("version"));
    let service = label("service.istio.io/canonical-name").or_else(|| label("app.kubernetes.io/name"));
    let revision =
        label("service.istio.io/canonical-revision").or_else(|| label("app.kubernetes.io/version"));
    Workload {
        namespace: namespace.to_string(),
        service_account: account.filter(|it| !it.is_empty()).unwrap_or_else(|| "default".to_owned()),
        canonical_service: service.or_else(|| app.clone()).unwrap_or_else(|| name.clone()),
        canonical_revision: revision.or_else(|| version.clone()).unwrap_or_else(|| "latest".to_owned()),
        name,
        app: app.unwrap_or_default(),
        version: version.unwrap_or_default(),
        mutual_tls: true,
    }
}

/// Name of what made the pod, as people know it: the Deployment of a ReplicaSet, the CronJob of a Job.
fn maker(owner: &OwnerReference, labels: &BTreeMap<String, String>) -> String {
    let name = owner.name.as_str();
    let stem = match owner.kind.as_str() {
        "ReplicaSet" => labels.get(TEMPLATE_HASH).and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-')),
        // The time that it was meant for, in minutes since 1970.
        "Job" => name
            .rsplit_once('-')
            .filter(|(_, end)| end.len() >= 8 && end.bytes().all(|it| it.is_ascii_digit()))
            .map(|it| it.0),
        _ => None,
    };
    stem.unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::PodModel;
    use serde_json::{Value, json};
    use sluice_crds::{Object, Parsed};

    fn pod(owner: Value, labels: Value, phase: &str) -> Option<PodModel> {
        let mut all = json!({"security.istio.io/tlsMode": "istio"});
        all.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "cart-6d5f-x", "namespace": "shop", "labels": all, "ownerReferences": [owner]},
            "spec": {"containers": [], "serviceAccountName": "cart"},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "phase": phase}});
        let Ok(Parsed::Known { object: Object::Pod(pod), .. }) = Object::parse(value, "default") else {
            panic!()
        };
        PodModel::read(&pod)
    }

    fn owner(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "1", "controller": true})
    }

    #[test]
    fn a_workload_has_the_name_of_what_people_made() {
        let it = pod(
            owner("ReplicaSet", "cart-6d5f"),
            json!({"pod-template-hash": "6d5f", "app": "cart"}),
            "Running",
        );
        let it = it.unwrap();
        assert_eq!((it.workload.name.as_str(), it.addresses.len()), ("cart", 2));
        assert_eq!(it.workload.spiffe_id("cluster.local"), "spiffe://cluster.local/ns/shop/sa/cart");
        assert_eq!((&*it.workload.canonical_service, &*it.workload.canonical_revision), ("cart", "latest"));
        let named = |kind: &str, name: &str| {
            pod(owner(kind, name), json!({}), "Running").unwrap().workload.name.clone()
        };
        assert_eq!(named("Job", "report-28976543"), "report");
        assert_eq!(named("Job", "report-once"), "report-once");
        assert_eq!(named("StatefulSet", "db"), "db");
    }

    #[test]
    fn a_pod_that_has_ended_is_nobody() {
        assert!(pod(owner("Job", "report"), json!({}), "Succeeded").is_none());
        assert!(
            pod(owner("Job", "report"), json!({"security.istio.io/tlsMode": "disabled"}), "Running")
                .is_none()
        );
    }
}
