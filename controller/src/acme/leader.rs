//! Runs the engine while this replica leads, and tells what comes of it: statuses to the reconciler, the table of
//! certificates to a ConfigMap. A replica that ceases to lead drops the engine in the middle of whatever it does; the
//! next leader goes on from the Secrets.

use super::challenges::Presenter;
use super::names::REPORT;
use super::secrets::SecretStore;
use super::{convert, report};
use crate::reconcile::Input;
use crate::serve::Distributor;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use sluice_acme::{Engine, Handle, Settings, WantedSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Most certificates in the table: a ConfigMap holds 1 MiB.
const MOST_ROWS: usize = 2_000;
/// Least time between two writes of the table.
const REPORT_PAUSE: Duration = Duration::from_secs(2);

/// What the engine runs with.
pub(crate) struct AcmeOptions {
    /// The controller's namespace.
    pub(crate) namespace: String,
    /// Name of this replica.
    pub(crate) identity: String,
    /// What is to be obtained.
    pub(crate) wanted: watch::Receiver<Arc<WantedSet>>,
    /// Whether this replica leads.
    pub(crate) is_leader: watch::Receiver<bool>,
    /// The engine while it runs: for names of handshakes.
    pub(crate) engine: watch::Sender<Option<Handle>>,
}

/// Leads when it is told to, until `stop`.
pub(crate) async fn run(
    client: Client,
    distributor: Distributor,
    mut options: AcmeOptions,
    sink: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            leads = options.is_leader.wait_for(|leads| *leads) => if leads.is_err() { return },
        }
        let store = Arc::new(SecretStore::new(client.clone(), options.namespace.clone()));
        let presenter = Presenter::new(client.clone(), &options.namespace, distributor.clone());
        let settings = Settings::new(options.identity.clone());
        let engine = Engine::new(store, Arc::new(presenter), settings);
        let handle = engine.handle();
        options.engine.send_replace(Some(handle.clone()));
        tracing::info!("certificates are ordered by this replica");
        tokio::select! {
            () = stop.cancelled() => return,
            _ = options.is_leader.wait_for(|leads| !leads) => {
                tracing::info!("certificates are ordered by another replica");
            }
            () = engine.run(options.wanted.clone(), stop.clone()) => {}
            () = tell(&handle, &sink) => {}
            () = write_report(&client, &options.namespace, &handle) => {}
        }
        options.engine.send_replace(None);
        if sink.is_closed() {
            // The reconciler has ended, which is told elsewhere.
            return stop.cancelled().await;
        }
    }
}

/// Tells the reconciler what came of orders, whenever it is something else.
async fn tell(handle: &Handle, sink: &mpsc::Sender<Input>) {
    let (mut statuses, mut issuers) = (handle.statuses(), handle.issuers());
    loop {
        let now = {
            let (statuses, issuers) = (statuses.borrow_and_update(), issuers.borrow_and_update());
            convert::issuance(&statuses, &issuers)
        };
        if sink.send(Input::Issuance(now)).await.is_err() {
            return;
        }
        let changed = tokio::select! {
            changed = statuses.changed() => changed,
            changed = issuers.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn write_report(client: &Client, namespace: &str, handle: &Handle) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut statuses = handle.statuses();
    loop {
        if statuses.changed().await.is_err() {
            return;
        }
        let mut rows = report::rows(&statuses.borrow_and_update());
        rows.truncate(MOST_ROWS);
        let text = serde_json::to_string(&rows).unwrap_or_default();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": REPORT, "labels": {"app.kubernetes.io/managed-by": "sluice-controller"}},
            "data": {"certificates.json": text},
        });
        let parameters = PatchParams::apply("sluice-controller").force();
        if let Err(error) = maps.patch(REPORT, &parameters, &Patch::Apply(map)).await {
            tracing::warn!(%error, "the table of certificates can't be written");
        }
        tokio::time::sleep(REPORT_PAUSE).await;
    }
}
