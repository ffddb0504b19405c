//! The life of one pod, from being bound to a node to being deleted.

use super::Kubelet;
use super::container::{State, Supervisor};
use super::roles::{self, Role};
use super::sandbox::Sandbox;
use super::status::status;
use super::volumes;
use anyhow::Result;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

/// How often volumes follow their ConfigMaps and Secrets.
const REFRESH: Duration = Duration::from_secs(5);
/// How long to wait before something is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Runs a pod until it is told to end, then deletes it.
pub(crate) async fn live(kubelet: Arc<Kubelet>, pod: Pod, mut stop: watch::Receiver<Option<Duration>>) {
    let finished = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let finished = matches!(finished, Some("Succeeded" | "Failed"));
    let life =
        Life { folder: kubelet.folder.join(pod.uid().unwrap_or_default()), kubelet, pod: Arc::new(pod) };
    if !finished && stop.borrow().is_none() {
        let address = life.kubelet.addresses.next();
        if let Some(sandbox) = life.prepare(address, &mut stop).await {
            life.run(sandbox, &stop).await;
        }
    }
    if stop.wait_for(Option::is_some).await.is_ok() {
        life.delete().await;
    }
    let _ = tokio::fs::remove_dir_all(&life.folder).await;
}

struct Life {
    kubelet: Arc<Kubelet>,
    pod: Arc<Pod>,
    folder: PathBuf,
}

impl Life {
    /// Makes network and volumes, as soon as everything they need is there; `None` when told to end before.
    async fn prepare(
        &self,
        address: Ipv4Addr,
        stop: &mut watch::Receiver<Option<Duration>>,
    ) -> Option<Arc<Sandbox>> {
        loop {
            match self.sandbox(address).await {
                Ok(sandbox) => return Some(Arc::new(sandbox)),
                Err(reason) => {
                    let waiting = Some(("ContainerCreating", format!("{reason:#}")));
                    let states = vec![State { waiting, ..State::default() }; self.containers()];
                    let _ = self.write(&status(&self.pod, None, Timestamp::now(), &states)).await;
                }
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                _ = stop.wait_for(Option::is_some) => return None,
            }
        }
    }

    async fn sandbox(&self, address: Ipv4Addr) -> Result<Sandbox> {
        let folder = self.folder.clone();
        let volumes = volumes::make(&self.kubelet.client, &self.pod, &folder.join("volumes")).await?;
        let network = self.kubelet.network.of_pod(address)?;
        let hosts = self.kubelet.hosts.of(&self.pod.namespace().unwrap_or_default())?;
        Ok(Sandbox { network, address, folder, volumes, hosts })
    }

    /// Runs all containers and writes how they are, until the last is over.
    async fn run(&self, sandbox: Arc<Sandbox>, stop: &watch::Receiver<Option<Duration>>) {
        let started = Timestamp::now();
        let (sender, mut changes) = mpsc::unbounded_channel();
        let (over, app_over) = watch::channel(false);
        let starting =
            tokio::spawn(start_in_order(self.supervisors(&sandbox, stop, &sender, &app_over), over));
        drop(sender);
        let mut states = vec![State::default(); self.containers()];
        let mut refresh = interval(REFRESH);
        let mut unwritten = true;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some((index, state)) => {
                        unwritten |= states[index] != state;
                        states[index] = state;
                    }
                    None => break,
                },
                _ = refresh.tick() => {
                    let _ = volumes::make(&self.kubelet.client, &self.pod, &self.folder.join("volumes")).await;
                }
                () = sleep(AGAIN), if unwritten => {}
            }
            if unwritten && changes.is_empty() {
                unwritten =
                    self.write(&status(&self.pod, Some(sandbox.address), started, &states)).await.is_err();
            }
        }
        let _ = starting.await;
        let _ = self.write(&status(&self.pod, Some(sandbox.address), started, &states)).await;
    }

    /// One for each container, in the order of their start.
    fn supervisors(
        &self,
        sandbox: &Arc<Sandbox>,
        stop: &watch::Receiver<Option<Duration>>,
        states: &mpsc::UnboundedSender<(usize, State)>,
        app_over: &watch::Receiver<bool>,
    ) -> Vec<Supervisor> {
        let supervisor = |(index, (role, container)): (usize, (Role, &Container))| Supervisor {
            kubelet: self.kubelet.clone(),
            pod: self.pod.clone(),
            sandbox: sandbox.clone(),
            role,
            container: Arc::new(container.clone()),
            index,
            states: states.clone(),
            stop: stop.clone(),
            app_over: app_over.clone(),
        };
        roles::of(&self.pod).into_iter().enumerate().map(supervisor).collect()
    }

    fn containers(&self) -> usize {
        roles::of(&self.pod).len()
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.kubelet.client.clone(), &self.pod.namespace().unwrap_or_default())
    }

    async fn write(&self, status: &serde_json::Value) -> Result<()> {
        match self
            .api()
            .patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(status))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the API server that nothing of the pod is left.
    async fn delete(&self) {
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: self.pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        loop {
            match self.api().delete(&self.pod.name_any(), &parameters).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(_) => sleep(AGAIN).await,
            }
        }
    }
}

/// Starts containers as their roles say, and waits until all are over. `over` is told when the app has ended, or will
/// never begin.
async fn start_in_order(supervisors: Vec<Supervisor>, over: watch::Sender<bool>) {
    let (mut sidecars, mut apps) = (JoinSet::new(), JoinSet::new());
    let mut may_go_on = true;
    for supervisor in supervisors {
        // The pod's own end is looked at by each supervisor.
        if !may_go_on {
            break;
        }
        match supervisor.role {
            Role::Init => may_go_on = supervisor.run().await.exit == Some(0),
            Role::Sidecar => {
                let (started, mut is_started) = watch::channel(false);
                let mut stop = supervisor.stop.clone();
                sidecars.spawn(supervisor.announcing(started));
                tokio::select! {
                    _ = is_started.wait_for(|it| *it) => {}
                    _ = stop.wait_for(Option::is_some) => may_go_on = false,
                }
            }
            Role::App => drop(apps.spawn(supervisor.run())),
        }
    }
    while apps.join_next().await.is_some() {}
    over.send_replace(true);
    while sidecars.join_next().await.is_some() {}
}
