//! Memory of a gateway with thousands of ListenerSets.

use anyhow::Result;
use serde_json::json;

use super::figure::Figure;
use super::objects;
use super::stand::Stand;

/// Routes of each set.
const ROUTES: u32 = 16;

/// Makes the sets, their routes, and waits until the last one is served.
pub(super) async fn measure(stand: &Stand, sets: u32) -> Result<Vec<Figure>> {
    let api = objects::listener_sets(&stand.space.client, &stand.space.namespace);
    objects::create(&api, (0..sets).map(objects::listener_set)).await?;
    let route = |number: u32| {
        let set = number / ROUTES;
        let parent = json!({"group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": format!("s{set:05}")});
        let mut route = objects::attached(number + 1, 0, parent);
        route["spec"]["hostnames"] = json!([format!("r{}.s{set:05}.load.test", number % ROUTES)]);
        route
    };
    objects::create(&stand.routes(), (0..sets * ROUTES).map(route)).await?;
    // A last one on the Gateway itself: what came before it is served when it is.
    let last = sets * ROUTES + 1;
    objects::put(&stand.routes(), objects::route(last, 0)).await?;
    let waited = stand.until_served(last).await?;
    let (gateway, controller) =
        (stand.gateway.settled_usage().await?, stand.controller.settled_usage().await?);
    Ok(vec![
        Figure::new("ListenerSets", f64::from(sets), ""),
        Figure::new("routes", f64::from(sets * ROUTES), ""),
        Figure::at_most("gateway, memory", gateway.memory_kib as f64 / 1024.0, "MiB", 140.0),
        Figure::new("gateway, most memory so far", gateway.peak_memory_kib as f64 / 1024.0, "MiB"),
        Figure::new("controller, memory", controller.memory_kib as f64 / 1024.0, "MiB"),
        Figure::new("the last route's way", waited.as_secs_f64() * 1e3, "ms"),
    ])
}
