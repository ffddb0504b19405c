//! Keeps the staples of certificates that ask for them: fetched at once, again at half of their life, gone at its end.

use super::need::{self, Need};
use super::request::CertId;
use super::{fetch, response};
use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use sluice_ir::{Certificate, CertificateKey, Delta, Resource, ResourceKey, SecretBytes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Between tries that fail: doubles from the first to the last.
const FIRST_PAUSE_S: i64 = 60;
const LAST_PAUSE_S: i64 = 3600;
/// Longest sleep; a clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// The staples of this process. A clone is the same.
#[derive(Clone, Default)]
pub struct Stapler(Arc<Shared>);

#[derive(Default)]
struct Shared {
    entries: Mutex<BTreeMap<CertificateKey, Entry>>,
    /// Certificates to hand out again.
    changed: Mutex<BTreeSet<CertificateKey>>,
    /// Something came that must be fetched.
    wanted: Notify,
    /// Something was fetched.
    news: Notify,
}

/// A certificate that must be stapled.
struct Entry {
    need: Need,
    staple: Option<Staple>,
    due_s: i64,
    pause_s: i64,
}

struct Staple {
    response: Vec<u8>,
    until_s: i64,
}

impl Stapler {
    /// Puts what is known into the certificates of a delta, and takes note of those that ask for a staple.
    pub fn attach(&self, delta: &Delta) -> Delta {
        let mut entries = self.0.entries.lock();
        for key in &delta.removals {
            if let ResourceKey::Certificate(key) = key {
                entries.remove(key);
            }
        }
        let upserts = delta.upserts.iter().map(|resource| match resource {
            Resource::Certificate(certificate) => {
                Resource::Certificate(self.attach_one(certificate, &mut entries))
            }
            other => other.clone(),
        });
        Delta { upserts: upserts.collect(), removals: delta.removals.clone() }
    }

    fn attach_one(
        &self,
        certificate: &Arc<Certificate>,
        entries: &mut BTreeMap<CertificateKey, Entry>,
    ) -> Arc<Certificate> {
        let key = &certificate.key;
        let need = match need::of(certificate.chain.expose()) {
            Some(Ok(need)) => need,
            Some(Err(reason)) => {
                tracing::warn!(certificate = %certificate.origin, reason, "served without an OCSP response");
                entries.remove(key);
                return certificate.clone();
            }
            None => {
                entries.remove(key);
                return certificate.clone();
            }
        };
        if entries.get(key).is_none_or(|entry| entry.need != need) {
            entries.insert(key.clone(), Entry { need, staple: None, due_s: 0, pause_s: FIRST_PAUSE_S });
            self.0.wanted.notify_one();
        }
        let staple = entries.get(key).and_then(|entry| entry.staple.as_ref());
        let Some(staple) = staple else { return certificate.clone() };
        let mut with_staple = Certificate::clone(certificate);
        with_staple.staple = Some(SecretBytes::new(staple.response.clone()));
        Arc::new(with_staple)
    }

    /// Waits until certificates must be handed out again. Cancel safe.
    pub async fn changed(&self) -> BTreeSet<CertificateKey> {
        loop {
            let changed = std::mem::take(&mut *self.0.changed.lock());
            if !changed.is_empty() {
                return changed;
            }
            self.0.news.notified().await;
        }
    }

    /// Fetches what is due until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let all = async {
            loop {
                let now_s = now_s();
                self.expire(now_s);
                for (key, need) in self.due(now_s) {
                    let fetched = fetched(&need, now_s).await;
                    self.settle(&key, &need, fetched, now_s);
                }
                let sleep = self.until_next(now_s);
                let _ = tokio::time::timeout(sleep, self.0.wanted.notified()).await;
            }
        };
        stop.run_until_cancelled(all).await;
    }

    fn due(&self, now_s: i64) -> Vec<(CertificateKey, Need)> {
        let entries = self.0.entries.lock();
        let due = entries.iter().filter(|(_, entry)| entry.due_s <= now_s);
        due.map(|(key, entry)| (key.clone(), entry.need.clone())).collect()
    }

    fn until_next(&self, now_s: i64) -> Duration {
        let next = self.0.entries.lock().values().map(|entry| entry.due_s).min();
        let left = next.and_then(|due_s| u64::try_from(due_s - now_s).ok());
        left.map_or(LONGEST_SLEEP, |left| Duration::from_secs(left.max(1)).min(LONGEST_SLEEP))
    }

    /// Takes away what must not be shown any more.
    fn expire(&self, now_s: i64) {
        for (key, entry) in &mut *self.0.entries.lock() {
            if entry.staple.take_if(|staple| staple.until_s <= now_s).is_some() {
                tracing::error!(certificate = %key, "its OCSP response has ended; clients may refuse it");
                self.tell(key);
            }
        }
    }

    fn settle(
        &self,
        key: &CertificateKey,
        need: &Need,
        fetched: Result<(Vec<u8>, response::Good)>,
        now_s: i64,
    ) {
        let mut entries = self.0.entries.lock();
        // It may be another one by now.
        let Some(entry) = entries.get_mut(key).filter(|entry| entry.need == *need) else { return };
        match fetched {
            Ok((response, good)) => {
                let is_new = entry.staple.as_ref().is_none_or(|staple| staple.response != response);
                entry.staple = Some(Staple { response, until_s: good.until_s });
                entry.due_s = good.refresh_s.max(now_s + FIRST_PAUSE_S);
                entry.pause_s = FIRST_PAUSE_S;
                if is_new {
                    tracing::info!(certificate = %key, "an OCSP response is stapled");
                    self.tell(key);
                }
            }
            Err(error) => {
                let responder = need.responder.as_str();
                let error = format!("{error:#}");
                let has_one = entry.staple.is_some();
                tracing::warn!(certificate = %key, responder, error, has_one, "no new OCSP response; trying again");
                entry.due_s = now_s + entry.pause_s;
                entry.pause_s = (2 * entry.pause_s).min(LAST_PAUSE_S);
            }
        }
    }

    fn tell(&self, key: &CertificateKey) {
        self.0.changed.lock().insert(key.clone());
        self.0.news.notify_one();
    }
}

async fn fetched(need: &Need, now_s: i64) -> Result<(Vec<u8>, response::Good)> {
    let id = CertId::of(need).context("certificate or issuer can't be read")?;
    let answer = fetch::post(&need.responder, id.request()).await?;
    let good = response::judge(&answer, need, &id, now_s)?;
    Ok((answer.to_vec(), good))
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}
