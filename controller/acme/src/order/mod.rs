//! One attempt at a certificate: goes on with the order under way, or makes one.
//!
//! Every step that others must know of is in the record before it is taken, and each write builds on the version that
//! was read. So an attempt may be dropped anywhere; the next one, here or elsewhere, goes on from the record. Two that
//! work on one order at the same time do the same things; the one that finds its write refused begins anew with what
//! is there.

mod begin;
pub(crate) mod certificate;
pub(crate) mod clear;
pub(crate) mod finish;
pub(crate) mod keys;
pub(crate) mod record;
mod solve;

use crate::client::account::Registered;
use crate::client::problem;
use crate::client::wire::Wire;
use crate::plan::backoff;
use crate::plan::budget::millis;
use crate::trouble::{Retry, Trouble};
use crate::{Challenges, Issuer, OnDemand, Reason, Settings, Store, Version, Wanted};
use instant_acme::{CertificateIdentifier, Error, Order, OrderStatus};
use record::{Failure, Kept, Stage, manner, purpose};
use std::time::{Duration, SystemTime};

/// First and longest pause between two looks at an order.
const LOOK_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Longest pause between two looks that the authority may ask for.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(60);

/// Tells what the attempt waits for.
pub(crate) type Report<'a> = &'a (dyn Fn(Reason, String) + Send + Sync);

/// Everything that an attempt needs.
pub(crate) struct Job<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) challenges: &'a dyn Challenges,
    pub(crate) settings: &'a Settings,
    /// This engine and no other, also not an earlier one of the same name.
    pub(crate) owner: &'a str,
    pub(crate) issuer: &'a Issuer,
    pub(crate) registered: &'a Registered,
    /// With its names checked and sorted.
    pub(crate) wanted: &'a Wanted,
    /// Version of the certificate's record when it was found that an order is due.
    pub(crate) seen: Option<&'a Version>,
    /// Whether a certificate of the same names is there.
    pub(crate) is_renewal: bool,
    /// The certificate that the authority may count this one as the renewal of (RFC 9773 §5).
    pub(crate) replaces: Option<CertificateIdentifier<'static>>,
    /// Present when a handshake asked for it.
    pub(crate) on_demand: Option<&'a OnDemand>,
    pub(crate) report: Report<'a>,
}

/// Makes one attempt. A failure is noted in the record, with when to try again.
pub(crate) async fn attempt(job: &Job<'_>) -> Result<(), Trouble> {
    let mut kept = Kept::load(job.store, &job.wanted.key).await?;
    let limit = job.settings.attempt_timeout;
    let outcome = tokio::time::timeout(limit, advance(job, &mut kept)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let text =
            format!("the order is not done after {} s; it goes on in the next attempt", limit.as_secs());
        Err(Trouble::new(Reason::Authority, Retry::Soon, text))
    });
    if let Err(trouble) = &outcome
        && trouble.retry != Retry::Now
    {
        note(job, &mut kept, trouble).await;
    }
    outcome
}

async fn advance(job: &Job<'_>, kept: &mut Kept<'_>) -> Result<(), Trouble> {
    let purpose = purpose(job.issuer, &job.wanted.names);
    if kept.record.purpose != purpose {
        clear::placed(job.challenges, job.issuer, &kept.record.placed).await;
        kept.drop_order();
        kept.record.failures = 0;
        kept.record.purpose = purpose;
    }
    kept.record.manner = manner(job.issuer, &job.wanted.scope);
    let url = match kept.record.stage.clone() {
        Stage::Idle => begin::begin(job, kept).await?,
        Stage::Reserved { owner } => begin::take_over(job, kept, &owner).await?,
        Stage::Open { url } => url,
    };
    drive(job, kept, url).await
}

