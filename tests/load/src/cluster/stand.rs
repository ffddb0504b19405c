//! One controller and one gateway beside a real API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use sluice_cluster_tests::{Channel, SYSTEM, Space, eventually};

use super::Options;
use super::controller;
use super::endpoints::{BODY_BYTES, Endpoint};
use super::objects::{self, GATEWAY, SERVICE, SERVICE_PORT};
use crate::generator::link::Failure;
use crate::generator::{Link, Target};
use crate::measure::process::Process;
use crate::peers::request;

const GATEWAY_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 2);
/// Where port 80 of a Gateway is bound in a cluster.
const HTTP: u16 = 10_080;
const ADMIN: u16 = 15_000;
/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster with everything that runs in it.
pub(super) struct Stand {
    /// The cluster and a namespace, in which all objects are.
    pub(super) space: Space,
    /// The controller.
    pub(super) controller: Process,
    /// The gateway.
    pub(super) gateway: Process,
    /// The endpoint that every Service begins with.
    pub(super) endpoint: Endpoint,
    programs: (PathBuf, PathBuf),
    folder: tempfile::TempDir,
    starts: u32,
}

impl Stand {
    /// Starts everything and waits until the gateway answers for a first route.
    pub(super) async fn start(space: Space, options: &Options) -> Result<Self> {
        let programs = (controller::program(&options.controller)?, controller::program(&options.gateway)?);
        space.cluster.install_crds(Channel::Standard).await?;
        space.make_namespace(SYSTEM).await?;
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("snapshot"))?;
        space.apply(&manifests(&space.namespace)).await;
        let endpoint = Endpoint::start(0).await?;
        objects::put(
            &objects::slices(&space.client, &space.namespace),
            objects::slice("app-0", &[endpoint.address]),
        )
        .await?;
        let controller = controller::start(&space, &programs.0, folder.path(), 0, &[])?;
        credentials(&space, folder.path()).await?;
        let gateway = start_gateway(&space, &programs.1, folder.path(), 0)?;
        let stand = Self { space, controller, gateway, endpoint, programs, folder, starts: 0 };
        objects::put(&stand.routes(), objects::route(0, 0)).await?;
        stand.until_served(0).await?;
        Ok(stand)
    }

    /// HTTPRoutes of the scenario.
    pub(super) fn routes(&self) -> Api<kube::api::DynamicObject> {
        objects::routes(&self.space.client, &self.space.namespace)
    }

    /// Where the gateway serves port 80.
    pub(super) fn target(&self) -> Target {
        Target::plain(SocketAddr::from((GATEWAY_ADDRESS, HTTP)))
    }

    /// Asks for a route's host on a new connection.
    pub(super) async fn ask(&self, number: u32) -> Result<(), Failure> {
        let mut link = Link::connect(&self.target(), None).await?;
        link.exchange(&request(&objects::host(number), "/"), BODY_BYTES).await.map(drop)
    }

    /// Waits until a route is served; returns how long it took.
    pub(super) async fn until_served(&self, number: u32) -> Result<Duration> {
        let started = Instant::now();
        loop {
            match self.ask(number).await {
                Ok(()) => return Ok(started.elapsed()),
                Err(failure) if started.elapsed() > PATIENCE => bail!(
                    "route {number} is not served within {PATIENCE:?}: {failure}\ncontroller: {}\ngateway: {}",
                    self.controller.last_words(),
                    self.gateway.last_words()
                ),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Kills the controller and starts another.
    pub(super) fn restart_controller(&mut self) -> Result<()> {
        self.controller.signal("KILL")?;
        self.starts += 1;
        self.controller =
            controller::start(&self.space, &self.programs.0, self.folder.path(), self.starts, &[])?;
        Ok(())
    }

    /// Kills the gateway and starts another with the same folder for its last good snapshot.
    pub(super) fn restart_gateway(&mut self) -> Result<()> {
        self.gateway.signal("KILL")?;
        self.starts += 1;
        self.gateway = start_gateway(&self.space, &self.programs.1, self.folder.path(), self.starts)?;
        Ok(())
    }
}

fn start_gateway(space: &Space, program: &Path, folder: &Path, start: u32) -> Result<Process> {
    let mut command = Command::new(program);
    command
        .args(controller::named())
        .args(["--gateway", &format!("{}/{GATEWAY}", space.namespace)])
        .arg("--token-file")
        .arg(folder.join("token"))
        .arg("--ca-file")
        .arg(folder.join("ca.crt"))
        .arg("--snapshot-dir")
        .arg(folder.join("snapshot"))
        .args(["--bind", &GATEWAY_ADDRESS.to_string(), "--cluster-ports"])
        .args(["--admin", &format!("{GATEWAY_ADDRESS}:{ADMIN}")]);
    Process::start_anywhere(&command, folder.join(format!("gateway-{start}.log")))
}

/// What the kubelet would mount: a token for the controller, and the controller's CA.
async fn credentials(space: &Space, folder: &Path) -> Result<()> {
    let token = objects::token(space, GATEWAY, "sluice-controller", None).await?;
    std::fs::write(folder.join("token"), token)?;
    let secrets: Api<Secret> = Api::namespaced(space.client.clone(), SYSTEM);
    let secret = eventually("the controller's CA", async || secrets.get("sluice-ca").await).await;
    let data = secret.data.unwrap_or_default();
    let certificate = data
        .get("ca.crt")
        .or_else(|| data.get("tls.crt"))
        .with_context(|| format!("sluice-ca has no ca.crt, only {:?}", data.keys().collect::<Vec<_>>()))?;
    std::fs::write(folder.join("ca.crt"), &certificate.0)?;
    Ok(())
}

fn manifests(namespace: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: sluice}}
spec: {{controllerName: sluice.dev/gateway-controller}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {GATEWAY}, namespace: {namespace}}}
---
apiVersion: sluice.dev/v1alpha1
kind: GatewayParameters
metadata: {{name: {GATEWAY}, namespace: {namespace}}}
spec:
  managed: false
  serviceAccount: {GATEWAY}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {GATEWAY}, namespace: {namespace}}}
spec:
  gatewayClassName: sluice
  infrastructure:
    parametersRef: {{group: sluice.dev, kind: GatewayParameters, name: {GATEWAY}}}
  allowedListeners: {{namespaces: {{from: Same}}}}
  listeners:
  - {{name: http, port: 80, protocol: HTTP}}
---
apiVersion: v1
kind: Service
metadata: {{name: {SERVICE}, namespace: {namespace}}}
spec:
  ports: [{{name: http, port: {SERVICE_PORT}}}]
"
    )
}
