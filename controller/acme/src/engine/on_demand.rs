//! Names of handshakes: admitted once for all who ask at the same time, kept as long as they get on.

use super::handle::{Ask, Refused, Seen, outcome};
use super::keep::Keeper;
use super::{Cell, Shared, allow};
use crate::order::certificate;
use crate::plan::names;
use crate::{CertificateKey, Item, State, Status, Wanted};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::oneshot;

/// Handshakes that wait for an endpoint at most.
const MAX_WAITERS: usize = 4096;

/// Handshakes that wait to be admitted, by where their certificate is to be kept.
#[derive(Default)]
pub(super) struct Waiters {
    by_key: HashMap<CertificateKey, Vec<oneshot::Sender<Result<Seen, Refused>>>>,
    len: usize,
}

impl Waiters {
    /// Adds one. True when it is the first for its certificate, so that somebody must be asked.
    pub(super) fn add(
        &mut self,
        key: &CertificateKey,
        reply: oneshot::Sender<Result<Seen, Refused>>,
    ) -> bool {
        if self.len >= MAX_WAITERS {
            let _ = reply.send(Err(Refused::Quota("too many handshakes wait".to_owned())));
            return false;
        }
        self.len += 1;
        let is_first = !self.has(key);
        self.by_key.entry(key.clone()).or_default().push(reply);
        is_first
    }

    /// Notes that somebody asks, though nobody waits.
    pub(super) fn open(&mut self, key: &CertificateKey) {
        self.by_key.entry(key.clone()).or_default();
    }

    /// Whether somebody is being asked.
    pub(super) fn has(&self, key: &CertificateKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Answers all of one certificate.
    pub(super) fn answer(&mut self, key: &CertificateKey, answer: &Result<Seen, Refused>) {
        for reply in self.by_key.remove(key).unwrap_or_default() {
            self.len -= 1;
            let _ = reply.send(answer.clone());
        }
    }
}

/// A certificate of a handshake that is held; counted while this lives.
pub(super) struct Held(Arc<Cell>);

impl Held {
    pub(super) fn new(cell: Arc<Cell>) -> Self {
        cell.asked.hold();
        Self(cell)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.asked.let_go();
    }
}

/// What was asked, as a wish.
pub(super) fn wanted(ask: &Ask) -> Result<Wanted, Refused> {
    if names::is_wildcard(&ask.name) {
        return Err(Refused::Name(format!("{} is a wildcard; handshakes name hosts", ask.name)));
    }
    names::check(&ask.name).map_err(Refused::Name)?;
    Ok(Wanted {
        key: ask.key.clone(),
        issuer: ask.issuer.clone(),
        names: vec![ask.name.clone()],
        scope: ask.scope.clone(),
    })
}

/// Whether the name may have a certificate: it has one already, or the endpoint says so.
pub(super) async fn admit(shared: &Shared, cell: &Cell, wanted: &Wanted) -> Result<(), Refused> {
    let item = Item::Certificate(wanted.key.clone());
    if let Ok(Some(entry)) = shared.store.read(&item).await
        && certificate::Kept::read(entry)
            .is_ok_and(|it| it.serves(&wanted.names, shared.settings.clock.now()))
    {
        return Ok(());
    }
    let name = wanted.names.first().map(String::as_str).unwrap_or_default();
    allow::ask(shared, cell, name).await
}

/// Whether a certificate that is in the store goes on to be kept. One that has ended and is not allowed is deleted.
pub(super) async fn readmit(shared: &Shared, cell: &Cell, wanted: &Wanted) -> Result<(), Refused> {
    let Ok(_permit) = shared.adoptions.acquire().await else { return Err(Refused::Stopped) };
    let refused = match admit(shared, cell, wanted).await {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    let item = Item::Certificate(wanted.key.clone());
    if let Ok(Some(entry)) = shared.store.read(&item).await {
        let version = entry.version.clone();
        let has_ended =
            certificate::Kept::read(entry).is_ok_and(|it| it.has_ended(shared.settings.clock.now()));
        if has_ended && shared.store.delete(&item, &version).await.is_ok() {
            tracing::info!(certificate = %wanted.key, reason = %refused, "a certificate of handshakes has ended");
        }
    }
    Err(refused)
}

/// Keeps the certificate until it fails or is not allowed any more: a name that nobody asks for again must not be tried
/// for ever.
pub(super) async fn keep(keeper: Keeper) {
    let (mut seen, cell) = (keeper.seen.subscribe(), keeper.cell.clone());
    let name = keeper.wanted.names.first().cloned().unwrap_or_default();
    let failed = async {
        loop {
            let status = seen.borrow_and_update().clone();
            if let Some(failure) = status.as_deref().and_then(failure) {
                return failure;
            }
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = keeper.keep(false) => {}
        (refused, until) = failed => cell.asked.remember(&name, Err(refused), until),
    }
}

/// How it failed and until when that holds.
fn failure(status: &Status) -> Option<(Refused, SystemTime)> {
    let refused = outcome(status)?.err()?;
    match &status.state {
        State::Waiting { until: Some(until), .. } | State::Failed { retry_at: until, .. } => {
            Some((refused, *until))
        }
        State::Valid { .. } | State::Waiting { until: None, .. } => None,
    }
}
