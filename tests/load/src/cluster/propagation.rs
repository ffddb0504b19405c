//! From a new HTTPRoute to its first answer.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::api::PostParams;
use tokio::task::spawn_local;

use super::endpoints::Endpoint;
use super::figure::{Figure, percentile};
use super::objects;
use super::stand::Stand;
use crate::generator::link::Failure;

/// How often the gateway is asked.
const POLL: Duration = Duration::from_millis(5);
/// Time between two changes of the churn, of routes and of endpoints each.
const CHURN: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(30);

/// Creates one route after the other among `routes`, and asks for its host from the moment at which it is sent to the API
/// server. The time counts from the API server's answer.
pub(super) async fn measure(stand: &Stand, routes: u32, changes: u32, churn: bool) -> Result<Vec<Figure>> {
    objects::create(&stand.routes(), (1..=routes).map(|number| objects::route(number, 0))).await?;
    stand.until_served(routes).await?;
    let stop = Rc::new(Cell::new(false));
    let churning = churn.then(|| start_churn(stand, routes, stop.clone()));
    let (mut after_answer, mut after_request) = (Vec::new(), Vec::new());
    let mut others: BTreeMap<String, u32> = BTreeMap::new();
    for change in 0..changes {
        let number = routes + 1 + change;
        let object = serde_json::from_value(objects::route(number, 0))?;
        let sent = Instant::now();
        let api = stand.routes();
        let created =
            spawn_local(
                async move { api.create(&PostParams::default(), &object).await.map(|_| Instant::now()) },
            );
        let served = loop {
            let asked = Instant::now();
            match stand.ask(number).await {
                Ok(()) => break Instant::now(),
                Err(Failure::Status(404)) => {}
                Err(other) => *others.entry(other.to_string()).or_default() += 1,
            }
            if sent.elapsed() > LIMIT {
                bail!("route {number} is not served within {LIMIT:?}");
            }
            tokio::time::sleep(POLL.saturating_sub(asked.elapsed())).await;
        };
        let answered = created.await??;
        after_answer.push(served.saturating_duration_since(answered).as_secs_f64() * 1e3);
        after_request.push(served.duration_since(sent).as_secs_f64() * 1e3);
        for _ in 0..3 {
            if let Err(other) = stand.ask(number).await {
                *others.entry(format!("after 200: {other}")).or_default() += 1;
            }
        }
    }
    stop.set(true);
    if let Some(churning) = churning {
        churning.await??;
    }
    if !others.is_empty() {
        bail!("answers other than 404, then 200: {others:?}");
    }
    Ok(vec![
        Figure::new("routes before", f64::from(routes), ""),
        Figure::new("API server's answer to 200, p50", percentile(&mut after_answer, 0.5), "ms"),
        Figure::at_most("API server's answer to 200, p99", percentile(&mut after_answer, 0.99), "ms", 15.0),
        Figure::new("request to the API server to 200, p50", percentile(&mut after_request, 0.5), "ms"),
        Figure::new("request to the API server to 200, p99", percentile(&mut after_request, 0.99), "ms"),
        Figure::at_most("answers other than 404, then 200", 0.0, "", 0.0),
    ])
}

/// Edits routes and replaces an endpoint until told to stop.
fn start_churn(stand: &Stand, routes: u32, stop: Rc<Cell<bool>>) -> tokio::task::JoinHandle<Result<()>> {
    let api = stand.routes();
    let slices = objects::slices(&stand.space.client, &stand.space.namespace);
    let first = stand.endpoint.address;
    spawn_local(async move {
        let mut spare = Endpoint::start(1).await?;
        for round in 1_u16.. {
            if stop.get() {
                break;
            }
            let number = 1 + (u32::from(round) * 1_237) % routes.max(1);
            objects::put(&api, objects::route(number, u32::from(round))).await?;
            let next = Endpoint::start(1 + round).await?;
            objects::put(&slices, objects::slice("app-0", &[first, next.address])).await?;
            spare.terminate();
            spare = next;
            tokio::time::sleep(CHURN).await;
        }
        Ok(())
    })
}
