//! Memory of a sidecar among thousands of Services, of which its workload calls three.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Service;
use sluice_cluster_tests::{BACKENDS, Space};

use super::load::Asked;
use super::memory;
use super::objects::{self, ALLOWED};
use super::stand::{Ground, Stand, target};
use crate::cluster::Options;
use crate::cluster::figure::Figure;
use crate::cluster::objects::{api, create, put, slices};

/// How long each of the three is called, and how often a second.
const TIME: Duration = Duration::from_secs(5);
const RATE: u32 = 100;
/// Resident memory of the client's sidecar.
const GOAL_MIB: f64 = 15.0;

/// Makes the Services, calls three of them, looks at the client's sidecar.
pub(in crate::cluster) async fn measure(space: Space, options: &Options) -> Result<Vec<Figure>> {
    let count = options.services;
    if count < 3 {
        bail!("--services {count}: three of them are called");
    }
    let ground = Ground::prepare(space, options, async |space| make(space, count).await).await?;
    let stand = ground.pods(options).await?;
    let mut figures = vec![Figure::new("Services", f64::from(count), "")];
    stand.client.sidecar.settled_usage().await?;
    figures.extend(memory("client's sidecar at rest", &stand.client.sidecar, GOAL_MIB)?);

    let targets = called(&stand, count).await?;
    for target in &targets {
        stand.until(&stand.client.network, target, ALLOWED, |it| it.is_ok()).await?;
    }
    let network = stand.client.network.clone();
    let load = Asked { network, targets, request: stand.request(), rate: RATE };
    let tallies = load.run(TIME).await?;
    stand.client.sidecar.settled_usage().await?;
    let answered: u64 = tallies.iter().map(|tally| tally.answered()).sum();
    figures.push(Figure::new("requests to three of them, none of which failed", answered as f64, ""));
    figures.extend(memory("client's sidecar, which called three", &stand.client.sidecar, GOAL_MIB)?);
    // Last, since it calls one Service more.
    stand.until_enforced().await?;
    stand.end().await?;
    Ok(figures)
}

/// The first, the middle and the last are led to the server; the others have an endpoint each that nobody listens at.
async fn make(space: &Space, count: u32) -> Result<()> {
    let services = api(&space.client, &space.namespace, "", "Service", "services");
    create(&services, (0..count).map(objects::service)).await?;
    let address = |number: u32| Ipv4Addr::from_bits(BACKENDS.to_bits() + 1 + number % 60_000);
    let slices = slices(&space.client, &space.namespace);
    create(&slices, (0..count).map(|number| objects::slice(number, address(number)))).await
}

async fn called(stand: &Stand, count: u32) -> Result<Vec<crate::generator::Target>> {
    let slices = slices(&stand.space.client, &stand.space.namespace);
    let services = stand.space.api::<Service>();
    let mut targets = Vec::new();
    for number in [0, count / 2, count - 1] {
        put(&slices, objects::slice(number, stand.server.address)).await?;
        targets.push(target(&services.get(&objects::name(number)).await?)?);
    }
    Ok(targets)
}