/// Leads an order to its end.
async fn drive(job: &Job<'_>, kept: &mut Kept<'_>, url: String) -> Result<(), Trouble> {
    let (account, wire) = job.registered.open().await.map_err(|error| job.trouble(&error, None))?;
    let mut order = match account.order(url).await {
        Ok(order) => order,
        Err(error) if wire.is_not_found() || is_gone(&error) => return Err(gone(job, kept).await?),
        Err(error) => return Err(job.trouble(&error, Some(&wire))),
    };
    let (mut pause, mut is_solved) = (LOOK_PAUSE.0, false);
    loop {
        match order.state().status {
            OrderStatus::Pending if !is_solved => {
                if !solve::solve(job, kept, &mut order, &wire).await? {
                    return Err(failed(job, kept, &mut order).await?);
                }
                is_solved = true;
                (job.report)(Reason::Challenge, "the authority looks at the challenges".to_owned());
            }
            OrderStatus::Ready => {
                (job.report)(Reason::Authority, "the authority signs the certificate".to_owned());
                finish::finalize(job, kept, &mut order, &wire).await?;
            }
            OrderStatus::Pending | OrderStatus::Processing => {
                tokio::time::sleep(asked_pause(job, &wire).unwrap_or(pause)).await;
                pause = pause.mul_f64(1.5).min(LOOK_PAUSE.1);
                order.refresh().await.map_err(|error| job.trouble(&error, Some(&wire)))?;
            }
            OrderStatus::Valid => return finish::store(job, kept, &mut order, &wire).await,
            OrderStatus::Invalid => return Err(failed(job, kept, &mut order).await?),
        }
    }
}

fn asked_pause(job: &Job<'_>, wire: &Wire) -> Option<Duration> {
    let asked = wire.retry_after()?.duration_since(job.settings.clock.now()).ok()?;
    Some(asked.clamp(LOOK_PAUSE.0, LONGEST_ASKED_PAUSE))
}

/// The order is over without a certificate: says why.
async fn failed(job: &Job<'_>, kept: &mut Kept<'_>, order: &mut Order) -> Result<Trouble, Trouble> {
    let trouble = solve::why_invalid(job, order).await;
    clear::placed(job.challenges, job.issuer, &kept.record.placed).await;
    kept.drop_order();
    kept.save().await?;
    Ok(trouble)
}

/// The authority has forgotten the order, or made it for an account that is no more.
async fn gone(job: &Job<'_>, kept: &mut Kept<'_>) -> Result<Trouble, Trouble> {
    clear::placed(job.challenges, job.issuer, &kept.record.placed).await;
    kept.drop_order();
    kept.save().await?;
    Ok(Trouble::new(
        Reason::Authority,
        Retry::Soon,
        "the authority has forgotten the order; a new one is made",
    ))
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if matches!(problem::kind(problem), "malformed" | "unauthorized"))
}

/// Writes down that the attempt failed. When the store does not take it, the engine still waits.
async fn note(job: &Job<'_>, kept: &mut Kept<'_>, trouble: &Trouble) {
    let failures = kept.record.failures.saturating_add(1);
    let at = retry_at(job, failures, trouble);
    kept.record.failures = failures;
    kept.record.failure = Some(Failure {
        reason: trouble.reason.as_str().to_owned(),
        message: trouble.message.clone(),
        is_soft: matches!(trouble.retry, Retry::Soon | Retry::At(_) | Retry::Account),
        retry_at: millis(at),
    });
    if let Err(error) = kept.save().await {
        tracing::warn!(certificate = %job.wanted.key, error = error.message, "a failure can't be noted");
    }
}

fn retry_at(job: &Job<'_>, failures: u32, trouble: &Trouble) -> SystemTime {
    let (now, key) = (job.settings.clock.now(), job.wanted.key.as_str());
    match trouble.retry {
        Retry::At(at) => at.max(now + job.settings.backoff.0.min(Duration::from_secs(1))),
        Retry::Backoff => now + backoff::pause(failures, job.settings.backoff, key),
        Retry::Soon | Retry::Now | Retry::Account => {
            now + backoff::short_pause(failures, job.settings.backoff, key)
        }
    }
}

impl Job<'_> {
    /// What an error of the library stands for.
    fn trouble(&self, error: &Error, wire: Option<&Wire>) -> Trouble {
        problem::trouble(error, wire.and_then(Wire::retry_after), self.settings.clock.now())
    }
}
