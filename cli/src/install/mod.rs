//! `sluice install` and `sluice uninstall`: the controller on a cluster.
//!
//! profile and `--set` → [`Settings`] → [`render`] → YAML on standard output, or server-side apply in order. What an
//! installation makes carries two labels, by which uninstall and the next install find it again. The Gateway API's own
//! CRDs are the cluster's, shared with other controllers: their presence is checked, they are never installed here.

mod apply;
mod gateway_api;
mod manifests;
mod settings;
mod uninstall;
mod values;
mod wait;

pub use apply::{Applier, Outcome};
pub use gateway_api::{INSTALL_COMMAND as GATEWAY_API_INSTALL, check as check_gateway_api};
pub use manifests::{CONTROLLER, MANAGED_BY, Manifest, PART_OF, render, to_yaml};
pub use settings::{Facts, Key, NAMESPACE, SettingError, Settings, help};
pub use uninstall::{UninstallArgs, Uninstaller, run as run_uninstall};
pub use values::Type;
pub use wait::until_ready;

use crate::cluster::{self, ClusterArgs};
use crate::output::{self, counted};
use crate::profile;
use anyhow::Context as _;
use kube::Client;
use std::process::ExitCode;
use std::time::Duration;

/// Install the controller on a cluster, or print what would be installed.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help())]
pub struct InstallArgs {
    /// Settings to start from: minimal, default, demo, or a file *.yaml (sluice profile dump).
    #[arg(long, value_name = "NAME|FILE", default_value = "default")]
    pub profile: String,
    /// A setting that differs from the profile; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Print the manifests as YAML; needs no cluster.
    #[arg(long)]
    pub dry_run: bool,
    /// Namespace of the controller.
    #[arg(short, long, value_name = "NAMESPACE", default_value = NAMESPACE)]
    pub namespace: String,
    /// Wait until the controller runs and has accepted the GatewayClass.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::duration::parse)]
    pub timeout: Duration,
    /// Take over fields that somebody else has set.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

fn after_help() -> String {
    format!(
        "\
Run again it brings the cluster to what the profile and --set say now: an upgrade is an install with the newer command.
What an earlier install made and this one does not is removed, but no namespace.

Settings:
{}
Exit status: 0 installed, 1 applied but not ready in time (--wait), 2 not installed.

Examples:
  sluice install --dry-run | less
  sluice install --profile demo --wait
  sluice install --set registry=registry.example.com/team --set controller.replicas=3",
        help()
    )
}

/// Installs, or prints.
pub fn run(args: &InstallArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let manifests = render(&settings)?;
    if args.dry_run {
        output::print(&to_yaml(&manifests)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    cluster::block_on(async {
        let client = args.cluster.client().await?;
        apply_all(&client, &settings, &manifests, args.force_conflicts).await?;
        if !args.wait {
            println!("applied; sluice status shows when it is ready");
            return Ok(ExitCode::SUCCESS);
        }
        match until_ready(&client, &settings, args.timeout).await? {
            None => {
                println!("ready");
                Ok(ExitCode::SUCCESS)
            }
            Some(missing) => {
                eprintln!("not ready after {:?}: {missing}", args.timeout);
                Ok(ExitCode::from(1))
            }
        }
    })
}

impl InstallArgs {
    /// The profile with `--set` and `--namespace`.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = profile::read(&self.profile)?;
        for assignment in &self.assignments {
            settings.assign(assignment).context("--set")?;
        }
        settings.namespace.clone_from(&self.namespace);
        Ok(settings)
    }
}

/// Applies in order, removes what is left of an earlier installation, and tells each step.
pub async fn apply_all(
    client: &Client,
    settings: &Settings,
    manifests: &[Manifest],
    force: bool,
) -> anyhow::Result<()> {
    if let Some(warning) = check_gateway_api(client).await? {
        eprintln!("warning: {warning}");
    }
    let applier = Applier::new(client.clone(), force);
    applier.refuse_a_second(&settings.namespace).await?;
    let mut unchanged = 0;
    for manifest in manifests {
        match applier.apply(manifest).await? {
            Outcome::Unchanged => unchanged += 1,
            outcome => println!("{outcome}  {}", manifest.title()),
        }
    }
    for title in applier.prune(manifests).await? {
        println!("removed     {title}, which this profile does not have");
    }
    if unchanged > 0 {
        println!("unchanged   {}", counted(unchanged, "object"));
    }
    Ok(())
}
