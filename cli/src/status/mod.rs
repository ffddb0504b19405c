//! `sluice status`: how the gateways, routes and proxies of a cluster stand, and why one does not.
//!
//! Two sources. The statuses that the controller wrote are read from the API server. How far each proxy has come is
//! known to the controller alone; its admin port is reached through the API server's proxy, so that nothing has to be
//! exposed. When that way is closed the report says so and shows the rest.

mod gather;
mod objects;
mod report;
mod sync;

pub use gather::gather;
pub use report::{
    Behind, ControllerReport, GatewayReport, ParentReport, Problem, ProxiesReport, Report, RouteReport,
};
pub use sync::{GatewaySync, ProxySync, Refusal};

use crate::cluster::{self, ClusterArgs};
use crate::install::NAMESPACE;
use crate::output::{self, Format};
use std::process::ExitCode;

/// Show gateways, routes and proxies of a cluster: what works, what does not, and why.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Exit status: 0 all is well, 1 something is not (it is listed under \"problems\"), 2 the cluster can't be asked.

Examples:
  sluice status
  sluice status -n shop
  sluice status -o json | jq '.gateways[] | select(.programmed | not) | .name'")]
pub struct StatusArgs {
    /// Form of the report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Namespace to look at [default: all].
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Namespace of the controller.
    #[arg(long, value_name = "NAMESPACE", default_value = NAMESPACE)]
    pub controller_namespace: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// Tables for people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs, and people who know `kubectl get -o yaml`.
    Yaml,
}

impl From<OutputFormat> for Format {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Table => Self::Text,
            OutputFormat::Json => Self::Json,
            OutputFormat::Yaml => Self::Yaml,
        }
    }
}

/// Asks and prints.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let report = cluster::block_on(async {
        let client = args.cluster.client().await?;
        gather(&client, &args.controller_namespace, args.namespace.as_deref()).await
    })?;
    output::print_as(args.output.into(), &report, Report::to_text)?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
