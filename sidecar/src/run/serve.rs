//! Starts all parts, and stops them in order.

use super::pages::status_servers;
use super::{AccessLogForm, RunArgs};
use crate::dns::{DnsOptions, DnsProxy, Table};
use crate::life::{Life, until_quiet};
use crate::pod::{Labels, watch_labels};
use crate::resolv_conf::{self, ResolvConf};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use sluice_ir::{AccessLog, GatewayKey};
use sluice_proxy::admin::Readiness;
use sluice_proxy::identity::{Identity, IdentityClient, IdentityOptions};
use sluice_proxy::listen::{Destination, original_destination};
use sluice_proxy::mesh::{self, Destinations, Mesh, MeshOptions, MeshSettings};
use sluice_proxy::process::{Termination, all_addresses};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::sync::{self, OnDemand, SyncClient, SyncOptions, SyncState};
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::telemetry::mesh::OwnWorkload;
use sluice_proxy::telemetry::trace::TraceOptions;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long certificates are asked for (Istio's agents ask for as much).
const VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// Serves until it is told to end.
pub(super) async fn serve(args: RunArgs) -> Result<ExitCode> {
    let mut termination = Termination::new()?;
    let labels = watch_labels(&args.labels_file);
    let (identity_client, identity) = IdentityClient::new(identity_options(&args));
    let proxy = Proxy::new(ProxyOptions {
        plan: BindPlan::captured(),
        log: AccessLogger::stdout(),
        resolver: Resolver::system(),
        identity: Some(identity.clone()),
        mesh: Some(MeshSettings {
            namespace: args.namespace.clone(),
            labels: labels.borrow().clone(),
            detection: args.detection_timeout,
        }),
    })?;
    proxy.join_mesh(own_workload(&args, &labels.borrow()));
    proxy.trace_to(TraceOptions::from_env());
    let readiness = Readiness::new("no configuration yet");
    let life = Life::default();
    let (servers, work) = (CancellationToken::new(), CancellationToken::new());
    let names = Table::default();
    let _names = if args.dns { Some(answer_names(&args, names.clone()).await?) } else { None };
    let sync = SyncClient::start(proxy.clone(), sync_options(&args)).await;
    let state = sync.state();
    let captured = Mesh::start(&proxy, mesh_options(&args, sync.on_demand())).await;
    let captured = captured.context("ports of captured connections")?;
    status_servers(&args, &proxy, &readiness, &life, (&state, &identity), &servers).await?;
    let working = [tokio::spawn(sync.run(work.clone())), tokio::spawn(identity_client.run(work.clone()))];
    let following =
        Following { proxy: proxy.clone(), state, identity, labels, names, readiness: readiness.clone() };
    let following = tokio::spawn(following.run());

    let announced = async {
        life.near_end().await;
        following.abort();
        readiness.set_not_ready("draining");
        captured.announce_end().await;
    };
    let order = tokio::select! {
        signal = termination.received() => signal,
        () = life.ordered() => "/quitquitquit",
        () = async { announced.await; std::future::pending().await } => "never",
    };
    following.abort();
    readiness.set_not_ready("draining");
    captured.announce_end().await;
    info!(order, duration = ?args.drain_duration, deadline = ?args.drain_deadline, "draining");
    tokio::select! {
        () = until_quiet(|| captured.connections(), args.drain_duration) => {}
        // A second signal: somebody is in a hurry.
        _ = termination.received() => {}
    }
    let cut = captured.drain(args.drain_deadline).await;
    // What was open needed its configuration and its identity; now nothing is.
    work.cancel();
    for task in working {
        let _ = task.await;
    }
    servers.cancel();
    info!(connections_cut = cut, "ended");
    Ok(ExitCode::SUCCESS)
}

/// What changes while it runs, and what follows from it.
struct Following {
    proxy: Arc<Proxy>,
    state: watch::Receiver<SyncState>,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    labels: watch::Receiver<Labels>,
    names: Table,
    readiness: Readiness,
}

impl Following {
    /// Keeps up with the configuration, the identity and the pod's labels: names, policies that select by labels, and
    /// whether traffic is welcome. Once it is, it stays so: what is lost later is the last good one, or fails by itself.
    async fn run(mut self) {
        loop {
            let configured = self.state.borrow_and_update().configured;
            let is_known = self.identity.borrow_and_update().is_some();
            if configured {
                self.names.store(self.proxy.names());
            }
            match (configured, is_known) {
                (true, true) => self.readiness.set_ready(),
                _ if self.readiness.is_ready() => {}
                (true, false) => self.readiness.set_not_ready("no identity yet"),
                (false, _) => self.readiness.set_not_ready("no configuration yet"),
            }
            tokio::select! {
                Ok(()) = self.state.changed() => {}
                Ok(()) = self.identity.changed() => {}
                Ok(()) = self.labels.changed() => {
                    let labels = self.labels.borrow_and_update().clone();
                    info!(?labels, "the pod has other labels");
                    self.proxy.set_labels(labels).await;
                }
                else => return,
            }
        }
    }
}

/// Asks the controller for destinations that somebody calls.
struct Asked(OnDemand);

#[async_trait]
impl Destinations for Asked {
    async fn want(&self, destination: Destination) -> mesh::Wanted {
        match self.0.want(&destination.name()).await {
            sync::Wanted::Known(_) => mesh::Wanted::Known,
            sync::Wanted::Nobody => mesh::Wanted::Nobody,
            sync::Wanted::Unavailable => mesh::Wanted::Unknown,
        }
    }
}

fn mesh_options(args: &RunArgs, destinations: OnDemand) -> MeshOptions {
    MeshOptions {
        outbound: each_family(args.outbound_port),
        inbound: each_family(args.inbound_port),
        original: Arc::new(original_destination),
        destinations: Arc::new(Asked(destinations)),
        wait: mesh::WAIT,
    }
}

/// One socket a family: the kernel tells where a connection was going only by its own.
fn each_family(port: u16) -> Vec<SocketAddr> {
    let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let all = [Some(v4), Some(all_addresses()).filter(|it| *it != v4)];
    all.into_iter().flatten().map(|it| SocketAddr::new(it, port)).collect()
}

async fn answer_names(args: &RunArgs, names: Table) -> Result<DnsProxy> {
    let resolv_conf = ResolvConf::of_system().context(resolv_conf::PATH)?;
    DnsProxy::start(DnsOptions { port: args.dns_port, resolv_conf, names }).await
}

fn own_workload(args: &RunArgs, labels: &Labels) -> OwnWorkload {
    let (namespace, account) = (&args.namespace, &args.service_account);
    let mut own = OwnWorkload::new(namespace, account, &args.pod, args.workload.as_deref(), labels.clone());
    own.trust_domain.clone_from(&args.trust_domain);
    own.cluster.clone_from(&args.cluster);
    own.access_log = Some(match args.access_log {
        AccessLogForm::Disabled => AccessLog::Off,
        AccessLogForm::Text => AccessLog::Text,
        AccessLogForm::Json => AccessLog::Json,
        AccessLogForm::IstioJson => AccessLog::IstioJson,
    });
    own.mesh.clone_from(&args.trust_domain);
    own.address = args.addresses.first().map(IpAddr::to_string).unwrap_or_default();
    own
}

fn identity_options(args: &RunArgs) -> IdentityOptions {
    IdentityOptions {
        controller: args.controller.clone(),
        server_name: args.controller_name.clone(),
        token_file: args.token_file.clone(),
        ca_file: args.ca_file.clone(),
        roots_file: Some(args.roots_file.clone()),
        validity: VALIDITY,
    }
}

fn sync_options(args: &RunArgs) -> SyncOptions {
    let has_folder = args.snapshot_dir.is_dir();
    if !has_folder {
        warn!(folder = %args.snapshot_dir.display(), "no such folder: the last good configuration is not kept");
    }
    SyncOptions {
        controller: args.controller.clone(),
        server_name: args.controller_name.clone(),
        gateway: GatewayKey::new(format!("Workloads/{}", args.namespace)),
        node: args.pod.clone(),
        host: args.node.clone(),
        token_file: args.token_file.clone(),
        ca_file: args.ca_file.clone(),
        snapshot_dir: has_folder.then(|| args.snapshot_dir.clone()),
    }
}
