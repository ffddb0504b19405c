//! `sluice-gateway`: the data plane of one Gateway in a cluster.
//!
//! start → last good configuration of the disk → controller: it serves as soon as it has a whole configuration from
//! either, is ready then and not before, and ends when it is told to: first it asks for no more traffic, then it closes
//! its ports and lets open requests end.

use crate::{Gateway, GatewayOptions};
use anyhow::{Context as _, Result};
use http::Uri;
use sluice_ir::{GatewayKey, Locality};
use sluice_proxy::identity::{IdentityClient, IdentityOptions};
use sluice_proxy::process::{LogFormat, Termination, all_addresses, duration, init_tracing};
use sluice_proxy::sync::{SyncClient, SyncOptions, SyncState};
use sluice_proxy::telemetry::mesh::OwnWorkload;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Life of the certificates that a gateway asks for.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Serves one Gateway as its controller says.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Signals: SIGTERM and SIGINT drain and end.
Exit status: 0 after a signal, 2 when the admin address can't be bound or an argument is wrong.

/healthz/ready says 200 from the first whole configuration on, which may be the last good one of --snapshot-dir.
/debug is answered to this machine only.")]
pub struct RunArgs {
    /// The controller.
    #[arg(long, env = "SLUICE_CONTROLLER", value_name = "https://HOST:PORT")]
    pub controller: Uri,
    /// Name in the controller's certificate. Default: the host of --controller.
    #[arg(long, env = "SLUICE_CONTROLLER_NAME", value_name = "NAME")]
    pub controller_name: Option<String>,
    /// The Gateway to serve.
    #[arg(long, env = "SLUICE_GATEWAY", value_name = "NAMESPACE/NAME", value_parser = gateway_key)]
    pub gateway: GatewayKey,
    /// Name of this data plane. Default: the variable POD_NAME, else the name of the machine.
    #[arg(long, env = "SLUICE_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Where this data plane runs, for rules by which near endpoints come first. Default: what the controller knows of
    /// the Kubernetes node that the variable NODE_NAME names.
    #[arg(long, env = "SLUICE_LOCALITY", value_name = "REGION/ZONE/SUBZONE")]
    pub locality: Option<Locality>,
    /// File with the token of the pod's service account, made for the audience sluice-controller.
    #[arg(
        long,
        env = "SLUICE_TOKEN_FILE",
        value_name = "PATH",
        default_value = "/var/run/sluice/token/token"
    )]
    pub token_file: PathBuf,
    /// File with the certificates that vouch for the controller.
    #[arg(long, env = "SLUICE_CA_FILE", value_name = "PATH", default_value = "/var/run/sluice/ca/ca.crt")]
    pub ca_file: PathBuf,
    /// Folder for the last good configuration, private keys included; only the owner may read the file. Default: none.
    #[arg(long, env = "SLUICE_SNAPSHOT_DIR", value_name = "DIR")]
    pub snapshot_dir: Option<PathBuf>,
    /// Takes an identity of the mesh, with the token of --token-file, for endpoints that are workloads of it.
    #[arg(long, env = "SLUICE_MESH")]
    pub mesh: bool,
    /// File with the mesh's roots; when it changes, the new ones are fetched with a new certificate.
    #[arg(
        long,
        env = "SLUICE_MESH_ROOTS_FILE",
        value_name = "PATH",
        default_value = "/var/run/sluice/mesh/root-cert.pem"
    )]
    pub mesh_roots_file: PathBuf,
    /// Address of the listeners. Default: all, IPv6 too where the machine has it.
    #[arg(long, env = "SLUICE_BIND", value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Moves ports below 1024 up by 10000 and leaves the Gateway's addresses to its Service.
    #[arg(long, env = "SLUICE_CLUSTER_PORTS")]
    pub cluster_ports: bool,
    /// Where probes, metrics and, for this machine only, debug pages are served.
    #[arg(long, env = "SLUICE_ADMIN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// How long new connections are taken after SIGTERM, while nobody is told of this data plane any more.
    #[arg(long, env = "SLUICE_DRAIN_DELAY", value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    pub drain_delay: Duration,
    /// How long open requests may go on after that.
    #[arg(long, env = "SLUICE_DRAIN_DEADLINE", value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub drain_deadline: Duration,
    /// Counts requests as Istio's gateways do (`istio_*`, reporter source), with the Gateway as the workload.
    #[arg(long, env = "SLUICE_ISTIO_METRICS")]
    pub istio_metrics: bool,
    /// Form of the messages on standard error; what is shown follows the variable SLUICE_LOG.
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_name = "text|json", default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// Serves until a signal.
///
/// # Errors
/// When the admin address can't be bound, or the process can't set itself up.
pub fn run(args: RunArgs) -> Result<ExitCode> {
    init_tracing(args.log_format, "info")?;
    // Fails only when somebody installed one before, which nobody does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("sluice").build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: RunArgs) -> Result<ExitCode> {
    let mut termination = Termination::new()?;
    let shown: Arc<OnceLock<watch::Receiver<SyncState>>> = Arc::default();
    let of_page = shown.clone();
    let page = move || {
        let state = of_page.get().map(|state| state.borrow().clone());
        serde_json::to_string_pretty(&state).unwrap_or_default()
    };
    let pages: Vec<(String, sluice_proxy::admin::Page)> = vec![("/debug/sync".to_owned(), Box::new(page))];
    let stop = CancellationToken::new();
    let mut options = options(&args);
    let mut identity = None;
    if args.mesh {
        let (client, receiver) = IdentityClient::new(identity_options(&args));
        options.identity = Some(receiver);
        identity = Some(tokio::spawn(client.run(stop.clone())));
    }
    let gateway = Gateway::start_with(options, pages).await.context("can't start the gateway")?;
    if args.istio_metrics {
        gateway.proxy().join_mesh(workload(&args.gateway));
    }
    let sync = SyncClient::start(gateway.proxy().clone(), sync_options(&args)).await;
    let mut state = sync.state();
    let _ = shown.set(state.clone());
    let task = tokio::spawn(sync.run(stop.clone()));
    let signal = loop {
        if state.borrow_and_update().configured {
            gateway.set_configured().await;
        }
        tokio::select! {
            signal = termination.received() => break signal,
            Ok(()) = state.changed() => {}
        }
    };
    info!(signal, delay = ?args.drain_delay, deadline = ?args.drain_deadline, "draining");
    gateway.set_not_ready("draining");
    tokio::select! {
        () = tokio::time::sleep(args.drain_delay) => {}
        // A second signal: somebody is in a hurry.
        _ = termination.received() => {}
    }
    // What changes now is for others.
    stop.cancel();
    let cut = gateway.drain(args.drain_deadline).await;
    let _ = task.await;
    if let Some(identity) = identity {
        let _ = identity.await;
    }
    info!(connections_cut = cut, "ended");
    Ok(ExitCode::SUCCESS)
}

