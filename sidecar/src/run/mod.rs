//! `sluice-sidecar run`: the data plane of one workload.
//!
//! start → last good configuration of the disk → controller and identity: it is ready as soon as it has both, and ends
//! when it is told to, after the workload's last connection.

mod pages;
mod serve;

use crate::status::{AppMetrics, Probes};
use anyhow::Result;
use http::Uri;
use sluice_proxy::process::{LogFormat, duration, init_tracing};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long idle threads for files are kept.
const KEEP_THREADS: Duration = Duration::from_secs(1);

/// Serves one workload as its controller says.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Signals: SIGTERM and SIGINT drain and end, as POST /quitquitquit on the status port does.
Exit status: 0 after a signal, 2 when a port can't be bound or an argument is wrong.")]
pub struct RunArgs {
    /// The controller.
    #[arg(long, env = "SLUICE_CONTROLLER", value_name = "https://HOST:PORT")]
    pub controller: Uri,
    /// Name in the controller's certificate. Default: the host of --controller.
    #[arg(long, env = "SLUICE_CONTROLLER_NAME", value_name = "NAME")]
    pub controller_name: Option<String>,
    /// Name of the pod.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod: String,
    /// Namespace of the pod.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub namespace: String,
    /// Addresses of the pod, by which its workload is asked for probes. Default: loopback.
    #[arg(long, env = "POD_IPS", value_name = "ADDRESSES", value_delimiter = ',')]
    pub addresses: Vec<IpAddr>,
    /// The pod's service account.
    #[arg(long, env = "SERVICE_ACCOUNT", value_name = "NAME", default_value = "default")]
    pub service_account: String,
    /// What made the pod, for metrics. Default: made out from the pod's name.
    #[arg(long, env = "SLUICE_WORKLOAD", value_name = "NAME")]
    pub workload: Option<String>,
    /// Kubernetes node, by which the controller knows where this is.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node: Option<String>,
    /// The mesh's own trust domain.
    #[arg(long, env = "SLUICE_TRUST_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// The cluster, for metrics and spans.
    #[arg(long, env = "ISTIO_META_CLUSTER_ID", value_name = "NAME", default_value = "Kubernetes")]
    pub cluster: String,
    /// Form of the access log, where no Telemetry and no configuration of the mesh says it.
    #[arg(long, env = "SLUICE_ACCESS_LOG", value_enum, default_value_t)]
    pub access_log: AccessLogForm,
    /// Labels of the pod, as the downward API writes them; read again when they change.
    #[arg(long, env = "SLUICE_LABELS_FILE", value_name = "PATH", default_value = "/etc/istio/pod/labels")]
    pub labels_file: PathBuf,
    /// File with the token of the pod's service account, made for the audience istio-ca.
    #[arg(
        long,
        env = "SLUICE_TOKEN_FILE",
        value_name = "PATH",
        default_value = "/var/run/secrets/tokens/istio-token"
    )]
    pub token_file: PathBuf,
    /// File with the certificates that vouch for the controller.
    #[arg(
        long,
        env = "SLUICE_CA_FILE",
        value_name = "PATH",
        default_value = "/var/run/secrets/istio/controller.pem"
    )]
    pub ca_file: PathBuf,
    /// File with the mesh's roots, whose change has the identity renewed.
    #[arg(
        long,
        env = "SLUICE_ROOTS_FILE",
        value_name = "PATH",
        default_value = "/var/run/secrets/istio/root-cert.pem"
    )]
    pub roots_file: PathBuf,
    /// Folder for the last good configuration, where there is one.
    #[arg(long, env = "SLUICE_SNAPSHOT_DIR", value_name = "DIR", default_value = "/var/lib/sluice")]
    pub snapshot_dir: PathBuf,
    /// Threads that serve.
    #[arg(long, env = "SLUICE_CONCURRENCY", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Where outgoing connections come.
    #[arg(long, env = "SLUICE_OUTBOUND_PORT", value_name = "PORT", default_value_t = 15001)]
    pub outbound_port: u16,
    /// Where incoming connections come.
    #[arg(long, env = "SLUICE_INBOUND_PORT", value_name = "PORT", default_value_t = 15006)]
    pub inbound_port: u16,
    /// How long the first bytes of a client that says nothing are waited for, where they say what the connection is.
    #[arg(long, env = "SLUICE_DETECTION_TIMEOUT", value_name = "DURATION", default_value = "200ms", value_parser = duration::parse)]
    pub detection_timeout: Duration,
    /// Whether names are answered, on loopback.
    #[arg(long, env = "SLUICE_DNS_CAPTURE", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub dns: bool,
    /// The port for it.
    #[arg(long, env = "SLUICE_DNS_PORT", value_name = "PORT", default_value_t = 15053)]
    pub dns_port: u16,
    /// Metrics and debug pages, for this machine.
    #[arg(long, env = "SLUICE_ADMIN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// Probes and metrics of the workload, orders.
    #[arg(long, env = "SLUICE_STATUS_PORT", value_name = "PORT", default_value_t = 15020)]
    pub status_port: u16,
    /// Whether the sidecar is ready.
    #[arg(long, env = "SLUICE_READINESS_PORT", value_name = "PORT", default_value_t = 15021)]
    pub readiness_port: u16,
    /// What the injector took out of the pod's probes: a JSON object.
    #[arg(
        long,
        env = "SLUICE_APP_PROBES",
        value_name = "JSON",
        default_value = "",
        hide_default_value = true
    )]
    pub app_probes: Probes,
    /// Where the workload has metrics: {"port":8080,"path":"/metrics"}. Default: nowhere.
    #[arg(long, env = "SLUICE_APP_METRICS", value_name = "JSON")]
    pub app_metrics: Option<AppMetrics>,
    /// How long connections are taken after SIGTERM while there are any (terminationDrainDuration).
    #[arg(long, env = "SLUICE_DRAIN_DURATION", value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub drain_duration: Duration,
    /// How long what is then under way may go on.
    #[arg(long, env = "SLUICE_DRAIN_DEADLINE", value_name = "DURATION", default_value = "20s", value_parser = duration::parse)]
    pub drain_deadline: Duration,
    /// Form of the messages on standard error; what is shown follows the variable SLUICE_LOG.
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_name = "text|json", default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AccessLogForm {
    /// None.
    #[default]
    Disabled,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
    /// One JSON object a line with the fields of Istio's default format.
    IstioJson,
}

/// Serves until it is told to end.
///
/// # Errors
/// When a port can't be bound, or the process can't set itself up.
pub fn run(args: RunArgs) -> Result<ExitCode> {
    init_tracing(args.log_format, "info")?;
    // Fails only when somebody installed one before, which nobody does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.concurrency.into())
        .thread_keep_alive(KEEP_THREADS)
        .enable_all()
        .thread_name("sluice")
        .build()?;
    runtime.block_on(serve::serve(args))
}
