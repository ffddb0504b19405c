//! Where the programs and CRDs are that a cluster is made of. `tools/build` decides and builds what is missing.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders with what the tests do not build with cargo.
#[derive(Clone, Debug)]
pub struct Assets {
    kubernetes: PathBuf,
    gateway_api: PathBuf,
}

impl Assets {
    /// Asks `tools/build`, which may take minutes the first time on a machine.
    pub fn find() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/build");
        let output =
            Command::new(&script).stderr(Stdio::inherit()).output().context("tests/cluster/tools/build")?;
        if !output.status.success() {
            bail!("tests/cluster/tools/build failed; the line above says what to install");
        }
        let said = String::from_utf8(output.stdout)?;
        let folder = |name: &str| {
            let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.map(PathBuf::from).with_context(|| format!("tools/build says no {name}="))
        };
        Ok(Self { kubernetes: folder("kubernetes")?, gateway_api: folder("gateway-api")? })
    }

    /// One of `etcd`, `kube-apiserver`, `kube-controller-manager`.
    pub fn server(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }

    /// A backend of the official conformance suite: `echo-basic` or `dns`.
    pub fn backend(&self, name: &str) -> PathBuf {
        self.gateway_api.join(name)
    }

    /// The folder of a channel's CRDs.
    pub fn crds(&self, channel: &str) -> PathBuf {
        self.gateway_api.join("crd").join(channel)
    }
}
