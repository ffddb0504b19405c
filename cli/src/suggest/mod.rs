//! `sluice suggest policy`: what was seen becomes what is allowed.
//!
//! Comes in: what the sidecars of a namespace have seen, or lines of access logs in JSON, Sluice's own or Envoy's, of workloads
//! or of a Gateway. Goes out: AuthorizationPolicies that allow exactly these calls, each caller its own, in a dry run; and
//! ServiceEntries for hosts outside that were reached without one. Nothing is applied: a person reads it first.

mod entry;
mod line;
mod observed;
mod policy;
mod sidecars;
mod template;
mod workloads;

pub use observed::{Call, Destination, Observed};

use crate::cluster::{self, ClusterArgs};
use crate::output;
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make manifests from what was seen.
#[derive(clap::Args, Clone, Debug)]
pub struct SuggestArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    Policy(PolicyArgs),
}

/// Make AuthorizationPolicies, and ServiceEntries, from calls that sidecars have seen, or that are in access logs.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Each policy has the annotation istio.io/dry-run: \"true\". Apply it, watch istio_dry_run_requests_total, then remove the annotation.
Without files the sidecars of the namespace are asked, through the API server; that needs the rights to list pods and to forward
their ports (create pods/portforward).

Examples:
  sluice suggest policy -n shop > policies.yaml
  kubectl logs -n shop -l app=cart -c sluice-proxy --tail=-1 | sluice suggest policy -n shop --selector app=cart -
  sluice suggest policy -n edge --gateway web access.log.1 access.log > policies.yaml")]
pub struct PolicyArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace of what was called, and of the manifests.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: String,
    /// Labels of the workloads that are asked, or that wrote the logs; none: all of the namespace.
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',')]
    pub selector: Vec<String>,
    /// The Gateway that wrote the logs, in place of workloads.
    #[arg(long, value_name = "NAME", conflicts_with = "selector", requires = "files")]
    pub gateway: Option<String>,
    /// Name of the policy; of those for several workloads the beginning.
    #[arg(long, default_value = "suggested", value_name = "NAME")]
    pub name: String,
    /// Paths that differ in one segment only are one when there are more of them than this.
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    pub most_alike: usize,
    /// Access logs; -: standard input; none: the sidecars are asked.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When a file can't be read, or the cluster can't be asked.
pub fn run(args: &SuggestArgs) -> anyhow::Result<ExitCode> {
    let What::Policy(args) = &args.what;
    let labels = labels(&args.selector)?;
    let found = match args.files.is_empty() {
        true => cluster::block_on(async {
            let client = args.cluster.client().await?;
            sidecars::ask_all(client, &args.namespace, &labels, &args.name).await
        })?,
        false => Found { workloads: vec![of_logs(args, labels)?], notes: Vec::new() },
    };
    output::print(&suggest(args, &found)?)?;
    let has_seen = found.workloads.iter().any(|it| !it.observed.calls.is_empty());
    Ok(ExitCode::from(u8::from(!has_seen)))
}

fn of_logs(args: &PolicyArgs, labels: BTreeMap<String, String>) -> anyhow::Result<Workload> {
    let mut observed = Observed::default();
    for path in &args.files {
        let read = match path == Path::new("-") {
            true => observed.read(io::stdin().lock()),
            false => File::open(path).and_then(|file| observed.read(BufReader::new(file))),
        };
        read.with_context(|| format!("{}", path.display()))?;
    }
    let target = match &args.gateway {
        Some(gateway) => Target::Gateway(gateway.clone()),
        None => Target::Pods(labels),
    };
    Ok(Workload { policy: args.name.clone(), target, observed })
}

fn labels(selector: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |it: &String| match it.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("--selector {it:?}: write it as NAME=VALUE"),
    };
    selector.iter().map(pair).collect()
}

/// What policies are made of.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Of whom something was, or could have been, seen.
    pub workloads: Vec<Workload>,
    /// What a reader must know besides, a line each.
    pub notes: Vec<String>,
}

/// What one policy is made of.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name of its policy.
    pub policy: String,
    /// What the policy is for.
    pub target: Target,
    /// What it was seen to take and to reach.
    pub observed: Observed,
}

/// What a policy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Pods with these labels; none: all of the namespace.
    Pods(BTreeMap<String, String>),
    /// A Gateway.
    Gateway(String),
}

/// The manifests, as YAML with comments.
///
/// # Errors
/// When they can't be written.
pub fn suggest(args: &PolicyArgs, found: &Found) -> anyhow::Result<String> {
    let sum = |of: fn(&Observed) -> u64| found.workloads.iter().map(|it| of(&it.observed)).sum::<u64>();
    let mut text = format!(
        "# Made by sluice suggest policy from {} ({} different). Read before you apply.\n",
        output::counted(sum(Observed::answered) as usize, "call"),
        sum(|it| it.calls.len() as u64)
    );
    for (count, what) in [
        (sum(|it| it.refused), "refused or failed; not allowed here"),
        (sum(|it| it.unread), "in lines that are no record of a call"),
        (sum(|it| it.forgotten), "beyond what is remembered: these manifests allow too little"),
    ] {
        if count > 0 {
            text += &format!("# {count} {what}.\n");
        }
    }
    for note in &found.notes {
        text += &format!("# {note}\n");
    }
    let mut manifests = Vec::new();
    for workload in &found.workloads {
        let (policy, nameless) = policy::make(&args.namespace, workload, args.most_alike);
        for (call, count) in &nameless {
            let of =
                if found.workloads.len() > 1 { format!(" ({})", workload.policy) } else { String::new() };
            text += &format!("# {count} without an identity, which no policy can name: {call}{of}\n");
        }
        manifests.extend(policy);
    }
    manifests.extend(entry::make(&args.namespace, &found.workloads));
    for manifest in &manifests {
        text += "---\n";
        text += &serde_saphyr::to_string(manifest).context("can't write a manifest as YAML")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
