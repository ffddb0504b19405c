//! Two pods with sidecars, and two without, beside one controller and a real API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Service;
use sluice_cluster_tests::{Channel, Network, SYSTEM, Space};
use tokio::sync::oneshot;

use super::inside::{inside, start_inside};
use super::mounts::mount;
use super::objects::{self, ALLOWED, FORBIDDEN};
use super::pod::{Parts, Pod};
use super::{BODY_BYTES, CLIENT, PORT, SERVER, SERVICE_PORT, TCP_PORT};
use crate::backend;
use crate::cluster::Options;
use crate::cluster::controller;
use crate::cluster::objects::{api, put};
use crate::generator::link::Failure;
use crate::generator::{Link, Target};
use crate::measure::process::Process;
use crate::peers::request;

/// Addresses of the pods; those of the cluster's own pods begin at 10.244.1.0.
const PODS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 244, 200, 1),
    Ipv4Addr::new(10, 244, 200, 2),
    Ipv4Addr::new(10, 244, 200, 3),
    Ipv4Addr::new(10, 244, 200, 4),
];
/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that runs. It ends when it is dropped.
pub(super) struct Stand {
    pub(super) space: Space,
    /// Calls the server.
    pub(super) client: Pod,
    /// Is called, and governed by policies.
    pub(super) server: Pod,
    /// The network of a client that is no part of the mesh.
    pub(super) bare_client: Network,
    /// Where a server is that is no part of the mesh, with the same program.
    pub(super) bare_server: Target,
    /// Where the server's Service is.
    pub(super) service: Target,
    _servers: [oneshot::Sender<()>; 3],
    _controller: Process,
    folder: tempfile::TempDir,
}

/// A cluster with a controller, before any pod.
pub(super) struct Ground {
    space: Space,
    controller: Process,
    folder: tempfile::TempDir,
}

impl Ground {
    /// Starts the controller; `before` may put objects into the cluster that it is to find there.
    pub(super) async fn prepare(
        space: Space,
        options: &Options,
        before: impl AsyncFnOnce(&Space) -> Result<()>,
    ) -> Result<Self> {
        space.cluster.install_crds(Channel::Standard).await?;
        space.make_namespace(SYSTEM).await?;
        space.apply(&objects::manifests()).await;
        let policies =
            api(&space.client, &space.namespace, "security.istio.io", "AuthorizationPolicy", POLICIES);
        for policy in objects::policies(&space.namespace) {
            put(&policies, policy).await?;
        }
        before(&space).await?;
        let folder = tempfile::tempdir()?;
        // Sidecars run as another user.
        readable(folder.path())?;
        let program = controller::program(&options.controller)?;
        // A root that is new signs as soon as it can: who trusts it is waited for.
        let controller =
            controller::start(&space, &program, folder.path(), 0, &["--root-wait-seconds", "1"])?;
        Ok(Self { space, controller, folder })
    }

    /// Starts the pods, which have called nobody yet.
    pub(super) async fn pods(self, options: &Options) -> Result<Stand> {
        let Self { space, controller, folder } = self;
        let mounts = folder.path().join("roots");
        mount(&space, mounts.clone()).await?;
        let program = controller::program(&options.sidecar)?;
        let parts = Parts { space: &space, program: &program, folder: folder.path(), mounts: &mounts };
        let server = Pod::start(&parts, SERVER, PODS[0]).await?;
        let client = Pod::start(&parts, CLIENT, PODS[1]).await?;
        let bare_server = space.cluster.network().of_pod(PODS[2])?;
        let bare_client = space.cluster.network().of_pod(PODS[3])?;
        let servers = [
            serve(&server.network, PORT).await?,
            serve(&server.network, TCP_PORT).await?,
            serve(&bare_server, PORT).await?,
        ];
        let service = space.api::<Service>().get(SERVER).await?;
        Ok(Stand {
            service: target(&service)?,
            bare_server: Target::plain(SocketAddr::from((PODS[2], PORT))),
            space,
            client,
            server,
            bare_client,
            _servers: servers,
            _controller: controller,
            folder,
        })
    }
}

/// The plural of AuthorizationPolicy.
pub(super) const POLICIES: &str = "authorizationpolicies";

impl Stand {
    /// A stand of which nothing else is asked.
    pub(super) async fn start(space: Space, options: &Options) -> Result<Self> {
        Ground::prepare(space, options, async |_| Ok(())).await?.pods(options).await
    }

    /// A file of the scenario's own.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the client asks the server for.
    pub(super) fn request(&self) -> Bytes {
        request(SERVER, ALLOWED)
    }

    /// Waits until a request through both sidecars is answered, and proves that nothing else is: another path is
    /// refused, and so is a client without an identity. Without that the rest would measure nothing.
    pub(super) async fn until_enforced(&self) -> Result<()> {
        self.until(&self.client.network, &self.service, ALLOWED, |it| it.is_ok()).await?;
        self.until(&self.client.network, &self.service, FORBIDDEN, |it| {
            matches!(it, Err(Failure::Status(403)))
        })
        .await?;
        let past = Target::plain(SocketAddr::from((self.server.address, PORT)));
        self.until(&self.bare_client, &past, ALLOWED, |it| matches!(it, Err(Failure::NoAnswer(_)))).await
    }

    /// Ends both sidecars as a kubelet does, and sees that they end well: what they write down at their end is whole.
    pub(super) async fn end(mut self) -> Result<()> {
        for sidecar in [&mut self.client.sidecar, &mut self.server.sidecar] {
            sidecar.signal("TERM")?;
            match sidecar.wait(PATIENCE).await? {
                Some(status) if status.success() => {}
                Some(status) => bail!("a sidecar ended with {status}: {}", sidecar.last_words()),
                None => bail!("a sidecar has not ended after {PATIENCE:?}: {}", sidecar.last_words()),
            }
        }
        Ok(())
    }

    /// Asks from a network until the outcome is as wanted.
    pub(super) async fn until(
        &self,
        network: &Network,
        target: &Target,
        path: &str,
        wanted: fn(&Result<(), Failure>) -> bool,
    ) -> Result<()> {
        let (target, asked, started) = (target.clone(), request(SERVER, path), Instant::now());
        let last = inside(network, async move || {
            loop {
                let outcome = ask(&target, &asked).await;
                if wanted(&outcome) {
                    return Ok(None);
                }
                if started.elapsed() > PATIENCE {
                    return Ok(Some(outcome));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await?;
        let Some(outcome) = last else { return Ok(()) };
        let said = [&self.client, &self.server].map(|it| it.sidecar.last_words());
        bail!("{path}: {outcome:?} after {PATIENCE:?}; client's sidecar: {}\nserver's: {}", said[0], said[1])
    }
}

async fn ask(target: &Target, request: &[u8]) -> Result<(), Failure> {
    let mut link = Link::connect(target, None).await?;
    link.exchange(request, BODY_BYTES).await.map(drop)
}

/// Where a Service is.
pub(super) fn target(service: &Service) -> Result<Target> {
    let address =
        service.spec.as_ref().and_then(|it| it.cluster_ip.as_deref()).context("a cluster address")?;
    Ok(Target::plain(SocketAddr::new(address.parse()?, SERVICE_PORT)))
}

/// Starts a server in a network; it ends when what is given is dropped.
async fn serve(network: &Network, port: u16) -> Result<oneshot::Sender<()>> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    drop(start_inside(network, async move || {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let _ = tell.send(backend::start_at(address, BODY_BYTES as usize).await.map(drop));
        let _ = stopped.await;
        Ok(())
    }));
    told.await.context("a server")??;
    Ok(stop)
}

fn readable(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}
