//! The first step of an order, the one that must not happen twice.
//!
//! A reservation is written before the authority is asked. Who finds one that is not his waits until nobody can be at
//! it any more, then looks in the account's list of orders for what it became, and only then makes one. Authorities
//! without such a list give an unfinished order of the same names again (as Let's Encrypt does).

use super::record::{Kept, Stage};
use super::{Job, keys};
use crate::client::{orders, problem};
use crate::plan::budget::{Charge, Ledger};
use crate::preflight;
use crate::secret::KeyText;
use crate::trouble::{Retry, Trouble};
use crate::{Data, Item, Reason, StoreError};
use instant_acme::{Error, Identifier, NewOrder};
use std::time::Duration;

/// Longest time of the request that makes an order; less where `Settings::settle` is small.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
/// File of the budget's record.
const FILE: &str = "orders.json";
/// How often a budget is counted again when another order was counted at the same time.
const TRIES: usize = 20;

/// Looks ahead, reserves, counts, orders. Returns the order's URL.
pub(super) async fn begin(job: &Job<'_>, kept: &mut Kept<'_>) -> Result<String, Trouble> {
    if job.issuer.preflight.enabled {
        (job.report)(Reason::Dns, "looking for our own challenge before the order".to_owned());
        preflight::check(job.challenges, job.issuer, &job.registered.directory, job.wanted).await?;
    }
    let key = keys::generate(job.issuer.key_type).await;
    let key = key.map_err(|error| Trouble::new(Reason::Secret, Retry::Soon, error))?;
    kept.record.key = Some(KeyText::new(key));
    reserve(job, kept).await?;
    // Another engine may have come from order to certificate since ours was found due.
    let certificate = job.store.read(&Item::Certificate(job.wanted.key.clone())).await?;
    if certificate.as_ref().map(|it| &it.version) != job.seen {
        kept.delete().await?;
        return Err(StoreError::Conflict.into());
    }
    if let Err(trouble) = charge(job).await {
        kept.drop_order();
        kept.save().await?;
        return Err(trouble);
    }
    make(job, kept).await
}

/// Goes on with an order that somebody, perhaps this engine, was about to make.
pub(super) async fn take_over(job: &Job<'_>, kept: &mut Kept<'_>, owner: &str) -> Result<String, Trouble> {
    if owner != job.owner {
        let text =
            "another engine was about to make the order; it is gone on with when that one is surely gone";
        (job.report)(Reason::Authority, text.to_owned());
        settle(job, kept).await?;
        reserve(job, kept).await?;
    }
    let found = orders::find(job.registered, &job.wanted.names).await;
    match found.map_err(|error| job.trouble(&error, None))? {
        Some(url) => open(kept, url).await,
        None => make(job, kept).await,
    }
}

/// Waits until the reservation has rested unchanged for so long that no request of its owner can be under way. The
/// owner's clock plays no part.
async fn settle(job: &Job<'_>, kept: &Kept<'_>) -> Result<(), Trouble> {
    let end = tokio::time::Instant::now() + job.settings.settle;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep((job.settings.settle / 10).min(Duration::from_secs(1))).await;
        if kept.is_changed().await? {
            return Err(StoreError::Conflict.into());
        }
    }
    Ok(())
}

async fn reserve(job: &Job<'_>, kept: &mut Kept<'_>) -> Result<(), Trouble> {
    kept.record.stage = Stage::Reserved { owner: job.owner.to_owned() };
    kept.save().await
}

async fn open(kept: &mut Kept<'_>, url: String) -> Result<String, Trouble> {
    kept.record.stage = Stage::Open { url: url.clone() };
    kept.save().await?;
    Ok(url)
}

/// Makes the order. A clear no takes the reservation back; after no answer it stays, since there may be an order.
async fn make(job: &Job<'_>, kept: &mut Kept<'_>) -> Result<String, Trouble> {
    let (account, wire) = job.registered.open().await.map_err(|error| job.trouble(&error, None))?;
    let names: Vec<Identifier> = job.wanted.names.iter().cloned().map(Identifier::Dns).collect();
    let limit = ORDER_TIMEOUT.min(job.settings.settle / 2);
    let mut replaces = job.replaces.clone();
    loop {
        let mut asked = NewOrder::new(&names);
        if let Some(profile) = &job.issuer.profile {
            asked = asked.profile(profile);
        }
        if let Some(id) = replaces.clone() {
            asked = asked.replaces(id);
        }
        match tokio::time::timeout(limit, account.new_order(&asked)).await {
            Ok(Ok(order)) => return open(kept, order.url().to_owned()).await,
            // The old certificate was renewed by another order (RFC 9773 §7.4).
            Ok(Err(Error::Api(problem)))
                if problem::kind(&problem) == "alreadyReplaced" && replaces.is_some() =>
            {
                replaces = None;
            }
            Ok(Err(error @ Error::Api(_))) => {
                kept.drop_order();
                kept.save().await?;
                return Err(job.trouble(&error, Some(&wire)));
            }
            Ok(Err(error)) => return Err(job.trouble(&error, Some(&wire))),
            Err(_) => {
                let text = format!("the authority does not answer a new order within {limit:?}");
                return Err(Trouble::new(Reason::Authority, Retry::Backoff, text));
            }
        }
    }
}

/// Counts the order against the budgets of the issuer.
async fn charge(job: &Job<'_>) -> Result<(), Trouble> {
    let item = Item::Budget(job.issuer.name.clone());
    let charge = Charge { names: &job.wanted.names, is_renewal: job.is_renewal, on_demand: job.on_demand };
    for _ in 0..TRIES {
        let entry = job.store.read(&item).await?;
        let text = entry.as_ref().and_then(|it| it.data.get(FILE)).unwrap_or("{}");
        let mut ledger: Ledger = serde_json::from_str(text).map_err(|_| {
            let text = "the record of counted orders can't be read; delete it to count anew";
            Trouble::new(Reason::Secret, Retry::Backoff, text)
        })?;
        let taken = ledger.take(&charge, &job.issuer.budgets, job.settings.clock.now());
        taken.map_err(|full| Trouble::new(Reason::Quota, Retry::At(full.until), full.message))?;
        let text =
            serde_json::to_string(&ledger).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let expected = entry.as_ref().map(|it| &it.version);
        match job.store.write(&item, &Data::one(FILE, text), expected).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Trouble::new(Reason::Secret, Retry::Soon, "the record of counted orders changes all the time"))
}
