//! `sluice certificates`: names, issuer, end, next renewal and last error of what issuers keep; no secret.

mod table;

use crate::cluster::{self, ClusterArgs};
use crate::run::{REPORT, default_state};
use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use sluice_controller::acme::Row;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The ConfigMap that the controller keeps.
const CONFIG_MAP: &str = "sluice-certificates";

/// List the certificates that issuers keep: names, issuer, end, next renewal, last error.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Of a cluster, the table is in the ConfigMap sluice-certificates of the controller's namespace; of sluice run, in its state
folder. Neither holds a secret.

Exit status: 0 each certificate is there, 1 one is missing, 2 the table can't be read.

Examples:
  sluice certificates
  sluice certificates --state /var/lib/sluice")]
pub struct CertificatesArgs {
    /// State folder of sluice run, in place of a cluster.
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub state: Option<Option<PathBuf>>,
    /// Namespace of the controller.
    #[arg(long, value_name = "NAMESPACE", default_value = "sluice-system")]
    pub namespace: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Prints the table.
pub fn run(args: &CertificatesArgs) -> anyhow::Result<ExitCode> {
    let text = match &args.state {
        Some(folder) => {
            let path = folder.clone().unwrap_or_else(default_state).join(REPORT);
            std::fs::read_to_string(&path)
                .with_context(|| format!("can't read {}; does sluice run use this folder?", path.display()))?
        }
        None => cluster::block_on(of_cluster(args))?,
    };
    let rows: Vec<Row> = serde_json::from_str(&text).context("the table of certificates can't be read")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table::render(&rows, now_s()));
    }
    let is_complete = rows.iter().all(|it| it.not_after_s.is_some());
    Ok(ExitCode::from(u8::from(!is_complete)))
}

async fn of_cluster(args: &CertificatesArgs) -> anyhow::Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(args.cluster.client().await?, &args.namespace);
    let place = format!("ConfigMap {}/{CONFIG_MAP}", args.namespace);
    let map = maps.get_opt(CONFIG_MAP).await.with_context(|| place.clone())?;
    // Without an issuer nobody writes it.
    let data = map.and_then(|it| it.data).and_then(|mut it| it.remove("certificates.json"));
    Ok(data.unwrap_or_else(|| "[]".to_owned()))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
