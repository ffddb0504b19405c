//! The life of one issuer: its account is registered, and registered anew when the authority has forgotten it.

use super::Shared;
use super::allow::Asked;
use crate::client::account::{self, Registered};
use crate::plan::backoff;
use crate::{Issuer, IssuerState};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{Notify, watch};

/// An issuer's account as tasks of certificates see it.
#[derive(Clone, Debug)]
pub(super) enum Account {
    Registering,
    Ready(Arc<Registered>),
    NotReady { message: String, retry_at: SystemTime },
}

/// An issuer with its account.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) issuer: Arc<Issuer>,
    pub(super) account: watch::Sender<Account>,
    pub(super) asked: Asked,
    forgotten: Notify,
}

impl Cell {
    pub(super) fn new(issuer: Arc<Issuer>) -> Self {
        let asked = Asked::new(issuer.on_demand.as_ref());
        Self { issuer, account: watch::Sender::new(Account::Registering), asked, forgotten: Notify::new() }
    }

    /// The authority does not know the account that was used.
    pub(super) fn forget(&self, used: &Registered) {
        // Many certificates find it out; the account is registered anew once.
        let is_news = self.account.send_if_modified(|it| {
            let same = matches!(&*it, Account::Ready(now) if std::ptr::eq(&**now, used));
            if same {
                *it = Account::Registering;
            }
            same
        });
        if is_news {
            self.forgotten.notify_one();
        }
    }
}

/// Keeps the account registered, for ever.
pub(super) async fn keep(shared: &Shared, cell: &Cell) {
    let (issuer, mut anew, mut failures) = (&cell.issuer, false, 0_u32);
    shared.board.issuer(&issuer.name, Some(IssuerState::Registering));
    loop {
        let now = shared.settings.clock.now();
        match account::register(&*shared.store, issuer, anew, now).await {
            Ok(registered) => {
                tracing::info!(issuer = %issuer.name, account = registered.id, "the ACME account is ready");
                let state = IssuerState::Ready { account: registered.id.clone() };
                shared.board.issuer(&issuer.name, Some(state));
                cell.account.send_replace(Account::Ready(Arc::new(registered)));
                (failures, anew) = (0, true);
                cell.forgotten.notified().await;
                shared.board.issuer(&issuer.name, Some(IssuerState::Registering));
            }
            Err(trouble) => {
                failures = failures.saturating_add(1);
                let pause = backoff::short_pause(failures, shared.settings.backoff, issuer.name.as_str());
                let (message, retry_at) = (trouble.message, shared.settings.clock.now() + pause);
                tracing::warn!(issuer = %issuer.name, error = message, "there is no ACME account");
                let state = IssuerState::NotReady { message: message.clone(), retry_at };
                shared.board.issuer(&issuer.name, Some(state));
                cell.account.send_replace(Account::NotReady { message, retry_at });
                tokio::time::sleep(pause).await;
            }
        }
    }
}
