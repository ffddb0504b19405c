//! From the write of an AuthorizationPolicy to the first request that is judged by it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use sluice_cluster_tests::Space;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::BODY_BYTES;
use super::inside::start_inside;
use super::objects::gate;
use super::stand::{POLICIES, Stand};
use crate::cluster::Options;
use crate::cluster::figure::{Figure, percentile};
use crate::cluster::objects::{api, put};
use crate::generator::link::Failure;
use crate::generator::{Link, Target};

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(1);
/// How long a change may take at most.
const LIMIT: Duration = Duration::from_secs(30);
/// From one change to the next one.
const PAUSE: Duration = Duration::from_millis(200);
const GOAL_MS: f64 = 50.0;

/// Closes and opens the server to the client in turn, by a policy, and waits for the first 403 and the first 200.
pub(in crate::cluster) async fn measure(space: Space, options: &Options) -> Result<Vec<Figure>> {
    let stand = Stand::start(space, options).await?;
    stand.until_enforced().await?;
    let namespace = stand.space.namespace.clone();
    let policies = api(&stand.space.client, &namespace, "security.istio.io", "AuthorizationPolicy", POLICIES);
    let (tell, mut told) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let (target, asked) = (stand.service.clone(), stand.request());
    drop(start_inside(&stand.client.network, async move || {
        tokio::select! {
            () = watch(&target, &asked, &tell) => {}
            _ = stopped => {}
        }
        Ok(())
    }));
    let (_, first) = next(&mut told).await?;
    if first != 200 {
        bail!("the first answer is {first}");
    }

    let (mut after_write, mut after_answer) = (Vec::new(), Vec::new());
    for change in 0..options.changes {
        let is_closed = change % 2 == 0;
        let sent = Instant::now();
        put(&policies, gate(&namespace, is_closed)).await?;
        let answered = Instant::now();
        let (seen, status) = next(&mut told).await.with_context(|| format!("change {change}"))?;
        if status != if is_closed { 403 } else { 200 } {
            bail!("change {change}: the server answers {status}");
        }
        after_write.push(seen.saturating_duration_since(sent).as_secs_f64() * 1e3);
        after_answer.push(seen.saturating_duration_since(answered).as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    drop(stop);
    stand.end().await?;
    Ok(vec![
        Figure::new("changes of a policy", f64::from(options.changes), ""),
        Figure::at_most(
            "write at the API server to its effect, p50",
            percentile(&mut after_write, 0.5),
            "ms",
            GOAL_MS,
        ),
        Figure::at_most(
            "write at the API server to its effect, p99",
            percentile(&mut after_write, 0.99),
            "ms",
            GOAL_MS,
        ),
        Figure::new("the API server's answer to its effect, p50", percentile(&mut after_answer, 0.5), "ms"),
        Figure::new("the API server's answer to its effect, p99", percentile(&mut after_answer, 0.99), "ms"),
    ])
}

type Seen = (Instant, Result<u16, String>);

/// The next other answer of the server, and when it came.
async fn next(told: &mut mpsc::UnboundedReceiver<Seen>) -> Result<(Instant, u16)> {
    let seen = tokio::time::timeout(LIMIT, told.recv()).await;
    let (at, status) = seen.ok().flatten().with_context(|| format!("no other answer within {LIMIT:?}"))?;
    match status {
        Ok(status) => Ok((at, status)),
        Err(failure) => bail!("a request failed: {failure}"),
    }
}

/// Asks every millisecond on a kept connection, and tells each answer that is another one than before.
async fn watch(target: &Target, request: &Bytes, told: &mpsc::UnboundedSender<Seen>) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut link, mut last) = (None, None);
    loop {
        ticks.tick().await;
        let now = ask(&mut link, target, request).await;
        if last.as_ref() != Some(&now) {
            last = Some(now.clone());
            if told.send((Instant::now(), now)).is_err() {
                return;
            }
        }
    }
}

/// The status of an answer.
async fn ask(kept: &mut Option<Link>, target: &Target, request: &Bytes) -> Result<u16, String> {
    let mut link = match kept.take() {
        Some(link) => link,
        None => Link::connect(target, None).await.map_err(|failure| failure.to_string())?,
    };
    let (status, closes) = match link.exchange(request, BODY_BYTES).await {
        Ok(head) => (200, head.close),
        Err(Failure::Status(status)) => (status, false),
        Err(failure) => return Err(failure.to_string()),
    };
    *kept = (!closes).then_some(link);
    Ok(status)
}
