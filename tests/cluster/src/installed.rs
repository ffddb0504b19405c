//! Sluice on the cluster, installed as its users do: by `sluice install`.

use crate::kubelet::binary;
use crate::space::Space;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt;
use kube::api::ListParams;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

/// The namespace of the controller.
pub const SYSTEM: &str = "sluice-system";

impl Space {
    /// Runs `sluice install` with one replica of the controller and waits until it serves. `settings` are those of
    /// `--set`.
    pub async fn install_sluice(&self, settings: &[&str]) -> Result<()> {
        let mut arguments = vec!["install", "--profile", "minimal", "--wait", "--timeout", "2m"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let said = self.sluice(&arguments).await;
        if said.is_err() {
            bail!("{said:?}\n{}", self.controller_log().await);
        }
        Ok(())
    }

    /// Runs the command `sluice` as the cluster's administrator and returns what it printed.
    pub async fn sluice(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(binary("sluice")?)
            .args(arguments)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .output()
            .await
            .context("sluice")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "sluice {arguments:?}: {}\n{said}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(said)
    }

    /// The pods of the controller.
    pub async fn controllers(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let selector = "app.kubernetes.io/name=sluice-controller";
        Ok(pods.list(&ListParams::default().labels(selector)).await?.items)
    }

    /// What all controllers wrote.
    pub async fn controller_log(&self) -> String {
        let pods = self.controllers().await.unwrap_or_default();
        pods.iter().map(|pod| self.cluster.log(SYSTEM, &pod.name_any())).collect()
    }

    /// Sends a signal to the process of a pod's first container.
    pub fn signal(&self, pod: &Pod, signal: Signal) -> Result<()> {
        let container = pod.spec.as_ref().and_then(|it| it.containers.first()).context("a container")?;
        let process = self.cluster.process(&pod.uid().context("a uid")?, &container.name);
        let process = process.context("a running process")?;
        kill(Pid::from_raw(i32::try_from(process)?), signal)?;
        Ok(())
    }
}
