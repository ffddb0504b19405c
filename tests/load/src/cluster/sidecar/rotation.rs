//! Roots and certificates are replaced under load, as an operator does it with the Secret `cacerts`.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice_cluster_tests::{Authority, SYSTEM, Space};
use sluice_controller::identity::SECRET;

use super::load::Asked;
use super::stand::{Ground, Stand};
use crate::cluster::Options;
use crate::cluster::figure::Figure;

/// How long a step may take: sidecars look for other roots every 5 s and spread their requests over 10 s.
const LIMIT: Duration = Duration::from_secs(90);
/// The load goes on this long after the last step.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// What a sidecar says when it has a new certificate.
const FRESH: &str = "the identity is fresh";

/// Brings a second root, has it sign, takes the first one out, and distrusts it in the end; sidecars renew at each step
/// that changes the roots.
pub(in crate::cluster) async fn measure(space: Space, options: &Options) -> Result<Vec<Figure>> {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let brought = old.secret(&[&old]);
    let ground = Ground::prepare(space, options, async |space| {
        space.bring(SYSTEM, &brought).await;
        Ok(())
    })
    .await?;
    let stand = ground.pods(options).await?;
    stand.until_enforced().await?;
    let (network, targets) = (stand.client.network.clone(), vec![stand.service.clone()]);
    let load = Asked { network, targets, request: stand.request(), rate: options.rate }.start();
    let started = Instant::now();

    let mut seen = renewals(&stand);
    stand.space.bring(SYSTEM, &old.secret(&[&old, &new])).await;
    seen = renewed(&stand, seen).await?;
    stand.space.bring(SYSTEM, &new.secret(&[&old, &new])).await;
    stand.space.bring(SYSTEM, &new.secret(&[&new])).await;
    seen = renewed(&stand, seen).await?;
    distrust(&stand.space, &old).await?;
    let last = renewed(&stand, seen).await?;
    tokio::time::sleep(AFTERWARDS).await;

    let tallies = load.finish().await?;
    let seconds = started.elapsed().as_secs_f64();
    stand.end().await?;
    let answered: u64 = tallies.iter().map(|tally| tally.answered()).sum();
    let worst_us = tallies.iter().map(|tally| tally.percentile_us(1.0)).fold(0.0, f64::max);
    Ok(vec![
        Figure::new("seconds under load", seconds, "s"),
        Figure::new("requests", answered as f64, ""),
        Figure::at_most(
            "requests that failed",
            tallies.iter().map(|it| it.failed()).sum::<u64>() as f64,
            "",
            0.0,
        ),
        Figure::new("the slowest request", worst_us / 1e3, "ms"),
        Figure::new("certificates of the client's sidecar", last[0] as f64, ""),
        Figure::new("certificates of the server's sidecar", last[1] as f64, ""),
    ])
}

/// Certificates that each sidecar has got so far.
fn renewals(stand: &Stand) -> [usize; 2] {
    [&stand.client, &stand.server].map(|pod| pod.sidecar.lines_with(FRESH))
}

/// Waits until both have more than these.
async fn renewed(stand: &Stand, seen: [usize; 2]) -> Result<[usize; 2]> {
    let started = Instant::now();
    loop {
        let now = renewals(stand);
        if now[0] > seen[0] && now[1] > seen[1] {
            return Ok(now);
        }
        if started.elapsed() > LIMIT {
            bail!("new certificates: {seen:?}, then {now:?}, not more within {LIMIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Takes a root out of those that are trusted still.
async fn distrust(space: &Space, authority: &Authority) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(space.client.clone(), SYSTEM);
    let kept = secrets.get(SECRET).await?.data.unwrap_or_default();
    let root = authority.root();
    let holds = |text: &ByteString| String::from_utf8_lossy(&text.0).trim() == root.trim();
    let Some(name) = kept.iter().find(|(_, text)| holds(text)).map(|(name, _)| name.clone()) else {
        bail!("Secret {SYSTEM}/{SECRET} does not hold the old root: {:?}", kept.keys());
    };
    let patch = Patch::Merge(json!({"data": {name: null}}));
    secrets.patch(SECRET, &PatchParams::default(), &patch).await?;
    Ok(())
}
