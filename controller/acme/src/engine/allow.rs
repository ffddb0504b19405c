//! Which names of handshakes may be ordered: asked of an endpoint of the user, remembered in bounded space.

use super::handle::Refused;
use super::keep::Keeper;
use super::{Cell, Shared};
use crate::OnDemand;
use crate::client::fetch::Fetcher;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// Names that are remembered at most, the allowed and the refused.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// What holds for a name, and until when.
type Remembered = (Result<(), Refused>, SystemTime);

/// What one issuer's endpoint said, and which names failed a moment ago.
#[derive(Debug)]
pub(super) struct Asked {
    remembered: Mutex<LruCache<String, Remembered>>,
    /// None without an endpoint.
    fetcher: Option<Result<Fetcher, String>>,
    /// Certificates of handshakes that are held.
    held: AtomicUsize,
}

impl Asked {
    pub(super) fn new(on_demand: Option<&OnDemand>) -> Self {
        let fetcher = on_demand.map(|it| Fetcher::new(it.authorities.as_deref()));
        Self { remembered: Mutex::new(LruCache::new(MAX_REMEMBERED)), fetcher, held: AtomicUsize::new(0) }
    }

    /// What is known of a name.
    pub(super) fn known(&self, name: &str, now: SystemTime) -> Option<Result<(), Refused>> {
        let mut remembered = self.remembered.lock();
        remembered.get(name).filter(|(_, until)| *until > now).map(|it| it.0.clone())
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// One more is held.
    pub(super) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// One less is held.
    pub(super) fn let_go(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn remember(&self, name: &str, outcome: Result<(), Refused>, until: SystemTime) {
        self.remembered.lock().put(name.to_owned(), (outcome, until));
    }
}

/// Asks the endpoint, unless its answer is known.
pub(super) async fn ask(shared: &Shared, cell: &Cell, name: &str) -> Result<(), Refused> {
    let Some(on_demand) = &cell.issuer.on_demand else {
        return Err(Refused::Issuer(cell.issuer.name.clone()));
    };
    if let Some(known) = cell.asked.known(name, shared.settings.clock.now()) {
        return known;
    }
    let Ok(_permit) = shared.allows.acquire().await else { return Err(Refused::Stopped) };
    let outcome = fetch(cell, on_demand, name).await;
    let holds_for = if outcome.is_ok() { on_demand.allowed_for } else { on_demand.refused_for };
    cell.asked.remember(name, outcome.clone(), shared.settings.clock.now() + holds_for);
    outcome
}

async fn fetch(cell: &Cell, on_demand: &OnDemand, name: &str) -> Result<(), Refused> {
    let not_allowed = |what: String| Err(Refused::NotAllowed(format!("{name} is not allowed: {what}")));
    let fetcher = match &cell.asked.fetcher {
        Some(Ok(fetcher)) => fetcher,
        Some(Err(error)) => return not_allowed(error.clone()),
        None => return Err(Refused::Issuer(cell.issuer.name.clone())),
    };
    // A name that was checked has only letters that need no escape.
    let sign = if on_demand.allow.contains('?') { '&' } else { '?' };
    match fetcher.get(&format!("{}{sign}domain={name}", on_demand.allow)).await {
        Ok(answer) if answer.status() == http::StatusCode::OK => Ok(()),
        Ok(answer) => not_allowed(format!("the allow endpoint answers {}", answer.status())),
        Err(error) => not_allowed(format!("the allow endpoint can't be asked: {error}")),
    }
}

/// Whether a certificate of a handshake may be renewed.
pub(super) async fn again(shared: &Shared, keeper: &Keeper) -> bool {
    let Some(name) = keeper.wanted.names.first() else { return false };
    match ask(shared, &keeper.cell, name).await {
        Ok(()) => true,
        Err(error) => {
            tracing::info!(name, %error, "the certificate is not renewed");
            false
        }
    }
}