/// The Gateway as a workload of the mesh: it is called as its Deployment is.
fn workload(gateway: &GatewayKey) -> OwnWorkload {
    let (namespace, name) = gateway.as_str().split_once('/').unwrap_or(("", gateway.as_str()));
    let pod = std::env::var("POD_NAME").unwrap_or_else(|_| name.to_owned());
    let account = std::env::var("SERVICE_ACCOUNT").unwrap_or_else(|_| name.to_owned());
    let own = OwnWorkload::new(namespace, &account, &pod, Some(name), BTreeMap::new());
    let cluster = std::env::var("ISTIO_META_CLUSTER_ID").unwrap_or_else(|_| own.cluster.clone());
    OwnWorkload { is_gateway: true, cluster, ..own }
}

fn options(args: &RunArgs) -> GatewayOptions {
    GatewayOptions {
        bind: args.bind.unwrap_or_else(all_addresses),
        port_offset: 0,
        cluster_ports: args.cluster_ports,
        locality: args.locality.clone(),
        identity: None,
        admin: Some(match args.admin.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => SocketAddr::new(all_addresses(), args.admin.port()),
            _ => args.admin,
        }),
    }
}

fn identity_options(args: &RunArgs) -> IdentityOptions {
    IdentityOptions {
        controller: args.controller.clone(),
        server_name: args.controller_name.clone(),
        token_file: args.token_file.clone(),
        ca_file: args.ca_file.clone(),
        roots_file: Some(args.mesh_roots_file.clone()),
        validity: CERTIFICATE_LIFE,
    }
}

fn sync_options(args: &RunArgs) -> SyncOptions {
    SyncOptions {
        controller: args.controller.clone(),
        server_name: args.controller_name.clone(),
        gateway: args.gateway.clone(),
        node: args.node.clone().unwrap_or_else(own_name),
        host: host(args),
        token_file: args.token_file.clone(),
        ca_file: args.ca_file.clone(),
        snapshot_dir: args.snapshot_dir.clone(),
    }
}

/// The Kubernetes node, unless the place is given.
fn host(args: &RunArgs) -> Option<String> {
    let named = std::env::var("NODE_NAME").ok().filter(|it| !it.is_empty());
    named.filter(|_| args.locality.is_none())
}

fn own_name() -> String {
    let of_pod = std::env::var("POD_NAME").ok();
    let of_machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = of_pod.or_else(of_machine).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "sluice-gateway".to_owned() } else { name.to_owned() }
}

fn gateway_key(text: &str) -> Result<GatewayKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(GatewayKey::new(text))
        }
        _ => Err(format!("{text:?} is no Gateway; write NAMESPACE/NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::gateway_key;

    #[test]
    fn a_gateway_has_a_namespace_and_a_name() {
        assert!(gateway_key("shop/web").is_ok_and(|key| key.as_str() == "shop/web"));
        for wrong in ["", "web", "/web", "shop/", "a/b/c"] {
            assert!(gateway_key(wrong).is_err(), "{wrong}");
        }
    }
}
