//! A store and a data plane that can be watched and stopped at each call: where an engine is interrupted.

use async_trait::async_trait;
use sluice_acme::{
    Challenge, ChallengeError, ChallengeId, Challenges, Data, Entry, Item, Scope, Store, StoreError, Version,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One call, before or after it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It has not happened yet.
    Before,
    /// It has happened, its caller does not know yet.
    After,
}

/// Counts the moments before and after each changing call, and holds the caller for ever at one of them.
#[derive(Default)]
pub struct Hook {
    count: AtomicUsize,
    stop_at: Mutex<Option<usize>>,
    names: Mutex<Vec<String>>,
    stopped: Notify,
}

impl Hook {
    /// Holds the caller at the `number`-th moment from now (0 is the next).
    pub fn stop_at(&self, number: usize) {
        let at = self.count.load(Ordering::SeqCst) + number;
        *self.stop_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Holds nobody any more.
    pub fn release(&self) {
        *self.stop_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Until somebody is held.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// What happened so far, in words.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn moment(&self, call: Call, what: &str) {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{call:?} {what}"));
        let stop_at = *self.stop_at.lock().unwrap_or_else(PoisonError::into_inner);
        if stop_at == Some(number) {
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// The store with moments.
    pub fn store(self: &Arc<Self>, inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(HookedStore { hook: self.clone(), inner })
    }

    /// The data plane with moments.
    pub fn challenges(self: &Arc<Self>, inner: Arc<dyn Challenges>) -> Arc<dyn Challenges> {
        Arc::new(HookedChallenges { hook: self.clone(), inner })
    }
}

struct HookedStore {
    hook: Arc<Hook>,
    inner: Arc<dyn Store>,
}

#[async_trait]
impl Store for HookedStore {
    async fn read(&self, item: &Item) -> Result<Option<Entry>, StoreError> {
        self.inner.read(item).await
    }

    async fn write(
        &self,
        item: &Item,
        data: &Data,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let what = format!("write {item:?}");
        self.hook.moment(Call::Before, &what).await;
        let done = self.inner.write(item, data, expected).await;
        self.hook.moment(Call::After, &what).await;
        done
    }

    async fn delete(&self, item: &Item, expected: &Version) -> Result<(), StoreError> {
        let what = format!("delete {item:?}");
        self.hook.moment(Call::Before, &what).await;
        let done = self.inner.delete(item, expected).await;
        self.hook.moment(Call::After, &what).await;
        done
    }
}

struct HookedChallenges {
    hook: Arc<Hook>,
    inner: Arc<dyn Challenges>,
}

#[async_trait]
impl Challenges for HookedChallenges {
    async fn present(&self, scope: &Scope, challenge: &Challenge) -> Result<(), ChallengeError> {
        self.hook.moment(Call::Before, "present").await;
        let done = self.inner.present(scope, challenge).await;
        self.hook.moment(Call::After, "present").await;
        done
    }

    async fn withdraw(&self, scope: &Scope, challenge: &ChallengeId) {
        self.hook.moment(Call::Before, "withdraw").await;
        self.inner.withdraw(scope, challenge).await;
        self.hook.moment(Call::After, "withdraw").await;
    }
}
