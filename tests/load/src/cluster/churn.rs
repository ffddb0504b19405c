//! Memory and CPU of controller and gateway while a little changes all the time.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::endpoints::Endpoint;
use super::figure::Figure;
use super::objects;
use super::stand::Stand;
use crate::measure::process::Usage;

/// How long both settle before the measurement.
const SETTLE: Duration = Duration::from_secs(10);

/// One route edited every second, one workload replaced every two.
pub(super) async fn measure(stand: &Stand, routes: u32, seconds: u64) -> Result<Vec<Figure>> {
    objects::create(&stand.routes(), (1..=routes).map(|number| objects::route(number, 0))).await?;
    stand.until_served(routes).await?;
    tokio::time::sleep(SETTLE).await;
    let before = (stand.controller.usage()?, stand.gateway.usage()?);
    let (started, slices) = (Instant::now(), objects::slices(&stand.space.client, &stand.space.namespace));
    let mut pod: Option<Endpoint> = None;
    for second in 0..seconds {
        let due = started + Duration::from_secs(second);
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
        let number = 1 + u32::try_from(second * 1_237 % u64::from(routes.max(1)))?;
        objects::put(&stand.routes(), objects::route(number, u32::try_from(second)? + 1)).await?;
        if second % 2 == 0 {
            let next = Endpoint::start(u16::try_from(second / 2 % 60_000)? + 1).await?;
            objects::put(&slices, objects::slice("app-0", &[stand.endpoint.address, next.address])).await?;
            if let Some(old) = pod.replace(next) {
                old.terminate();
            }
        }
    }
    tokio::time::sleep((started + Duration::from_secs(seconds)).saturating_duration_since(Instant::now()))
        .await;
    let after = (stand.controller.usage()?, stand.gateway.usage()?);
    let elapsed = started.elapsed();
    let mib = |usage: &Usage| usage.memory_kib as f64 / 1024.0;
    let cores = |before: &Usage, after: &Usage| {
        after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed.as_secs_f64()
    };
    Ok(vec![
        Figure::new("routes", f64::from(routes), ""),
        Figure::at_most("controller, memory", mib(&after.0), "MiB", 120.0),
        Figure::new("controller, most memory so far", after.0.peak_memory_kib as f64 / 1024.0, "MiB"),
        Figure::at_most("controller, CPU", cores(&before.0, &after.0), "cores", 0.02),
        Figure::at_most("gateway, memory", mib(&after.1), "MiB", 40.0),
        Figure::at_most("gateway, CPU", cores(&before.1, &after.1), "cores", 0.005),
    ])
}
