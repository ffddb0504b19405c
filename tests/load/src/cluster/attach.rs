//! 1,000 routes on one Gateway: when its status is right, and how often it was written.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use tokio::task::spawn_local;

use super::figure::Figure;
use super::objects::{self, GATEWAY};
use super::stand::Stand;

const ROUTES: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Watches the Gateway while the routes are created.
pub(super) async fn measure(stand: &Stand) -> Result<Vec<Figure>> {
    let gateways = objects::api(
        &stand.space.client,
        &stand.space.namespace,
        "gateway.networking.k8s.io",
        "Gateway",
        "gateways",
    );
    let before = gateways.get(GATEWAY).await?;
    let version = before.metadata.resource_version.context("a resource version")?;
    // The route that the scenario began with counts too.
    let wanted = u64::from(ROUTES) + 1;
    let watching = spawn_local(async move {
        let only = WatchParams::default().fields(&format!("metadata.name={GATEWAY}"));
        let mut events = gateways.watch(&only, &version).await?.boxed_local();
        let (mut writes, started) = (0_u32, Instant::now());
        loop {
            let event = tokio::time::timeout(LIMIT, events.try_next()).await.context("no event")??;
            let Some(WatchEvent::Modified(gateway)) = event else { continue };
            writes += 1;
            if attached(&gateway) == Some(wanted) {
                return anyhow::Ok((Instant::now(), writes));
            }
            if started.elapsed() > LIMIT {
                bail!("attachedRoutes is {:?}, not {wanted}", attached(&gateway));
            }
        }
    });
    let started = Instant::now();
    objects::create(&stand.routes(), (1..=ROUTES).map(|number| objects::route(number, 0))).await?;
    let created = Instant::now();
    let (right, writes) = watching.await??;
    Ok(vec![
        Figure::new("creating 1,000 routes", created.duration_since(started).as_secs_f64(), "s"),
        Figure::at_most(
            "last create to attachedRoutes = 1,001",
            right.saturating_duration_since(created).as_secs_f64() * 1e3,
            "ms",
            1_000.0,
        ),
        Figure::at_most("writes of the Gateway's status", f64::from(writes), "", 50.0),
    ])
}

fn attached(gateway: &DynamicObject) -> Option<u64> {
    gateway.data["status"]["listeners"][0]["attachedRoutes"].as_u64()
}
