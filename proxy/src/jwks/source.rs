//! The keys of one issuer as requests see them, and what they share with the task that fetches.

use super::FetchError;
use super::keeper::Keeper;
use crate::policy::KeySet;
use crate::upstream::since_start_ms;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

/// Least time from the end of a fetch to one that a request asks for.
const PAUSE: Duration = Duration::from_secs(10);
/// The same while there are no keys at all.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(2);
/// A fetch that leads to another one (discovery) takes two times.
const FETCHES: u32 = 2;

/// Where the keys of an issuer come from. Dropping it ends its task.
#[derive(Debug)]
pub(crate) struct Source {
    link: Arc<Link>,
    timeout: Duration,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What requests and the task share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) issuer: Box<str>,
    pub(super) timeout: Duration,
    keys: ArcSwapOption<KeySet>,
    /// Whether a fetch runs, or is about to.
    is_running: AtomicBool,
    /// When the last one ended, in milliseconds of the process.
    ended_ms: AtomicU64,
    /// Somebody wants one.
    pub(super) wanted: Notify,
    /// Changes with each end.
    ended: watch::Sender<u64>,
    fetched: AtomicU64,
    failed: [AtomicU64; FetchError::WORDS.len()],
}

impl Link {
    fn new(issuer: &str, timeout: Duration, keys: Option<Arc<KeySet>>, is_running: bool) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.into(),
            timeout,
            keys: ArcSwapOption::new(keys),
            is_running: AtomicBool::new(is_running),
            ended_ms: AtomicU64::new(0),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            fetched: AtomicU64::new(0),
            failed: Default::default(),
        })
    }

    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    pub(super) fn set_keys(&self, keys: Option<Arc<KeySet>>) {
        self.keys.store(keys);
    }

    pub(super) fn begins(&self) {
        self.is_running.store(true, SeqCst);
    }

    /// The order matters: who sees that one runs has subscribed to its end before.
    pub(super) fn ends(&self, result: Result<(), &FetchError>) {
        match result {
            Ok(()) => drop(self.fetched.fetch_add(1, SeqCst)),
            Err(error) => drop(self.failed.get(error.position()).map(|it| it.fetch_add(1, SeqCst))),
        }
        self.ended_ms.store(since_start_ms(Instant::now()), SeqCst);
        self.is_running.store(false, SeqCst);
        self.ended.send_modify(|it| *it += 1);
    }

    /// Whether a fetch runs, now or by our word.
    fn runs(&self) -> bool {
        if self.is_running.load(SeqCst) {
            return true;
        }
        let pause = if self.keys.load().is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let ended_ms = self.ended_ms.load(SeqCst);
        if ended_ms > 0 && since_start_ms(Instant::now()) < ended_ms.saturating_add(pause_ms) {
            return false;
        }
        if !self.is_running.swap(true, SeqCst) {
            self.wanted.notify_one();
        }
        true
    }
}

impl Source {
    /// Keys that are what they are.
    pub(super) fn fixed(issuer: &str, keys: KeySet) -> Self {
        Self {
            link: Link::new(issuer, Duration::ZERO, Some(Arc::new(keys)), false),
            timeout: Duration::ZERO,
            _task: None,
        }
    }

    /// Keys that somebody fetches; `before`: what they are meanwhile.
    pub(super) fn fetched(issuer: &str, timeout: Duration, before: Option<Arc<KeySet>>) -> (Self, Arc<Link>) {
        let link = Link::new(issuer, timeout, before, true);
        (Self { link: link.clone(), timeout: timeout * FETCHES, _task: None }, link)
    }

    /// Starts the task, where there is a runtime for it; elsewhere there are no keys.
    pub(super) fn kept_by(mut self, keeper: Keeper) -> Self {
        self._task = tokio::runtime::Handle::try_current()
            .ok()
            .map(|runtime| AbortOnDropHandle::new(runtime.spawn(keeper.run())));
        self
    }

    /// The keys; `None`: they could not be fetched yet, or not for too long. One load.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        self.link.keys()
    }

    /// Has keys fetched, if that may be, and waits for it; whether a fetch ended. Cancel safe: the fetch goes on.
    pub(crate) async fn fetched_anew(&self) -> bool {
        if self._task.is_none() {
            return false;
        }
        let mut ended = self.link.ended.subscribe();
        if !self.link.runs() {
            return false;
        }
        tokio::time::timeout(self.timeout, ended.changed()).await.is_ok()
    }

    /// Whose keys.
    pub(crate) fn issuer(&self) -> &str {
        &self.link.issuer
    }

    /// Fetches by their result.
    pub(crate) fn fetches(&self) -> Vec<(&'static str, u64)> {
        let fetched = std::iter::once(("fetched", self.link.fetched.load(SeqCst)));
        let failed = FetchError::WORDS.iter().zip(&self.link.failed);
        fetched.chain(failed.map(|(word, count)| (*word, count.load(SeqCst)))).collect()
    }
}
