//! Everything around the data plane breaks, under load.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use super::endpoints::BODY_BYTES;
use super::figure::{Figure, percentile};
use super::objects;
use super::stand::Stand;
use crate::generator::{Load, Pace, Plan, Until};
use crate::peers::request;

/// Routes that are there.
const ROUTES: u32 = 500;
/// After this a gateway has what it serves on its disk too.
const KEPT: Duration = Duration::from_millis(500);
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(120);

/// Kills the controller `kills` times, takes the API server away with its history, restarts the gateway while the
/// controller is away. A load runs all the time but while the gateway itself restarts.
pub(super) async fn measure(stand: &mut Stand, kills: u32) -> Result<Vec<Figure>> {
    objects::create(&stand.routes(), (1..=ROUTES).map(|number| objects::route(number, 0))).await?;
    stand.until_served(ROUTES).await?;
    let load = start_load(stand);

    let mut back_ms = Vec::new();
    for kill in 0..kills {
        let number = ROUTES + 1 + kill;
        // A change that comes while nobody looks must not be lost.
        objects::put(&stand.routes(), objects::route(number, 0)).await?;
        stand.restart_controller()?;
        back_ms.push(stand.until_served(number).await?.as_secs_f64() * 1e3);
    }

    stand.space.cluster.compact().await.context("compaction")?;
    stand.space.cluster.stop_api_server(true).await?;
    tokio::time::sleep(AWAY).await;
    stand.space.cluster.start_api_server().await?;
    let returned = Instant::now();
    let number = ROUTES + kills + 1;
    objects::put(&stand.routes(), objects::route(number, 0)).await?;
    stand.until_served(number).await?;
    let reconverged = returned.elapsed();
    let gone = ROUTES;
    stand.routes().delete(&format!("r{gone:05}"), &Default::default()).await?;
    until_gone(stand, gone).await?;

    load.stop();
    let tally = load.finish(Duration::from_secs(10)).await;
    if tally.failed() > 0 {
        bail!("{} of {} requests failed: {:?}", tally.failed(), tally.answered(), tally.failures());
    }

    // A sudden end may forget what came in its last moments.
    tokio::time::sleep(KEPT).await;
    // Nobody to ask: it starts from what it kept.
    stand.controller.signal("STOP")?;
    stand.restart_gateway()?;
    let restarted = stand.until_served(number).await?;
    if stand.ask(gone).await.is_ok() {
        bail!("a route that was deleted is served again");
    }
    stand.controller.signal("CONT")?;

    Ok(vec![
        Figure::new("ends of the controller", f64::from(kills), ""),
        Figure::new("kill to a change served, p50", percentile(&mut back_ms, 0.5), "ms"),
        Figure::at_most("kill to a change served, longest", percentile(&mut back_ms, 1.0), "ms", 2_000.0),
        Figure::new("API server away", AWAY.as_secs_f64(), "s"),
        Figure::at_most("its return to a new route served", reconverged.as_secs_f64() * 1e3, "ms", 2_000.0),
        Figure::new("requests meanwhile", tally.answered() as f64, ""),
        Figure::at_most("requests that failed", tally.failed() as f64, "", 0.0),
        Figure::at_most(
            "gateway restarted without a controller, to 200",
            restarted.as_secs_f64() * 1e3,
            "ms",
            1_000.0,
        ),
    ])
}

fn start_load(stand: &Stand) -> Load {
    let requests: Vec<Bytes> =
        (0..ROUTES).step_by(7).map(|number| request(&objects::host(number), "/")).collect();
    Load::start(Plan {
        target: stand.target(),
        requests: requests.into(),
        body_bytes: BODY_BYTES,
        connections: 16,
        pace: Pace::PerSecond(200),
        until: Until::Told,
        reconnect: false,
        server_names: None,
        may_refuse: false,
    })
}

async fn until_gone(stand: &Stand, number: u32) -> Result<()> {
    let started = Instant::now();
    while stand.ask(number).await.is_ok() {
        if started.elapsed() > Duration::from_secs(30) {
            bail!("a deleted route is still served");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
