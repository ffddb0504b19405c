//! `sluice inject`: manifests in, the same manifests with sidecars out, without a cluster.
//!
//! What the webhook does when a pod is made, done to its template beforehand: for clusters without the webhook, and to
//! see what it would do. Documents that get no sidecar go out as they came, byte for byte.

mod stream;

use crate::output;
use anyhow::{Context as _, bail};
use sluice_controller::inject::InjectSettings;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Add sidecars to the pods of manifests.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, CronJobs, Pods and Lists of them get a
sidecar, unless their pods use the node's network, are in a namespace of the cluster's own (kube-system and the like), or
have the label or annotation sluice.dev/inject or sidecar.istio.io/inject with the value false. Labels of namespaces are
not looked at: who calls this has chosen. All other documents are printed as they are.

What gets no sidecar, and why, is told on standard error. Nothing is printed when something can't be read.

Exit status: 0 printed, 2 a file can't be read, or the annotations or probes of a pod can't be understood.

Examples:
  sluice inject -f shop.yaml | kubectl apply -f -
  kubectl get deployment web -o yaml | sluice inject -f - | kubectl apply -f -")]
pub struct InjectArgs {
    /// Manifests, YAML or JSON; - for standard input. May be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Namespace of objects that name none.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Image of the sidecar.
    #[arg(long, value_name = "IMAGE", default_value_t = InjectSettings::default().image)]
    pub image: String,
    /// Namespace of the controller.
    #[arg(long, value_name = "NAMESPACE", default_value_t = InjectSettings::default().system_namespace)]
    pub controller_namespace: String,
    /// Istio's root namespace.
    #[arg(long, value_name = "NAMESPACE", default_value_t = InjectSettings::default().root_namespace)]
    pub root_namespace: String,
    /// Domain of the cluster.
    #[arg(long, value_name = "DOMAIN", default_value_t = InjectSettings::default().cluster_domain)]
    pub cluster_domain: String,
    /// Value of istio.io/rev for the pods.
    #[arg(long, value_name = "NAME", default_value_t = InjectSettings::default().revision)]
    pub revision: String,
}

/// Reads, injects, prints.
pub fn run(args: &InjectArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings();
    let mut printed = String::new();
    for file in &args.files {
        let text = read(file)?;
        let done = stream::inject(&text, &args.namespace, &settings);
        let done = done.with_context(|| file.display().to_string())?;
        if !printed.is_empty() && !done.text.starts_with("---") {
            printed.push_str("---\n");
        }
        printed.push_str(&done.text);
        for remark in done.remarks {
            eprintln!("{remark}");
        }
    }
    output::print(&printed)?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("can't read standard input")?;
        return Ok(text);
    }
    if file.is_dir() {
        bail!("{} is a folder; name its files", file.display());
    }
    std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))
}

impl InjectArgs {
    fn settings(&self) -> InjectSettings {
        InjectSettings {
            image: self.image.clone(),
            controller: format!("https://sluice-controller.{}.svc:15010", self.controller_namespace),
            system_namespace: self.controller_namespace.clone(),
            root_namespace: self.root_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            revision: self.revision.clone(),
            ..InjectSettings::default()
        }
    }
}
