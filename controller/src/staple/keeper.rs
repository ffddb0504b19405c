//! Keeps the staples of certificates that ask for them: fetched at once, again at half of their life, gone at its end.

use super::need::{self, Lack, Need};
use super::request::CertId;
use super::standing::{self, Failure};
use super::{fetch, response};
use parking_lot::Mutex;
use sluice_ir::{Certificate, CertificateKey, Delta, Resource, ResourceKey, SecretBytes};
use sluice_translate::StapleStanding;
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
    state: Mutex<State>,
    /// Something came that must be fetched.
    wanted: Notify,
    /// There are news to tell.
    news: Notify,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<CertificateKey, Entry>,
    /// Certificates that ask for a staple and say too little to get one.
    lacking: BTreeMap<CertificateKey, Lack>,
    /// Certificates to hand out again.
    changed: BTreeSet<CertificateKey>,
    /// Whether something stands otherwise than it was told.
    is_news: bool,
}

/// A certificate that must be stapled.
struct Entry {
    need: Need,
    staple: Option<Staple>,
    /// Why the last try failed, if it did.
    failure: Option<StapleStanding>,
    due_s: i64,
    pause_s: i64,
}

struct Staple {
    response: Vec<u8>,
    until_s: i64,
}

/// What is new since the last look.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Certificates to hand out again: their response is another one, or has gone.
    pub changed: BTreeSet<CertificateKey>,
    /// How every certificate that must be stapled stands now.
    pub standings: BTreeMap<CertificateKey, StapleStanding>,
}

impl Stapler {
    /// Puts what is known into the certificates of a delta, and takes note of those that ask for a staple.
    pub fn attach(&self, delta: &Delta) -> Delta {
        let mut state = self.0.state.lock();
        for key in &delta.removals {
            if let ResourceKey::Certificate(key) = key {
                state.forget(key);
            }
        }
        let upserts = delta.upserts.iter().map(|resource| match resource {
            Resource::Certificate(certificate) => {
                Resource::Certificate(self.attach_one(certificate, &mut state))
            }
            other => other.clone(),
        });
        let upserts = upserts.collect();
        if state.is_news {
            self.0.news.notify_one();
        }
        Delta { upserts, removals: delta.removals.clone() }
    }

    fn attach_one(&self, certificate: &Arc<Certificate>, state: &mut State) -> Arc<Certificate> {
        let key = &certificate.key;
        let need = match need::of(certificate.chain.expose()) {
            Some(Ok(need)) => need,
            Some(Err(lack)) => {
                if state.lacking.get(key) != Some(&lack) {
                    tracing::warn!(certificate = %certificate.origin, reason = %lack, "served without an OCSP response");
                    state.forget(key);
                    state.lacking.insert(key.clone(), lack);
                    state.is_news = true;
                }
                return certificate.clone();
            }
            None => {
                state.forget(key);
                return certificate.clone();
            }
        };
        if state.entries.get(key).is_none_or(|entry| entry.need != need) {
            state.forget(key);
            state.entries.insert(key.clone(), Entry::new(need));
            state.is_news = true;
            self.0.wanted.notify_one();
        }
        let staple = state.entries.get(key).and_then(|entry| entry.staple.as_ref());
        let Some(staple) = staple else { return certificate.clone() };
        let mut with_staple = Certificate::clone(certificate);
        with_staple.staple = Some(SecretBytes::new(staple.response.clone()));
        Arc::new(with_staple)
    }

