//! The servers that are asked about the sidecar itself.

use super::RunArgs;
use crate::life::Life;
use crate::status::{ReadyPage, StatusPages};
use anyhow::{Context as _, Result};
use sluice_proxy::Proxy;
use sluice_proxy::admin::{self, AdminState, Answer, Page, Readiness};
use sluice_proxy::identity::Identity;
use sluice_proxy::process::all_addresses;
use sluice_proxy::sync::SyncState;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How far the configuration has come, and the identity.
type FromController<'a> = (&'a watch::Receiver<SyncState>, &'a watch::Receiver<Option<Arc<Identity>>>);

/// Starts all of them; they end with `stop`.
pub(super) async fn status_servers(
    args: &RunArgs,
    proxy: &Arc<Proxy>,
    readiness: &Readiness,
    life: &Life,
    from_controller: FromController<'_>,
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
        pages: pages(proxy, from_controller),
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
fn pages(proxy: &Arc<Proxy>, (state, identity): FromController<'_>) -> Vec<(String, Page)> {
    let [of_snapshot, of_endpoints, of_calls] = [(); 3].map(|()| Arc::downgrade(proxy));
    let (state, identity) = (state.clone(), identity.clone());
    vec![
        (
            "/debug/calls".to_owned(),
            Box::new(move || json(&of_calls.upgrade().and_then(|it| it.seen_calls()))),
        ),
        (
            "/debug/snapshot".to_owned(),
            Box::new(move || json(&of_snapshot.upgrade().map(|it| it.snapshot()))),
        ),
        (
            "/debug/endpoints".to_owned(),
            Box::new(move || json(&of_endpoints.upgrade().map(|it| it.endpoints()))),
        ),
        ("/debug/identity".to_owned(), Box::new(move || json(&identity.borrow().as_deref()))),
        ("/debug/sync".to_owned(), Box::new(move || json(&*state.borrow()))),
    ]
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}
