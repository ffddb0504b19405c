//! `sluice suggest policy`: what was seen becomes what is allowed.
//!
//! Comes in: lines of access logs in JSON, Sluice's own or Envoy's, of workloads of a namespace or of a Gateway. Goes out:
//! AuthorizationPolicies that allow exactly these calls, each caller its own, in a dry run; and ServiceEntries for hosts outside
//! that were reached without one. Nothing is applied: a person reads it first.

mod entry;
mod line;
mod policy;
mod template;

pub use line::Call;

use crate::output;
use anyhow::Context as _;
use line::Seen;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

/// Longest line that is read.
const LINE_BYTES: u64 = 1024 * 1024;
/// Most different calls that are remembered.
const MOST_CALLS: usize = 100_000;

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

/// Make AuthorizationPolicies, and ServiceEntries, from calls in access logs.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Each policy has the annotation istio.io/dry-run: \"true\". Apply it, watch istio_dry_run_requests_total, then remove the annotation.

Examples:
  kubectl logs -n shop -l app=cart -c istio-proxy --tail=-1 | sluice suggest policy -n shop --selector app=cart
  sluice suggest policy -n edge --gateway web access.log.1 access.log > policies.yaml")]
pub struct PolicyArgs {
    /// Namespace of what was called, and of the manifests.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: String,
    /// Labels of the workloads that wrote the logs; none: all of the namespace.
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',')]
    pub selector: Vec<String>,
    /// The Gateway that wrote the logs, in place of workloads.
    #[arg(long, value_name = "NAME", conflicts_with = "selector")]
    pub gateway: Option<String>,
    /// Name of the policy.
    #[arg(long, default_value = "suggested", value_name = "NAME")]
    pub name: String,
    /// Paths that differ in one segment only are one when there are more of them than this.
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    pub most_alike: usize,
    /// Access logs; none: standard input.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When a file can't be read.
pub fn run(args: &SuggestArgs) -> anyhow::Result<ExitCode> {
    let What::Policy(args) = &args.what;
    let mut observed = Observed::default();
    if args.files.is_empty() {
        observed.read(io::stdin().lock()).context("standard input")?;
    }
    for path in &args.files {
        let file = File::open(path).with_context(|| format!("{}", path.display()))?;
        observed.read(BufReader::new(file)).with_context(|| format!("{}", path.display()))?;
    }
    output::print(&suggest(args, &observed)?)?;
    Ok(ExitCode::from(u8::from(observed.calls.is_empty())))
}

/// What logs say, counted.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Calls that were answered, and how often.
    pub calls: BTreeMap<Call, u64>,
    /// Lines that are no record, or that say too little.
    pub unread: u64,
    /// Calls that were refused or failed by the caller's fault: nobody should allow those by accident.
    pub refused: u64,
    /// Calls beyond what is remembered.
    pub forgotten: u64,
}

impl Observed {
    /// Reads a log, line by line.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&mut self, mut log: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if log.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.line(&line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        match line::read(line) {
            Seen::Call(call) => {
                let is_known = self.calls.contains_key(&call);
                if !is_known && self.calls.len() >= MOST_CALLS {
                    self.forgotten += 1;
                    return;
                }
                *self.calls.entry(call).or_default() += 1;
            }
            Seen::Refused => self.refused += 1,
            Seen::Nothing => self.unread += 1,
        }
    }
}

/// The manifests, as YAML with comments.
///
/// # Errors
/// When they can't be written, or the selector is none.
pub fn suggest(args: &PolicyArgs, observed: &Observed) -> anyhow::Result<String> {
    let mut text = format!(
        "# Made by sluice suggest policy from {} ({} different). Read before you apply.\n",
        output::counted(observed.calls.values().sum::<u64>() as usize, "call"),
        observed.calls.len()
    );
    for (count, what) in [
        (observed.refused, "refused or failed; not allowed here"),
        (observed.unread, "in lines that are no record of a call"),
        (observed.forgotten, "beyond what is remembered: these manifests allow too little"),
    ] {
        if count > 0 {
            text += &format!("# {count} {what}.\n");
        }
    }
    let (policy, nameless) = policy::make(args, observed)?;
    for (call, count) in &nameless {
        text += &format!("# {count} without an identity, which no policy can name: {call}\n");
    }
    let entries = entry::make(&args.namespace, observed);
    for manifest in policy.iter().chain(&entries) {
        text += "---\n";
        text += &serde_saphyr::to_string(manifest).context("can't write a manifest as YAML")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
