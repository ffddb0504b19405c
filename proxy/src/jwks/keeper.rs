//! The task that keeps the keys of one issuer fresh.

use super::discovery;
use super::fetch::{Fetch, FetchError};
use super::source::Link;
use crate::policy::KeySet;
use crate::upstream::{Resolver, random_below};
use bytes::Bytes;
use sluice_ir as ir;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From one fetch to the next (as Istio has both).
const REFRESH: Duration = Duration::from_secs(20 * 60);
/// The same after a failure.
const RETRY: Duration = Duration::from_secs(60);
/// How long keys serve on that can't be fetched again.
const STALE: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Keeper {
    /// Empty: found by the issuer's own word.
    uri: String,
    fetch: Fetch,
    link: Arc<Link>,
    /// The text of the keys that serve, and when it was seen last.
    good: Option<(Bytes, Instant)>,
    /// Whether the last fetch was well; `None` before the first.
    was_well: Option<bool>,
}

impl Keeper {
    pub(super) fn new(uri: &str, reach: ir::KeyReach, resolver: Resolver, link: Arc<Link>) -> Self {
        Self { uri: uri.to_owned(), fetch: Fetch { reach, resolver }, link, good: None, was_well: None }
    }

    /// Until it is dropped.
    pub(super) async fn run(mut self) {
        let begun = Instant::now();
        loop {
            self.link.begins();
            let result = self.renew().await;
            self.tell(&result);
            let seen = self.good.as_ref().map_or(begun, |(_, seen)| *seen);
            if result.is_err() && seen.elapsed() >= STALE {
                self.link.set_keys(None);
            }
            self.link.ends(result.as_ref().map(drop));
            let pause = if result.is_ok() { REFRESH } else { RETRY };
            tokio::select! {
                () = tokio::time::sleep(spread(pause)) => {}
                () = self.link.wanted.notified() => {}
            }
        }
    }

    async fn renew(&mut self) -> Result<(usize, usize), FetchError> {
        let time = self.link.timeout;
        let uri = match self.uri.as_str() {
            "" => discovery::keys_of(&self.fetch, &self.link.issuer, time).await?,
            uri => uri.to_owned(),
        };
        let text = self.fetch.get(&uri, time).await?;
        let keys = KeySet::parse(&text).map_err(FetchError::Keys)?;
        let counts = keys.len();
        // The same keys stay the same object, so that what was verified by them stays known.
        let is_known = self.good.as_ref().is_some_and(|(known, _)| *known == text);
        if !is_known || self.link.keys().is_none() {
            self.link.set_keys(Some(Arc::new(keys)));
        }
        self.good = Some((text, Instant::now()));
        Ok(counts)
    }

    /// A failure is told when it is new, a success after one.
    fn tell(&mut self, result: &Result<(usize, usize), FetchError>) {
        let issuer = &self.link.issuer;
        match result {
            Ok((keys, passed_over)) if self.was_well != Some(true) => {
                tracing::info!(%issuer, keys, passed_over, "keys of an issuer fetched");
            }
            Ok((keys, passed_over)) => {
                tracing::debug!(%issuer, keys, passed_over, "keys of an issuer fetched");
            }
            Err(error) if self.was_well == Some(false) => {
                tracing::debug!(%issuer, %error, "keys of an issuer can't be fetched");
            }
            Err(error) => {
                let has_keys = self.link.keys().is_some();
                tracing::warn!(
                    %issuer,
                    %error,
                    has_keys,
                    "keys of an issuer can't be fetched: those that are known serve on, else its tokens are refused"
                );
            }
        }
        self.was_well = Some(result.is_ok());
    }
}

/// Up to a tenth less, so that data planes don't ask in step.
fn spread(whole: Duration) -> Duration {
    let tenth_us = u64::try_from(whole.as_micros() / 10).unwrap_or_default();
    whole - Duration::from_micros(random_below(tenth_us))
}
