//! The three servers of a control plane as processes, and how each is started.
//!
//! Each is started through `setpriv --pdeathsig KILL`: it ends when the thread that started it ends, so that nothing
//! stays behind when a test process is killed. That is why only threads of the cluster's own runtime start them.

use crate::assets::Assets;
use crate::certificates::Certificates;
use crate::network::{API_SERVER, HOST, SERVICES};
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

const ETCD: &str = "http://127.0.0.1:2379";

/// What runs of the controllers: those that something in the tests needs.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,endpointslice-controller,\
    serviceaccount-controller,garbage-collector-controller,namespace-controller,pod-garbage-collector-controller,\
    root-ca-certificate-publisher-controller,disruption-controller,horizontal-pod-autoscaler-controller,\
    job-controller,statefulset-controller,daemonset-controller,clusterrole-aggregation-controller";

/// One process with its log file.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(name: &'static str, program: &Path, arguments: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Ends it at once.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("ending {}", self.name))
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            kill(Pid::from_raw(id), Signal::SIGTERM)?;
        }
        self.child.wait().await.with_context(|| format!("waiting for the end of {}", self.name))?;
        Ok(())
    }

    /// An error when it has ended, with the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => anyhow::bail!("{} ended with {status}:\n{}", self.name, self.last_lines()),
            None => Ok(()),
        }
    }

    /// The end of its log.
    pub(crate) fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

pub(crate) fn etcd(assets: &Assets, folder: &Path) -> Result<Server> {
    let data = folder.join("etcd");
    let arguments = [
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // Nothing has to survive the machine.
        "--unsafe-no-fsync".to_owned(),
        "--snapshot-count=5000".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Server::start("etcd", &assets.server("etcd"), &arguments, folder)
}

pub(crate) fn api_server(assets: &Assets, certificates: &Certificates, folder: &Path) -> Result<Server> {
    let file = |name| certificates.file(name);
    let arguments = [
        format!("--etcd-servers={ETCD}"),
        format!("--advertise-address={HOST}"),
        format!("--secure-port={}", API_SERVER.port()),
        format!("--service-cluster-ip-range={SERVICES}"),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--authorization-mode=RBAC".to_owned(),
        // Tests compact the history themselves.
        "--etcd-compaction-interval=0".to_owned(),
        "--profiling=false".to_owned(),
        format!("--cert-dir={}", folder.display()),
    ];
    Server::start("kube-apiserver", &assets.server("kube-apiserver"), &arguments, folder)
}

pub(crate) fn controller_manager(
    assets: &Assets,
    certificates: &Certificates,
    folder: &Path,
) -> Result<Server> {
    let file = |name| certificates.file(name);
    let arguments = [
        format!("--kubeconfig={}", file("admin.kubeconfig")),
        format!("--controllers={CONTROLLERS}"),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--service-account-private-key-file={}", file("accounts.key")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
        "--profiling=false".to_owned(),
    ];
    Server::start("kube-controller-manager", &assets.server("kube-controller-manager"), &arguments, folder)
}
