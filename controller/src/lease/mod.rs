//! The Lease that decides which replica writes: every replica serves, one writes statuses and infrastructure.
//!
//! In: a client and a name for this replica. Out: a watch that is true while this replica leads. It turns false at
//! once when the lease is lost or can't be renewed, and the lease is given back at the end, so that the next replica
//! takes over without waiting.

mod election;

use crate::admin::Metrics;
use crate::watch::Failure;
use election::{DURATION, Election, LOOK_EVERY, RENEW_DEADLINE, RENEW_EVERY, Record, Step};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest time of one request: several fit before the deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time that giving the lease back may take while the process ends.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the lease is and who we are.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Name of this replica, unique: the pod's.
    pub identity: String,
}

/// Holds the lease whenever it can, until `stop`; then gives it back.
pub async fn run(
    client: Client,
    options: LeaseOptions,
    is_leader: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &options.namespace);
    let mut keeper = Keeper { api, election: Election::new(&options.identity), options, is_leader, metrics };
    let mut failures = 0u32;
    loop {
        let deadline = keeper.election.deadline().unwrap_or_else(|| Instant::now() + RENEW_DEADLINE);
        let attempt = tokio::time::timeout_at(deadline.into(), keeper.attempt());
        let outcome = tokio::select! {
            () = stop.cancelled() => break,
            outcome = attempt => outcome.unwrap_or(Err(Failure::Silent)),
        };
        failures = match outcome {
            Ok(()) => 0,
            Err(failure) => {
                if failures == 3 {
                    tracing::warn!(lease = keeper.options.name, error = %failure, "the lease can't be read or written");
                }
                failures.saturating_add(1)
            }
        };
        let leads = keeper.election.leads(Instant::now());
        if !leads {
            keeper.election.lost();
        }
        keeper.tell();
        let pause = if leads { RENEW_EVERY } else { LOOK_EVERY };
        // The end of leading must not wait for the next attempt.
        let wake =
            keeper.election.deadline().map_or(pause, |it| pause.min(it.duration_since(Instant::now())));
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(jittered(wake)) => {}
        }
        keeper.tell();
    }
    keeper.release().await;
}

/// Up to a tenth less, so that replicas don't ask in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - rand::random::<f64>() / 10.0)
}

struct Keeper {
    api: Api<Lease>,
    options: LeaseOptions,
    election: Election,
    is_leader: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Keeper {
    /// Renews, or looks and takes the lease if it may be taken.
    async fn attempt(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        if let Some(own) = self.election.own().filter(|_| self.election.leads(begun)).cloned() {
            match self
                .write(Some(own.version), own.transitions, &self.options.identity.clone(), DURATION)
                .await
            {
                Ok(record) => {
                    self.election.held(record, begun);
                    return Ok(());
                }
                // Somebody wrote it: look who.
                Err(Failure::Answer { code: 409, .. } | Failure::NotServed(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        let record = self.read().await?;
        let (version, transitions) = match self.election.look(record, Instant::now()) {
            Step::Wait => {
                self.election.lost();
                return Ok(());
            }
            Step::Create => (None, 0),
            Step::Take { version, transitions } => (Some(version), transitions),
        };
        match self.write(version, transitions, &self.options.identity.clone(), DURATION).await {
            Ok(record) => {
                self.election.held(record, begun);
                Ok(())
            }
            // Another replica was faster.
            Err(Failure::Answer { code: 409, .. }) => {
                self.election.lost();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self) -> Result<Option<Record>, Failure> {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.api.get_opt(&self.options.name)).await;
        Ok(answer.map_err(|_| Failure::Silent)??.map(|lease| record(&lease)))
    }

    /// Creates the lease, or with a version replaces it.
    async fn write(
        &self,
        version: Option<String>,
        transitions: i32,
        holder: &str,
        duration: Duration,
    ) -> Result<Record, Failure> {
        let now = MicroTime(jiff::Timestamp::now());
        let acquired = self.election.own().and_then(|it| it.acquired).map(MicroTime);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        };
        let parameters = PostParams::default();
        let request = async {
            match version {
                None => self.api.create(&parameters, &lease).await,
                Some(_) => self.api.replace(&self.options.name, &parameters, &lease).await,
            }
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, request).await;
        Ok(record(&answer.map_err(|_| Failure::Silent)??))
    }

    /// Tells when leading began or ended.
    fn tell(&self) {
        let leads = self.election.leads(Instant::now());
        let is_new = self.is_leader.send_if_modified(|it| std::mem::replace(it, leads) != leads);
        if is_new {
            self.metrics.leader(leads);
            let identity = self.options.identity.as_str();
            match leads {
                true => tracing::info!(identity, "this replica leads: it writes statuses"),
                false => tracing::warn!(identity, "this replica leads no more"),
            }
        }
    }

    /// Stops leading, then gives the lease back.
    async fn release(mut self) {
        let own = self.election.own().filter(|_| self.election.leads(Instant::now())).cloned();
        self.election.lost();
        self.tell();
        let Some(own) = own else { return };
        let written = self.write(Some(own.version), own.transitions, "", Duration::from_secs(1));
        match tokio::time::timeout(RELEASE_TIMEOUT, written).await {
            Ok(Ok(_)) => tracing::info!("the lease is given back"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given back; it ends by itself"),
            Err(_) => tracing::warn!("giving the lease back took too long; it ends by itself"),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or(0),
        acquired: spec.acquire_time.map(|it| it.0),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
