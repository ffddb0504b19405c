//! What a test gets: a namespace in a cluster, and the calls that tests make again and again.

use crate::cluster::Cluster;
use crate::install::Channel;
use crate::network::Network;
use crate::wait::eventually;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, NamespaceResourceScope};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

static SHARED: OnceLock<Arc<Cluster>> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Runs a test in a namespace of the cluster that all tests of this binary share. The CRDs of the experimental channel
/// are installed there.
pub fn shared(test: impl AsyncFnOnce(Space)) {
    let cluster = SHARED.get_or_init(|| Arc::new(Cluster::start().expect("a cluster")));
    run(cluster.clone(), async |space: Space| {
        static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        INSTALLED
            .get_or_init(async || space.cluster.install_crds(Channel::Experimental).await.expect("CRDs"))
            .await;
        test(space).await;
    });
}

/// Runs a test with a cluster of its own, without CRDs.
pub fn own(test: impl AsyncFnOnce(Space)) {
    run(Arc::new(Cluster::start().expect("a cluster")), test);
}

/// The test's thread and its runtime are in the cluster's network until the test ends.
fn run(cluster: Arc<Cluster>, test: impl AsyncFnOnce(Space)) {
    let _back = Back(Network::current().expect("the network of this thread"));
    cluster.network().enter().expect("the cluster's network");
    let runtime = cluster.network().runtime("test", 2).expect("a runtime");
    runtime.block_on(async {
        let space = Space::new(cluster).await.expect("a namespace");
        test(space).await;
    });
    runtime.shutdown_background();
}

/// Brings the thread back to where it was: the test harness may run more tests on it.
struct Back(Network);

impl Drop for Back {
    fn drop(&mut self) {
        // In a user namespace the way back to the machine's network is closed; nothing there was used before.
        let _ = self.0.enter();
    }
}

/// A namespace of a test's own.
pub struct Space {
    /// The cluster that it is in.
    pub cluster: Arc<Cluster>,
    /// Its name.
    pub namespace: String,
    /// May do everything, everywhere.
    pub client: Client,
}

impl Space {
    async fn new(cluster: Arc<Cluster>) -> Result<Self> {
        let client = cluster.client()?;
        let namespace = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let space = Self { cluster, namespace, client };
        space.make_namespace(&space.namespace).await?;
        Ok(space)
    }

    /// Makes a namespace and waits until pods can be made in it.
    pub async fn make_namespace(&self, name: &str) -> Result<()> {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        eventually("the default service account", async || accounts.get("default").await).await;
        Ok(())
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies every document of a text by server-side apply. Without a namespace an object goes to this one.
    pub async fn apply(&self, yaml: &str) -> Vec<DynamicObject> {
        self.try_apply(yaml).await.expect("objects that the API server takes")
    }

    /// [`Space::apply`], with what the API server refuses as an error.
    pub async fn try_apply(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        let mut applied = Vec::new();
        for object in documents(yaml)? {
            let api = self.api_of(&object).await?;
            let name = object.name_any();
            let how = PatchParams::apply("sluice-cluster-tests").force();
            applied
                .push(api.patch(&name, &how, &Patch::Apply(&object)).await.with_context(|| named(&object))?);
        }
        Ok(applied)
    }

    /// Deletes every object that a text names, if it is there.
    pub async fn delete(&self, yaml: &str) {
        for object in documents(yaml).expect("valid YAML") {
            let api = self.api_of(&object).await.expect("a known kind");
            match api.delete(&object.name_any(), &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => panic!("deleting {}: {error}", named(&object)),
            }
        }
    }

    /// Reads an object of the namespace until the condition holds, and returns it as it is then.
    pub async fn until<K>(&self, what: &str, name: &str, mut holds: impl FnMut(&K) -> bool) -> K
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api = self.api::<K>();
        eventually(what, async || {
            let object = api.get(name).await?;
            if holds(&object) { Ok(object) } else { bail!("{name} is {object:?}") }
        })
        .await
    }

    async fn api_of(&self, object: &DynamicObject) -> Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("apiVersion and kind")?;
        let kind = GroupVersionKind::try_from(types)?;
        let (resource, capabilities) =
            pinned_kind(&self.client, &kind).await.with_context(|| named(object))?;
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.namespace().unwrap_or_else(|| self.namespace.clone());
                Api::namespaced_with(self.client.clone(), &namespace, &resource)
            }
        })
    }
}

fn documents(yaml: &str) -> Result<Vec<DynamicObject>> {
    let values: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    values
        .into_iter()
        .filter(|value| !value.is_null())
        .map(|value| Ok(serde_json::from_value(value)?))
        .collect()
}

fn named(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    format!("{kind} {}", object.name_any())
}
