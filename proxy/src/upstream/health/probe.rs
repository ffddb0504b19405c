//! One endpoint that is asked again and again, by one task, for every pool that has it.

use super::Check;
use super::ask::{Failure, ask};
use super::standing::{HealthState, Standing};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::random;
use parking_lot::Mutex;
use serde::Serialize;
use sluice_ir::Workload;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Longest text of a failure that is kept.
const REASON_BYTES: usize = 256;

/// An address that is asked. Dropping it ends the asking at once.
#[derive(Debug)]
pub(in crate::upstream) struct Probe {
    address: SocketAddr,
    check: Arc<Check>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    standing: Standing,
    last: Option<Last>,
    /// Endpoints that follow what is found out, in all pools.
    followers: Vec<Weak<Endpoint>>,
    /// Asks; `None` where there is no runtime. Ends with the probe.
    #[allow(dead_code, reason = "held for its end")]
    task: Option<AbortOnDropHandle<()>>,
}

/// How the last check ended.
#[derive(Debug)]
struct Last {
    at: Instant,
    /// `None`: good.
    failure: Option<Box<str>>,
}

impl Probe {
    /// Begins to ask at once.
    pub(super) fn start(
        (address, workload): (SocketAddr, Option<Arc<Workload>>),
        check: Arc<Check>,
        before: Option<Standing>,
    ) -> Arc<Self> {
        let standing = before.unwrap_or_else(|| Standing::new(&check.spec));
        let inner = Inner { standing, last: None, followers: Vec::new(), task: None };
        let probe = Arc::new(Self { address, check: check.clone(), inner: Mutex::new(inner) });
        match Handle::try_current() {
            Ok(runtime) => {
                let task = runtime.spawn(run(Arc::downgrade(&probe), (address, workload), check));
                probe.inner.lock().task = Some(AbortOnDropHandle::new(task));
            }
            Err(_) => tracing::error!(%address, "no runtime to check an endpoint in: it stays as it is"),
        }
        probe
    }

    pub(super) fn standing(&self) -> Standing {
        self.inner.lock().standing
    }

    /// Tells the endpoint from now on; its bit is set when this returns.
    pub(in crate::upstream) fn follow(&self, endpoint: &Arc<Endpoint>) {
        let mut inner = self.inner.lock();
        endpoint.set_out(inner.standing.state.is_out());
        inner.followers.retain(|it| it.strong_count() > 0);
        inner.followers.push(Arc::downgrade(endpoint));
    }

    /// Tells the endpoint nothing more.
    pub(in crate::upstream) fn leave(&self, endpoint: &Endpoint) {
        let is_other = |it: &Weak<Endpoint>| !std::ptr::eq(it.as_ptr(), endpoint);
        self.inner.lock().followers.retain(is_other);
    }

    fn note(&self, result: Result<(), Failure>, now: Instant) {
        let failure = result.err().map(|it| clipped(it.to_string()));
        let is_good = failure.is_none();
        let (before, after, followers) = {
            let mut inner = self.inner.lock();
            let before = inner.standing.state;
            inner.standing.note(is_good, &self.check.spec);
            inner.last = Some(Last { at: now, failure: failure.clone() });
            let followers: Vec<_> = inner.followers.iter().filter_map(Weak::upgrade).collect();
            let after = inner.standing.state;
            // Set while nobody can begin to follow, so that the bit is never older than the standing.
            followers.iter().for_each(|it| it.set_out(after.is_out()));
            (before, after, followers)
        };
        let (address, policy) = (self.address, &self.check.spec.origin);
        match (before, after) {
            (before, after) if before == after => {}
            (_, HealthState::Unhealthy) => {
                let reason = failure.as_deref().unwrap_or_default();
                tracing::warn!(%address, %policy, reason, "endpoint is unhealthy: it gets no requests");
            }
            (HealthState::Unhealthy, _) => tracing::info!(%address, %policy, "endpoint is healthy again"),
            _ => tracing::debug!(%address, %policy, "endpoint is healthy"),
        }
        let recovered = before == HealthState::Unhealthy && after == HealthState::Healthy;
        for endpoint in followers {
            endpoint.checked(is_good, before != after, recovered.then_some(now));
        }
    }

    /// For `/debug`.
    pub(in crate::upstream) fn snapshot(&self, now: Instant) -> HealthSnapshot {
        let inner = self.inner.lock();
        let ago = |last: &Last| now.saturating_duration_since(last.at).as_millis();
        HealthSnapshot {
            state: inner.standing.state,
            checked_at: self.address,
            checked_ms_ago: inner.last.as_ref().map(|it| u64::try_from(ago(it)).unwrap_or(u64::MAX)),
            failure: inner.last.as_ref().and_then(|it| it.failure.as_deref().map(str::to_owned)),
            policy: self.check.spec.origin.to_string(),
        }
    }
}

/// Asks for ever. A check that takes longer than the interval is waited for: there is one at a time.
async fn run(
    probe: Weak<Probe>,
    (address, workload): (SocketAddr, Option<Arc<Workload>>),
    check: Arc<Check>,
) {
    let workload = workload.as_deref();
    loop {
        check.ready(workload).await;
        let started = tokio::time::Instant::now();
        let result = {
            // Never closed.
            let _slot = check.all.slots.acquire().await;
            let timeout = check.spec.timeout;
            let asked = tokio::time::timeout(timeout, ask(&check, address, workload)).await;
            asked.unwrap_or(Err(Failure::Late(timeout)))
        };
        match probe.upgrade() {
            Some(probe) => probe.note(result, Instant::now()),
            None => return,
        }
        tokio::time::sleep_until(started + jittered(check.spec.interval, check.spec.jitter_percent)).await;
    }
}

/// The interval, changed by up to `percent` of it either way.
fn jittered(interval: Duration, percent: u8) -> Duration {
    let most = interval.saturating_mul(u32::from(percent.min(100))) / 100;
    let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    interval - most + Duration::from_micros(random::below(most_us.saturating_mul(2)))
}

fn clipped(mut text: String) -> Box<str> {
    let end = (0..=REASON_BYTES.min(text.len())).rev().find(|it| text.is_char_boundary(*it));
    text.truncate(end.unwrap_or(0));
    text.into()
}

/// What is known of an endpoint's health, as `/debug` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct HealthSnapshot {
    /// What is thought of it.
    pub state: HealthState,
    /// Where it is asked.
    pub checked_at: SocketAddr,
    /// How long ago the last check ended; nothing before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_ms_ago: Option<u64>,
    /// Why the last check failed; nothing when it was good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Who wants it asked.
    pub policy: String,
}

#[cfg(test)]
mod tests {
    use super::{clipped, jittered};
    use std::time::Duration;

    #[test]
    fn a_wait_stays_within_the_jitter() {
        let interval = Duration::from_secs(10);
        for _ in 0..1_000 {
            let wait = jittered(interval, 10);
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&wait), "{wait:?}");
        }
        assert_eq!(jittered(interval, 0), interval);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(&*clipped("short".to_owned()), "short");
        let cut = clipped("ä".repeat(200));
        assert_eq!(cut.chars().count(), 128);
        assert_eq!(clipped(format!("a{}", "ä".repeat(200))).len(), 255);
    }
}
