//! A control plane that answers: started, stopped and asked.

use crate::assets::Assets;
use crate::certificates::Certificates;
use crate::hosts::Hosts;
use crate::install::{Channel, install};
use crate::kubelet::{Addresses, Entries, Kubelet, Logs, Processes};
use crate::network::Network;
use crate::servers::{Server, api_server, controller_manager, etcd};
use crate::services::Services;
use crate::{DEADLINE, directory};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use sluice_tests::{Ask, Wire};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// etcd, kube-apiserver and kube-controller-manager in a network of their own. All end when it is dropped.
pub struct Cluster {
    network: Network,
    runtime: Option<Runtime>,
    parts: Arc<Parts>,
}

/// What the background tasks share.
struct Parts {
    assets: Assets,
    certificates: Certificates,
    directory: TempDir,
    logs: Logs,
    processes: Processes,
    entries: Entries,
    servers: Mutex<Servers>,
}

#[derive(Default)]
struct Servers {
    etcd: Option<Server>,
    api_server: Option<Server>,
    controller_manager: Option<Server>,
}

impl Cluster {
    /// Starts one and waits until it answers. Blocks; call it outside of any runtime.
    pub fn start() -> Result<Self> {
        // Whoever built rustls with more than one provider has to name one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let assets = Assets::find()?;
        let directory = directory::create()?;
        let certificates = Certificates::create(&directory.path().join("certificates"))?;
        let network = Network::of_cluster()?;
        let runtime = network.runtime("cluster", 2)?;
        let parts = Arc::new(Parts {
            assets,
            certificates,
            directory,
            logs: Logs::default(),
            processes: Processes::default(),
            entries: Entries::default(),
            servers: Mutex::default(),
        });
        let started = (parts.clone(), network.clone());
        // On a worker: a process ends with the thread that started it.
        runtime.block_on(runtime.spawn(async move { started.0.start(started.1).await }))??;
        Ok(Self { network, runtime: Some(runtime), parts })
    }

    /// A client that may do everything. Use it inside the cluster's network only.
    pub fn client(&self) -> Result<Client> {
        self.parts.client()
    }

    /// The kubeconfig of [`Cluster::client`], for processes.
    pub fn kubeconfig(&self) -> PathBuf {
        self.parts.certificates.file("admin.kubeconfig").into()
    }

    /// A kubeconfig of a service account, which may do what RBAC lets it.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.context("a token")?.token;
        let path = self.folder().join(format!("{namespace}.{account}.kubeconfig"));
        tokio::fs::write(&path, self.parts.certificates.kubeconfig(namespace, &json!({"token": token})))
            .await?;
        Ok(path)
    }

    /// The network that everything of this cluster is in.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Programs and CRDs that the cluster was made of.
    pub fn assets(&self) -> &Assets {
        &self.parts.assets
    }

    /// Temporary files, gone with the cluster.
    pub fn folder(&self) -> &Path {
        self.parts.directory.path()
    }

    /// Everything that the containers of a pod wrote.
    pub fn log(&self, namespace: &str, pod: &str) -> String {
        self.parts.logs.of_pod(namespace, pod)
    }

    /// Runs a command in a container and returns its exit code and what it printed. As `kubectl exec`, but for the API
    /// server's part.
    pub async fn exec(
        &self,
        (namespace, pod, container): (&str, &str, &str),
        command: &[&str],
    ) -> Result<(i32, String)> {
        let entry = self.parts.entries.of(namespace, pod, container).context("no such container")?;
        let output = entry.output(command).await?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code().unwrap_or(-1), said))
    }

    /// The process of a container, by its pod's uid.
    pub fn process(&self, uid: &str, container: &str) -> Option<u32> {
        self.parts.processes.of(uid, container)
    }

    /// Runs a future on the cluster's own threads. Processes that have to outlive the calling thread start here.
    pub async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.handle().spawn(future).await.expect("no panic in a task of the cluster")
    }

    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.as_ref().map(|runtime| runtime.handle().clone()).expect("only Drop takes the runtime")
    }

    /// Installs the Gateway API's CRDs of a channel and our own, and waits until they are served.
    pub async fn install_crds(&self, channel: Channel) -> Result<()> {
        install(&self.client()?, &self.parts.assets, channel).await
    }

    /// Ends the API server, at once or with time to say goodbye to its watchers.
    pub async fn stop_api_server(&self, at_once: bool) -> Result<()> {
        let server =
            self.parts.servers.lock().await.api_server.take().context("the API server does not run")?;
        if at_once { server.kill().await } else { server.terminate().await }
    }

    /// Starts the API server again and waits until it answers.
    pub async fn start_api_server(&self) -> Result<()> {
        let parts = self.parts.clone();
        self.run(async move { parts.start_api_server().await }).await
    }

    /// Forgets the history of all objects: who resumes a watch after the next start of the API server gets 410 Gone,
    /// if anything changed since.
    pub async fn compact(&self) -> Result<()> {
        let status = etcd_request("/v3/maintenance/status", &json!({})).await?;
        let revision = status["header"]["revision"].as_str().context("etcd says no revision")?.to_owned();
        let answer =
            etcd_request("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).await?;
        if answer.get("error").is_some() {
            bail!("etcd compaction: {answer}");
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its threads end, and with them every process of the cluster.
            runtime.shutdown_background();
        }
    }
}

impl Parts {
    async fn start(&self, network: Network) -> Result<()> {
        self.servers.lock().await.etcd = Some(etcd(&self.assets, self.directory.path())?);
        self.start_api_server().await?;
        let manager = controller_manager(&self.assets, &self.certificates, self.directory.path())?;
        self.servers.lock().await.controller_manager = Some(manager);
        let hosts = Hosts::create(self.directory.path().join("hosts"))?;
        Services::start(self.client()?, hosts.clone())?;
        let kubelet = Kubelet {
            client: self.client()?,
            assets: self.assets.clone(),
            network,
            folder: self.directory.path().join("pods"),
            hosts,
            logs: self.logs.clone(),
            addresses: Addresses::default(),
            turn: AtomicU16::default(),
            processes: self.processes.clone(),
            entries: self.entries.clone(),
        };
        Arc::new(kubelet).start(&self.certificates).await
    }

    async fn start_api_server(&self) -> Result<()> {
        let mut servers = self.servers.lock().await;
        let mut server = api_server(&self.assets, &self.certificates, self.directory.path())?;
        let started = Instant::now();
        let client = self.client()?;
        while !ready(&client).await {
            server.check()?;
            if let Some(etcd) = &mut servers.etcd {
                etcd.check()?;
            }
            if started.elapsed() > DEADLINE {
                bail!("kube-apiserver is not ready within {DEADLINE:?}:\n{}", server.last_lines());
            }
            sleep(Duration::from_millis(50)).await;
        }
        servers.api_server = Some(server);
        Ok(())
    }

    fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.certificates.file("admin.kubeconfig"))?;
        Ok(Client::try_from(Config::try_from(kubeconfig)?)?)
    }
}

async fn ready(client: &Client) -> bool {
    let request = http::Request::get("/readyz").body(Vec::new()).expect("a valid request");
    let asked = tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await;
    matches!(asked, Ok(Ok(answer)) if answer == "ok")
}

/// One call of etcd's JSON interface.
async fn etcd_request(path: &str, body: &Value) -> Result<Value> {
    let mut wire = Wire::connect("127.0.0.1:2379".parse()?).await;
    let answer =
        wire.ask(&Ask::new("POST", &format!("http://127.0.0.1:2379{path}")).body(body.to_string())).await;
    Ok(serde_json::from_slice(&answer.body)?)
}
