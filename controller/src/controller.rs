//! The wiring: starts every part, and stops them in an order that leaves nothing half done.

use crate::admin::{self, Admin, Metrics, Readiness};
use crate::lease::{self, LeaseOptions};
use crate::reconcile::{Input, Outlets, QUEUE, Reconciler, Standing};
use crate::settings::Settings;
use crate::status::Writer;
use crate::watch::{self, Served};
use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sluice_crds::ObjectRef;
use sluice_ir::{Delta, GatewayKey};
use sluice_translate::{GatewayPlan, Options};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Name of the Lease.
const LEASE: &str = "sluice-controller";
/// Longest time that parts get to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to connect to the API server: it is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the controller until `stop`.
///
/// # Errors
/// When a port can't be bound or the API server's address is not known, and when a part ends that must not.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    let client = connect(settings.kubeconfig.as_deref()).await?;
    let admin_listener = TcpListener::bind(settings.admin)
        .await
        .with_context(|| format!("the admin port {} can't be bound; see --admin", settings.admin))?;
    let metrics = Arc::new(Metrics::default());
    let readiness = Arc::new(Readiness::default());
    let served = Served::default();
    let writer = Writer::new(&settings.controller_name, metrics.clone());
    let (sink, inputs) = mpsc::channel(QUEUE);
    let (leads, is_leader) = channel::channel(false);

    let options = Options { controller_name: settings.controller_name.clone(), standalone: false };
    let reconciler = Reconciler::new(options, Silent, writer.clone(), metrics.clone(), readiness.clone());
    readiness.set_serving();
    let mut parts: JoinSet<&'static str> = JoinSet::new();
    parts.spawn_blocking(move || {
        reconciler.run(inputs);
        "the reconciler"
    });
    let lease = LeaseOptions {
        namespace: settings.namespace.clone(),
        name: LEASE.to_owned(),
        identity: settings.identity(),
    };
    let (token, of_lease, of_metrics) = (stop.clone(), client.clone(), metrics.clone());
    parts.spawn(async move {
        lease::run(of_lease, lease, leads, of_metrics, token).await;
        "the lease"
    });
    let writing = writer.run(client.clone(), served.clone(), is_leader.clone(), stop.clone());
    parts.spawn(async move {
        writing.await;
        "the writer of statuses"
    });
    parts.spawn(tell_leader(is_leader, sink.clone(), stop.clone()));
    let watching = watch::run(client, sink.clone(), metrics.clone(), served, stop.clone());
    parts.spawn(async move {
        watching.await;
        "the watches"
    });
    let admin = Arc::new(Admin {
        metrics,
        readiness: readiness.clone(),
        sync: Box::new(admin::Sync::default),
        reconciler: sink,
    });
    let (token, of_admin) = (CancellationToken::new(), admin);
    let admin_stop = token.clone();
    parts.spawn(async move {
        admin::serve(admin_listener, of_admin, token).await;
        "the admin server"
    });

    let ended = tokio::select! {
        () = stop.cancelled() => None,
        ended = parts.join_next() => Some(ended),
    };
    readiness.set_stopping();
    stop.cancel();
    let all = async {
        // The admin server answers probes until the rest has ended; it holds the reconciler's channel open.
        while parts.len() > 2 && parts.join_next().await.is_some() {}
        admin_stop.cancel();
        while parts.join_next().await.is_some() {}
    };
    if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
        tracing::warn!("some parts did not end in time");
    }
    match ended {
        None => Ok(()),
        Some(Some(Ok(part))) => bail!("{part} ended unexpectedly"),
        Some(Some(Err(error))) => Err(error).context("a part of the controller failed"),
        Some(None) => bail!("nothing runs"),
    }
}

/// Tells the reconciler who leads, also when that changed there and back.
async fn tell_leader(
    mut is_leader: channel::Receiver<bool>,
    sink: mpsc::Sender<Input>,
    stop: CancellationToken,
) -> &'static str {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = is_leader.changed() => if changed.is_err() { break },
        }
        let leads = *is_leader.borrow_and_update();
        if sink.send(Input::Leader(leads)).await.is_err() {
            break;
        }
    }
    "the news of the lease"
}

async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            let read = read.with_context(|| format!("{} can't be read; see --kubeconfig", path.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await.context("no API server is configured; see --kubeconfig")?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Watches are silent for long; they have their own bound.
    config.read_timeout = None;
    Client::try_from(config).context("the connection to the API server can't be set up")
}

/// Nobody listens.
struct Silent;

impl Outlets for Silent {
    fn publish(&mut self, _: &Delta) {}
    fn set_complete(&mut self) {}
    fn standing(&self, _: &GatewayKey) -> Standing {
        Standing::default()
    }
    fn want(&mut self, _: &ObjectRef, _: Option<&GatewayPlan>) {}
}