    /// Waits until there is something to tell. Cancel safe.
    pub async fn news(&self) -> News {
        loop {
            if let Some(news) = self.0.state.lock().take_news() {
                return news;
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
        let state = self.0.state.lock();
        let due = state.entries.iter().filter(|(_, entry)| entry.due_s <= now_s);
        due.map(|(key, entry)| (key.clone(), entry.need.clone())).collect()
    }

    fn until_next(&self, now_s: i64) -> Duration {
        let next = self.0.state.lock().entries.values().map(|entry| entry.due_s).min();
        let left = next.and_then(|due_s| u64::try_from(due_s - now_s).ok());
        left.map_or(LONGEST_SLEEP, |left| Duration::from_secs(left.max(1)).min(LONGEST_SLEEP))
    }

    /// Takes away what must not be shown any more.
    fn expire(&self, now_s: i64) {
        let mut state = self.0.state.lock();
        let State { entries, changed, is_news, .. } = &mut *state;
        for (key, entry) in entries {
            if entry.staple.take_if(|staple| staple.until_s <= now_s).is_some() {
                tracing::error!(certificate = %key, "its OCSP response has ended; clients may refuse it");
                changed.insert(key.clone());
                *is_news = true;
            }
        }
        if *is_news {
            self.0.news.notify_one();
        }
    }

    fn settle(
        &self,
        key: &CertificateKey,
        need: &Need,
        fetched: Result<(Vec<u8>, response::Good), Failure>,
        now_s: i64,
    ) {
        let mut state = self.0.state.lock();
        let State { entries, changed, is_news, .. } = &mut *state;
        // It may be another one by now.
        let Some(entry) = entries.get_mut(key).filter(|entry| entry.need == *need) else { return };
        let before = entry.standing();
        let is_new = match fetched {
            Ok((response, good)) => {
                let is_new = entry.staple.as_ref().is_none_or(|staple| staple.response != response);
                if is_new {
                    tracing::info!(certificate = %key, "an OCSP response is stapled");
                }
                entry.staple = Some(Staple { response, until_s: good.until_s });
                entry.failure = None;
                entry.due_s = good.refresh_s.max(now_s + FIRST_PAUSE_S);
                entry.pause_s = FIRST_PAUSE_S;
                is_new
            }
            Err(failure) => {
                // Who has revoked it has the last word: an older "good" would hide it.
                let is_gone = failure.is_final() && entry.staple.take().is_some();
                let (responder, has_one) = (standing::shown(&need.responder), entry.staple.is_some());
                tracing::warn!(certificate = %key, responder, error = %failure, has_one, "no new OCSP response; trying again");
                entry.failure = Some(standing::failed(need, &failure));
                entry.due_s = now_s + entry.pause_s;
                entry.pause_s = (2 * entry.pause_s).min(LAST_PAUSE_S);
                is_gone
            }
        };
        if is_new {
            changed.insert(key.clone());
        }
        if is_new || entry.standing() != before {
            *is_news = true;
            self.0.news.notify_one();
        }
    }
}

impl State {
    fn forget(&mut self, key: &CertificateKey) {
        let was_there = self.entries.remove(key).is_some() | self.lacking.remove(key).is_some();
        self.is_news |= was_there;
    }

    fn take_news(&mut self) -> Option<News> {
        if !std::mem::take(&mut self.is_news) {
            return None;
        }
        let asked = self.entries.iter().map(|(key, entry)| (key.clone(), entry.standing()));
        let lacking = self.lacking.iter().map(|(key, lack)| (key.clone(), standing::lacking(*lack)));
        let standings = asked.chain(lacking).collect();
        Some(News { changed: std::mem::take(&mut self.changed), standings })
    }
}

impl Entry {
    fn new(need: Need) -> Self {
        Self { need, staple: None, failure: None, due_s: 0, pause_s: FIRST_PAUSE_S }
    }

    fn standing(&self) -> StapleStanding {
        standing::of(self.staple.is_some(), self.failure.as_ref())
    }
}

async fn fetched(need: &Need, now_s: i64) -> Result<(Vec<u8>, response::Good), Failure> {
    let id = CertId::of(need).ok_or(Failure::Unreadable)?;
    let answer = fetch::post(&need.responder, id.request()).await.map_err(Failure::Responder)?;
    let good = response::judge(&answer, need, &id, now_s)?;
    Ok((answer.to_vec(), good))
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
