//! Starts all parts, and stops them in order.

use super::RunArgs;
use crate::dns::{DnsOptions, DnsProxy, Table};
use crate::life::{Life, until_quiet};
use crate::pod::{Labels, watch_labels};
use crate::resolv_conf::{self, ResolvConf};
use crate::status::{ReadyPage, StatusPages};
use anyhow::{Context as _, Result};
use sluice_ir::{GatewayKey, WorkloadsKey};
use sluice_proxy::admin::{self, AdminState, Answer, Page, Readiness};
use sluice_proxy::process::{Termination, all_addresses};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::sync::{SyncClient, SyncOptions, SyncState};
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::telemetry::mesh::OwnWorkload;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Serves until it is told to end.
pub(super) async fn serve(args: RunArgs) -> Result<ExitCode> {
    let mut termination = Termination::new()?;
    let labels = watch_labels(&args.labels_file);
    let plan = BindPlan { bind: Ipv4Addr::LOCALHOST.into(), port_offset: 0, cluster_ports: false };
    let proxy = Proxy::new(ProxyOptions { plan, log: AccessLogger::stdout(), resolver: Resolver::system() })?;
    proxy.join_mesh(own_workload(&args, &labels.borrow()));
    let readiness = Readiness::new("no configuration yet");
    let life = Life::default();
    let (servers, work) = (CancellationToken::new(), CancellationToken::new());
    let names = Table::default();
    let _names = if args.dns { Some(answer_names(&args, names.clone()).await?) } else { None };
    let sync = SyncClient::start(proxy.clone(), sync_options(&args)).await;
    let state = sync.state();
    status_servers(&args, &proxy, &readiness, &life, &state, &servers).await?;
    let syncing = tokio::spawn(sync.run(work.clone()));
    let following =
        tokio::spawn(follow(proxy.clone(), args.namespace.clone(), state, names, readiness.clone()));

    let order = tokio::select! {
        signal = termination.received() => signal,
        () = life.ordered() => "/quitquitquit",
        () = announced(&life, &readiness, &following) => "never",
    };
    following.abort();
    readiness.set_not_ready("draining");
    info!(order, duration = ?args.drain_duration, deadline = ?args.drain_deadline, "draining");
    tokio::select! {
        () = until_quiet(|| proxy.connections(), args.drain_duration) => {}
        // A second signal: somebody is in a hurry.
        _ = termination.received() => {}
    }
    let cut = proxy.drain(args.drain_deadline).await;
    // What is the workload's was served to the end with what belongs to it; now it is over.
    work.cancel();
    let _ = syncing.await;
    servers.cancel();
    info!(connections_cut = cut, "ended");
    Ok(ExitCode::SUCCESS)
}

/// Says that no more traffic is welcome when the end is announced; waits for ever.
async fn announced(life: &Life, readiness: &Readiness, following: &tokio::task::JoinHandle<()>) {
    life.near_end().await;
    following.abort();
    readiness.set_not_ready("draining");
    std::future::pending().await
}

/// Keeps up with the configuration: names, and whether this is ready.
async fn follow(
    proxy: Arc<Proxy>,
    namespace: String,
    mut state: watch::Receiver<SyncState>,
    names: Table,
    readiness: Readiness,
) {
    let key = WorkloadsKey::new(namespace);
    loop {
        if state.borrow_and_update().configured {
            names.store(proxy.workloads(&key));
            readiness.set_ready();
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

async fn answer_names(args: &RunArgs, names: Table) -> Result<DnsProxy> {
    let resolv_conf = ResolvConf::of_system().context(resolv_conf::PATH)?;
    DnsProxy::start(DnsOptions { port: args.dns_port, resolv_conf, names }).await
}

async fn status_servers(
    args: &RunArgs,
    proxy: &Arc<Proxy>,
    readiness: &Readiness,
    life: &Life,
    state: &watch::Receiver<SyncState>,
    stop: &CancellationToken,
) -> Result<()> {
    let status = StatusPages {
        readiness: readiness.clone(),
        life: life.clone(),
        probes: args.app_probes.clone(),
        app_metrics: args.app_metrics.clone(),
        metrics: proxy.metrics().clone(),
        addresses: args.addresses.clone(),
    };
    let admin = AdminState {
        readiness: readiness.clone(),
        metrics: proxy.metrics().clone(),
        pages: pages(proxy, state),
    };
    let all = all_addresses();
    start(args.admin, admin, stop).await?;
    start(SocketAddr::new(all, args.status_port), status, stop).await?;
    start(SocketAddr::new(all, args.readiness_port), ReadyPage(readiness.clone()), stop).await
}

async fn start(address: SocketAddr, answers: impl Answer, stop: &CancellationToken) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("{address} can't be bound"))?;
    tokio::spawn(admin::serve(listener, Arc::new(answers), stop.clone()));
    Ok(())
}

/// What `/debug` shows, on this machine alone. Secrets are fingerprints there.
fn pages(proxy: &Arc<Proxy>, state: &watch::Receiver<SyncState>) -> Vec<(String, Page)> {
    let (of_snapshot, of_endpoints, state) = (Arc::downgrade(proxy), Arc::downgrade(proxy), state.clone());
    vec![
        (
            "/debug/snapshot".to_owned(),
            Box::new(move || json(&of_snapshot.upgrade().map(|it| it.snapshot()))),
        ),
        (
            "/debug/endpoints".to_owned(),
            Box::new(move || json(&of_endpoints.upgrade().map(|it| it.endpoints()))),
        ),
        ("/debug/sync".to_owned(), Box::new(move || json(&*state.borrow()))),
    ]
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

fn own_workload(args: &RunArgs, labels: &Labels) -> OwnWorkload {
    let (namespace, account) = (&args.namespace, &args.service_account);
    let mut own = OwnWorkload::new(namespace, account, &args.pod, args.workload.as_deref(), labels.clone());
    own.trust_domain.clone_from(&args.trust_domain);
    own.mesh.clone_from(&args.trust_domain);
    own.address = args.addresses.first().map(IpAddr::to_string).unwrap_or_default();
    own
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
