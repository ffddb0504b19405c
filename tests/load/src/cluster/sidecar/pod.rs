//! A pod whose sidecar can be measured: an object, a network, and the sidecar as a process of ours in it, captured by real
//! rules. No kubelet has it: what one would do is done here, and nothing else shares the process's memory and CPU time.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use sluice_cluster_tests::{Network, Space};

use super::NODE;
use super::mounts::{CONTROLLER, ROOTS};
use crate::cluster::controller;
use crate::cluster::objects::token;
use crate::generator::{Link, Target};
use crate::measure::process::Process;

/// Who the sidecar runs as: capture leaves its own connections alone.
const PROXY: u32 = 1337;
/// Where it says whether it is ready, how it is asked, and what it says.
const READINESS_PORT: u16 = 15_021;
const ASKED: &[u8] = b"GET /healthz/ready HTTP/1.1\r\nhost: sidecar\r\n\r\n";
const READY: &str = "ready\n";
/// How long it may take to become ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where to find what a pod is made of.
pub(super) struct Parts<'a> {
    pub(super) space: &'a Space,
    /// `sluice-sidecar`.
    pub(super) program: &'a Path,
    /// Files of all pods.
    pub(super) folder: &'a Path,
    /// The mesh's roots, as a kubelet mounts them.
    pub(super) mounts: &'a Path,
}

/// A pod with its sidecar. Its name is its service account's and its label `app`'s, too.
pub(super) struct Pod {
    pub(super) address: Ipv4Addr,
    pub(super) network: Network,
    pub(super) sidecar: Process,
}

impl Pod {
    /// Makes it and waits until its sidecar is ready.
    pub(super) async fn start(parts: &Parts<'_>, name: &str, address: Ipv4Addr) -> Result<Self> {
        let object = create(parts.space, name, address).await?;
        let network = parts.space.cluster.network().of_pod(address)?;
        let folder = parts.folder.join(name);
        prepare(&folder, name, &token(parts.space, name, "istio-ca", Some(&object)).await?)?;
        capture(&network, parts.program)?;
        let command = sidecar(parts, &network, name, address, &folder);
        let sidecar = Process::start_anywhere(&command, folder.join("sidecar.log"))?;
        let pod = Self { address, network, sidecar };
        pod.until_ready().await.with_context(|| format!("the sidecar of {name}"))?;
        Ok(pod)
    }

    async fn until_ready(&self) -> Result<()> {
        let target = Target::plain(SocketAddr::from((self.address, READINESS_PORT)));
        let started = Instant::now();
        loop {
            let answer =
                async { Link::connect(&target, None).await?.exchange(ASKED, READY.len() as u64).await };
            match answer.await {
                Ok(_) => return Ok(()),
                Err(failure) if started.elapsed() > PATIENCE => {
                    bail!("not ready within {PATIENCE:?}: {failure}; it said: {}", self.sidecar.last_words())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// The object, on a node that no kubelet serves, with the status that one would write.
async fn create(space: &Space, name: &str, address: Ipv4Addr) -> Result<PodObject> {
    let object = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": name, "security.istio.io/tlsMode": "istio"}},
        "spec": {"nodeName": NODE, "serviceAccountName": name, "containers": [{"name": "app", "image": "app"}]},
    }))?;
    let pods = space.api::<PodObject>();
    let made = pods.create(&PostParams::default(), &object).await.context(name.to_owned())?;
    let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(made)
}

/// What is mounted into the sidecar's container: token and labels, and a folder to write to.
fn prepare(folder: &Path, name: &str, token: &str) -> Result<()> {
    let snapshot = folder.join("snapshot");
    fs::create_dir_all(&snapshot)?;
    fs::write(folder.join("token"), token)?;
    fs::write(folder.join("labels"), format!("app=\"{name}\"\n"))?;
    chown(&snapshot, Some(PROXY), Some(PROXY)).context("a folder of the sidecar's")?;
    Ok(())
}

fn capture(network: &Network, program: &Path) -> Result<()> {
    let mut command = entered(network);
    let output = command.arg(program).args(["capture", "apply"]).output().context("nsenter (util-linux)")?;
    if !output.status.success() {
        bail!("sluice-sidecar capture apply: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn sidecar(parts: &Parts<'_>, network: &Network, name: &str, address: Ipv4Addr, folder: &Path) -> Command {
    let mut command = entered(network);
    // The kernel forgets at a change of users what shall happen when this program dies: it is said again.
    command
        .args(["setpriv", &format!("--reuid={PROXY}"), &format!("--regid={PROXY}"), "--clear-groups"])
        .args(["--pdeathsig", "TERM", "--"])
        .arg(parts.program)
        .arg("run")
        .args(controller::named())
        .args(["--pod", name, "--namespace", &parts.space.namespace, "--service-account", name])
        .args(["--workload", name, "--addresses", &address.to_string(), "--node", NODE]);
    let files: [(&str, PathBuf); 5] = [
        ("--token-file", folder.join("token")),
        ("--labels-file", folder.join("labels")),
        ("--snapshot-dir", folder.join("snapshot")),
        ("--ca-file", parts.mounts.join(CONTROLLER)),
        ("--roots-file", parts.mounts.join(ROOTS)),
    ];
    for (option, file) in files {
        command.arg(option).arg(file);
    }
    command
}

/// A command in a network; its program and arguments are still to come.
pub(super) fn entered(network: &Network) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", network.path()));
    command
}
