//! Server-side apply of an installation's objects, one after the other, and removal of what is left of an earlier one.
//!
//! Safe to repeat: what is as it should be stays untouched, and a field that somebody else has set is never taken from
//! them without `--force-conflicts`.

use super::manifests::{CONTROLLER, MANAGED_BY, Manifest, PART_OF};
use crate::cluster::{self, resource};
use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use std::fmt;
use std::time::{Duration, Instant};

/// The name under which fields are owned.
const FIELD_MANAGER: &str = "sluice-cli";

/// How long the API server may take to serve a new CRD.
const CRD_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks.
pub(super) const POLL: Duration = Duration::from_millis(200);

/// Kinds that an installation can hold, besides namespaces and CRDs, in the order of removal.
pub(super) const KINDS: [(&str, &str); 13] = [
    // First: pods must not wait for a controller that goes.
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "GatewayClass"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("v1", "ServiceAccount"),
    ("sluice.dev/v1alpha1", "GatewayParameters"),
];

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was different.
    Changed,
    /// It was as it should be.
    Unchanged,
    /// A namespace that somebody else made: used as it is.
    Foreign,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created   ",
            Self::Changed => "changed   ",
            Self::Unchanged => "unchanged ",
            Self::Foreign => "used as is",
        })
    }
}

/// Applies and prunes.
pub struct Applier {
    client: Client,
    how: PatchParams,
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("how", &self.how).finish_non_exhaustive()
    }
}

impl Applier {
    /// `force` takes fields over from others.
    pub fn new(client: Client, force: bool) -> Self {
        let mut how = PatchParams::apply(FIELD_MANAGER);
        how.force = force;
        Self { client, how }
    }

    /// Fails when a controller is installed in another namespace: two would share cluster-wide objects.
    pub async fn refuse_a_second(&self, namespace: &str) -> anyhow::Result<()> {
        let api: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        let Some(binding) = api.get_opt(CONTROLLER).await.map_err(cluster::told)? else { return Ok(()) };
        let other = binding.subjects.unwrap_or_default().into_iter().filter_map(|it| it.namespace);
        match other.into_iter().find(|it| it != namespace) {
            Some(other) => bail!(
                "Sluice is installed in the namespace {other}; use --namespace {other}, or run sluice uninstall first"
            ),
            None => Ok(()),
        }
    }

    /// Applies one object; a CRD is awaited until it is served.
    pub async fn apply(&self, manifest: &Manifest) -> anyhow::Result<Outcome> {
        let api = self.api(manifest)?;
        let name = manifest.name();
        let told = |error| cluster::told(error).context(format!("can't apply {}", manifest.title()));
        let before = api.get_opt(name).await.map_err(told)?;
        if let Some(found) = &before
            && manifest.kind() == "Namespace"
            && !is_ours(found)
        {
            return Ok(Outcome::Foreign);
        }
        let after = match api.patch(name, &self.how, &Patch::Apply(&manifest.0)).await {
            Ok(after) => after,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                return Err(anyhow!("{}; --force-conflicts takes them over", status.message))
                    .with_context(|| format!("can't apply {}", manifest.title()));
            }
            Err(error) => return Err(told(error)),
        };
        if manifest.kind() == "CustomResourceDefinition" {
            self.until_served(name).await?;
        }
        let Some(before) = before else { return Ok(Outcome::Created) };
        Ok(if is_same(before, after) { Outcome::Unchanged } else { Outcome::Changed })
    }

    /// Removes labelled objects that are not among these; namespaces and CRDs stay. Returns their titles.
    pub async fn prune(&self, manifests: &[Manifest]) -> anyhow::Result<Vec<String>> {
        let kept: Vec<String> = manifests.iter().map(Manifest::title).collect();
        let mut removed = Vec::new();
        for found in installed(&self.client).await? {
            let title = found.title();
            if !kept.contains(&title) && delete(&self.client, &found).await? {
                removed.push(title);
            }
        }
        Ok(removed)
    }

    async fn until_served(&self, name: &str) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let begin = Instant::now();
        loop {
            let crd = api.get(name).await.map_err(cluster::told)?;
            let conditions = crd.status.and_then(|it| it.conditions).unwrap_or_default();
            if conditions.iter().any(|it| it.type_ == "Established" && it.status == "True") {
                return Ok(());
            }
            if begin.elapsed() > CRD_DEADLINE {
                bail!(
                    "the API server does not serve {name} after {CRD_DEADLINE:?}; kubectl describe crd {name}"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn api(&self, manifest: &Manifest) -> anyhow::Result<Api<DynamicObject>> {
        api_of(&self.client, manifest)
    }
}

/// Whether an apply changed anything but the server's own notes. The version alone does not tell: the server writes an
/// object of a CRD again when only defaults were added to it.
fn is_same(mut before: DynamicObject, mut after: DynamicObject) -> bool {
    for object in [&mut before, &mut after] {
        object.metadata.managed_fields = None;
        object.metadata.resource_version = None;
        if let Some(data) = object.data.as_object_mut() {
            data.remove("status");
        }
    }
    before == after
}

/// The API of an object's kind, in its namespace.
pub(super) fn api_of(client: &Client, manifest: &Manifest) -> anyhow::Result<Api<DynamicObject>> {
    let resource = resource(manifest.api_version(), manifest.kind())?;
    Ok(match manifest.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

/// The labels of everything that is installed, as a selector.
pub(super) fn selector() -> String {
    format!("{}={},{}={}", PART_OF.0, PART_OF.1, MANAGED_BY.0, MANAGED_BY.1)
}

/// Whether the object carries the labels.
pub(super) fn is_ours(object: &DynamicObject) -> bool {
    let has = |(label, value): (&str, &str)| object.labels().get(label).is_some_and(|it| it == value);
    has(PART_OF) && has(MANAGED_BY)
}

/// Every labelled object except namespaces and CRDs, in the order of removal.
pub(super) async fn installed(client: &Client) -> anyhow::Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for (api_version, kind) in KINDS {
        found.extend(labelled(client, api_version, kind).await?);
    }
    Ok(found)
}

/// The labelled objects of a kind; none when the cluster does not have the kind.
pub(super) async fn labelled(
    client: &Client,
    api_version: &str,
    kind: &str,
) -> anyhow::Result<Vec<Manifest>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(api_version, kind)?);
    let listed = match api.list_metadata(&ListParams::default().labels(&selector())).await {
        Ok(listed) => listed,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => {
            return Err(cluster::told(error).context(format!("can't list objects of the kind {kind}")));
        }
    };
    let manifest = |object: kube::core::PartialObjectMeta<DynamicObject>| {
        let mut value = serde_json::json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": object.name_any() } });
        if let Some(namespace) = object.namespace() {
            value["metadata"]["namespace"] = namespace.into();
        }
        Manifest(value)
    };
    Ok(listed.items.into_iter().map(manifest).collect())
}

/// Deletes with everything that hangs on it; false when it was gone.
pub(super) async fn delete(client: &Client, manifest: &Manifest) -> anyhow::Result<bool> {
    match api_of(client, manifest)?.delete(manifest.name(), &DeleteParams::background()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(cluster::told(error).context(format!("can't delete {}", manifest.title()))),
    }
}
