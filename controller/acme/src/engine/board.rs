//! What is shown: statuses of certificates and issuers. Changes are published together, so that many certificates don't
//! cost their number squared.

use crate::{CertificateKey, IssuerName, IssuerState, Status};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Pause between two publications.
const PAUSE: Duration = Duration::from_millis(50);

/// Statuses of certificates, as they are published.
pub(super) type Statuses = Arc<BTreeMap<CertificateKey, Arc<Status>>>;
/// States of issuers, as they are published.
pub(super) type Issuers = Arc<BTreeMap<IssuerName, IssuerState>>;

/// Collects and publishes.
#[derive(Debug)]
pub(super) struct Board {
    content: Mutex<Content>,
    changed: Notify,
    statuses: watch::Sender<Statuses>,
    issuers: watch::Sender<Issuers>,
}

#[derive(Debug, Default)]
struct Content {
    statuses: BTreeMap<CertificateKey, Arc<Status>>,
    issuers: BTreeMap<IssuerName, IssuerState>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            content: Mutex::default(),
            changed: Notify::new(),
            statuses: watch::Sender::new(Arc::default()),
            issuers: watch::Sender::new(Arc::default()),
        }
    }
}

impl Board {
    pub(super) fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    pub(super) fn issuers(&self) -> watch::Receiver<Issuers> {
        self.issuers.subscribe()
    }

    /// Sets or removes a status.
    pub(super) fn status(&self, key: &CertificateKey, status: Option<Arc<Status>>) {
        let mut content = self.content.lock();
        match status {
            Some(status) => content.statuses.insert(key.clone(), status),
            None => content.statuses.remove(key),
        };
        drop(content);
        self.changed.notify_one();
    }

    /// Certificates that have a status.
    pub(super) fn keys(&self) -> Vec<CertificateKey> {
        self.content.lock().statuses.keys().cloned().collect()
    }

    /// Sets or removes a state.
    pub(super) fn issuer(&self, name: &IssuerName, state: Option<IssuerState>) {
        let mut content = self.content.lock();
        match state {
            Some(state) => content.issuers.insert(name.clone(), state),
            None => content.issuers.remove(name),
        };
        drop(content);
        self.changed.notify_one();
    }

    /// Publishes what changes, for ever.
    pub(super) async fn publish(&self) {
        loop {
            self.changed.notified().await;
            let (statuses, issuers) = {
                let content = self.content.lock();
                (content.statuses.clone(), content.issuers.clone())
            };
            self.statuses.send_if_modified(|it| replace(it, statuses));
            self.issuers.send_if_modified(|it| replace(it, issuers));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn replace<T: PartialEq>(old: &mut Arc<T>, new: T) -> bool {
    let is_new = **old != new;
    if is_new {
        *old = Arc::new(new);
    }
    is_new
}
