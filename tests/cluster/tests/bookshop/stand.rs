//! What these tests share: the example's manifests in a namespace, calls by its curl, a Sluice for all of them.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use sluice_cluster_tests::{BACKENDS, Channel, Space, eventually, shared};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

/// The namespace that the example's manifests name.
pub(crate) const SHOP: &str = "bookshop";
/// What productpage calls.
pub(crate) const REVIEWS: &str = "http://reviews:9080/";

/// The example in a namespace of a cluster.
pub(crate) struct Shop {
    pub(crate) space: Arc<Space>,
    pub(crate) namespace: String,
}

/// A test with the example's workloads in a namespace of their own, with sidecars from their start, in a cluster that such tests
/// share.
pub(crate) fn meshed(test: impl AsyncFnOnce(Shop)) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    shared(async |space: Space| {
        INSTALLED.get_or_init(async || space.install_sluice(&[]).await.expect("an installed Sluice")).await;
        let namespace = space.namespace.clone();
        let shop = Shop { space: Arc::new(space), namespace };
        shop.label().await;
        shop.apply("apps.yaml").await;
        shop.rolled_out().await;
        shop.answers("productpage", &[REVIEWS], 200).await;
        test(shop).await;
    });
}

impl Shop {
    /// The example as it is written, in a cluster where Sluice is installed; nobody has a sidecar yet.
    pub(crate) async fn open(space: Space) -> Self {
        let shop = Self { space: Arc::new(space), namespace: SHOP.to_owned() };
        shop.apply("namespace.yaml").await;
        shop.apply("apps.yaml").await;
        shop.rolled_out().await;
        shop
    }

    /// The same in another namespace, which is made and has none of the example's objects yet.
    pub(crate) async fn beside(&self, namespace: &str) -> Self {
        self.space.make_namespace(namespace).await.unwrap();
        Self { space: self.space.clone(), namespace: namespace.to_owned() }
    }

    /// A manifest of the example, for the namespace of this shop.
    pub(crate) fn file(&self, name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mesh-bookshop");
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let names = [("namespace: ", "}"), ("namespace: ", "\n"), ("/ns/", "/"), ("  name: ", "\n")];
        names.iter().fold(text, |text, (before, after)| {
            text.replace(&format!("{before}{SHOP}{after}"), &format!("{before}{}{after}", self.namespace))
        })
    }

    /// Applies a manifest of the example.
    pub(crate) async fn apply(&self, name: &str) {
        self.space.apply(&self.file(name)).await;
    }

    /// Objects of a kind in the shop.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.space.client.clone(), &self.namespace)
    }

    /// A pod with these labels that is not on its way out.
    pub(crate) async fn pod(&self, labels: &str) -> Result<Pod> {
        let pods = self.api::<Pod>().list(&ListParams::default().labels(labels)).await?.items;
        pods.into_iter().find(|it| it.metadata.deletion_timestamp.is_none()).context("no pod")
    }

    /// Status and body of what curl was answered in a pod of an app; status 0: the connection failed.
    pub(crate) async fn curl(&self, app: &str, arguments: &[&str]) -> Result<(u16, String)> {
        let mut command = vec!["curl", "-s", "-m", "10", "-w", "\n%{http_code}"];
        command.extend(arguments);
        let said = self.exec(app, &command).await?;
        let (body, status) = said.rsplit_once('\n').context(said.clone())?;
        Ok((status.parse().with_context(|| said.clone())?, body.to_owned()))
    }

    /// What a command printed in the container `curl` of an app.
    pub(crate) async fn exec(&self, app: &str, command: &[&str]) -> Result<String> {
        let pod = self.pod(&format!("app={app}")).await?.name_any();
        Ok(self.space.cluster.exec((&self.namespace, &pod, "curl"), command).await?.1)
    }

    /// [`Shop::curl`] until the status is this one.
    pub(crate) async fn answers(&self, app: &str, arguments: &[&str], wanted: u16) -> String {
        eventually(&format!("{app} {arguments:?}: {wanted}"), async || {
            let (status, body) = self.curl(app, arguments).await?;
            if status == wanted { Ok(body) } else { bail!("{status} {body}") }
        })
        .await
    }

    /// Waits until all Deployments are as they should be.
    pub(crate) async fn rolled_out(&self) {
        let deployments = self.api::<Deployment>();
        eventually("finished rollouts", async || {
            for deployment in deployments.list(&ListParams::default()).await?.items {
                let (spec, status) = (
                    deployment.spec.clone().unwrap_or_default(),
                    deployment.status.clone().unwrap_or_default(),
                );
                let is_done = status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas == spec.replicas
                    && status.available_replicas == spec.replicas
                    && status.replicas == spec.replicas;
                if !is_done {
                    bail!("{}: {status:?}", deployment.name_any());
                }
            }
            anyhow::Ok(())
        })
        .await;
    }

    /// `kubectl label namespace`; ready when the API server knows and new pods get sidecars.
    pub(crate) async fn label(&self) {
        let namespaces: Api<Namespace> = Api::all(self.space.client.clone());
        let label = json!({"metadata": {"labels": {"istio-injection": "enabled"}}});
        namespaces.patch(&self.namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
        let probe = json!({"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "app", "image": "curl"}]}});
        let probe: Pod = serde_json::from_value(probe).unwrap();
        eventually("new pods get sidecars", async || {
            let how = PostParams { dry_run: true, ..PostParams::default() };
            let made = self.api::<Pod>().create(&how, &probe).await?;
            let inits = made.spec.and_then(|it| it.init_containers).unwrap_or_default();
            if inits.is_empty() { bail!("none yet") } else { Ok(()) }
        })
        .await;
    }

    /// `kubectl rollout restart deployment`; `when` differs from one time to the next.
    pub(crate) async fn restart(&self, name: &str, when: &str) {
        let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": when}}}}});
        self.api::<Deployment>().patch(name, &PatchParams::default(), &Patch::Merge(restart)).await.unwrap();
    }

    /// Labels the namespace and restarts everything.
    pub(crate) async fn join_the_mesh(&self) {
        self.label().await;
        for deployment in self.api::<Deployment>().list(&ListParams::default()).await.unwrap().items {
            self.restart(&deployment.name_any(), "now").await;
        }
        self.rolled_out().await;
    }
}

/// Something outside of the mesh, at an address of its own.
pub(crate) async fn publisher(last: u8) -> SocketAddr {
    let listener = TcpListener::bind((outside(last), 80)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 2048];
                let _ = stream.read(&mut head).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere")
                    .await;
            });
        }
    });
    address
}

/// An address that no pod and no Service has.
pub(crate) fn outside(last: u8) -> Ipv4Addr {
    let [a, b, ..] = BACKENDS.octets();
    Ipv4Addr::new(a, b, 77, last)
}

/// Makes the kinds known where Sluice is to be installed.
pub(crate) async fn prepared(space: &Space) {
    space.cluster.install_crds(Channel::Experimental).await.unwrap();
}
