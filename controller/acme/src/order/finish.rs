//! The last steps of an order: the certificate request, and the certificate into the store.

use super::certificate::{self, About, Leaf, Unusable};
use super::record::Kept;
use super::{Job, clear, keys};
use crate::client::problem;
use crate::client::wire::Wire;
use crate::trouble::{Retry, Trouble};
use crate::{Item, Reason, StoreError, Version};
use instant_acme::{Error, Order};

/// Hands in the certificate request. That another engine did so already is no error.
pub(super) async fn finalize(
    job: &Job<'_>,
    kept: &mut Kept<'_>,
    order: &mut Order,
    wire: &Wire,
) -> Result<(), Trouble> {
    let Some(key) = kept.record.key.clone() else { return lost(kept, "the key of the order is lost").await };
    let request = keys::request(key.expose(), &job.wanted.names);
    let request = request.map_err(|error| Trouble::new(Reason::Name, Retry::Backoff, error))?;
    match order.finalize_csr(&request).await {
        Ok(()) => Ok(()),
        Err(Error::Api(problem)) if problem::kind(&problem) == "orderNotReady" => {
            order.refresh().await.map(drop).map_err(|error| job.trouble(&error, Some(wire)))
        }
        Err(error) => Err(job.trouble(&error, Some(wire))),
    }
}

/// Fetches the certificate, stores it, and ends the record.
pub(super) async fn store(
    job: &Job<'_>,
    kept: &mut Kept<'_>,
    order: &mut Order,
    wire: &Wire,
) -> Result<(), Trouble> {
    let chain = order.certificate().await.map_err(|error| job.trouble(&error, Some(wire)))?;
    let chain = chain
        .ok_or_else(|| Trouble::new(Reason::Authority, Retry::Soon, "the certificate is not there yet"))?;
    let key = kept.record.key.as_ref().map(|it| it.expose().to_owned()).unwrap_or_default();
    if let Err(fault) = check(job, &chain, &key) {
        return lost(kept, &fault).await;
    }
    write(job, &chain, &key).await?;
    tracing::info!(certificate = %job.wanted.key, names = job.wanted.names.join(","), "a certificate is issued");
    clear::placed(job.challenges, job.issuer, &kept.record.placed).await;
    // Another engine may have ended it too.
    match kept.delete().await {
        Err(trouble) if trouble.retry != Retry::Now => Err(trouble),
        _ => Ok(()),
    }
}

/// Ends once more what was interrupted after the certificate was stored.
pub(crate) async fn tidy(job: &Job<'_>, kept: &mut Kept<'_>) -> Result<(), Trouble> {
    clear::placed(job.challenges, job.issuer, &kept.record.placed).await;
    kept.delete().await
}

fn check(job: &Job<'_>, chain: &str, key: &str) -> Result<(), String> {
    let leaf =
        Leaf::read(chain).map_err(|error| format!("the authority sent no usable certificate: {error}"))?;
    if !leaf.is_of(key) {
        return Err("the certificate is for another key".to_owned());
    }
    if !leaf.names.iter().eq(&job.wanted.names) {
        return Err("the certificate has other names than were ordered".to_owned());
    }
    Ok(())
}

/// The order can't become a certificate of ours.
async fn lost(kept: &mut Kept<'_>, why: &str) -> Result<(), Trouble> {
    kept.drop_order();
    kept.save().await?;
    Err(Trouble::new(Reason::Authority, Retry::Backoff, format!("{why}; a new order is made")))
}

async fn write(job: &Job<'_>, chain: &str, key: &str) -> Result<(), Trouble> {
    let item = Item::Certificate(job.wanted.key.clone());
    let data = certificate::data(chain, key, &About::new(job.issuer));
    let expected = replaceable(job, &item, key).await?;
    match expected {
        Existing::Same => Ok(()),
        Existing::Replaceable(version) => {
            Ok(job.store.write(&item, &data, version.as_ref()).await.map(drop)?)
        }
    }
}

/// What is there before the write.
enum Existing {
    /// Another engine stored it already.
    Same,
    /// Nothing, or an older one of ours in this version.
    Replaceable(Option<Version>),
}

async fn replaceable(job: &Job<'_>, item: &Item, key: &str) -> Result<Existing, Trouble> {
    let Some(entry) = job.store.read(item).await? else { return Ok(Existing::Replaceable(None)) };
    let version = entry.version.clone();
    match certificate::Kept::read(entry) {
        Ok(existing) if existing.has_key(key) => Ok(Existing::Same),
        Ok(_) | Err(Unusable::Broken) => Ok(Existing::Replaceable(Some(version))),
        Err(Unusable::Foreign) => Err(StoreError::Forbidden(foreign(job.wanted.key.as_str())).into()),
    }
}

/// What is said of a certificate that somebody else made.
pub(crate) fn foreign(key: &str) -> String {
    format!(
        "the certificate at {key} was not made by Sluice and stays as it is; name another place or delete it"
    )
}
