//! When the authority wants a certificate renewed (RFC 9773).

use super::Shared;
use crate::client::account::Registered;
use crate::order::certificate::Leaf;
use crate::plan::renewal;
use instant_acme::CertificateIdentifier;
use std::time::{Duration, SystemTime};

/// Pause after a question that was not answered.
const AGAIN: Duration = Duration::from_secs(3600);

/// A window that is over when a certificate is new, as of an authority that errs, renews it not sooner than this, or a
/// tenth of its life, after its order.
const FIRST: Duration = Duration::from_secs(3600);

/// What the authority said about one certificate.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The certificate.
    fingerprint: String,
    /// When to renew, where it said so.
    pub(super) at: Option<SystemTime>,
    /// When to ask again.
    pub(super) ask_at: SystemTime,
}

impl Window {
    /// Whether it is about this certificate.
    pub(super) fn is_about(&self, fingerprint: &str) -> bool {
        self.fingerprint == fingerprint
    }

    /// Whether it is about this certificate and still believed.
    pub(super) fn holds(&self, fingerprint: &str, now: SystemTime) -> bool {
        self.is_about(fingerprint) && now < self.ask_at
    }
}

/// When the authority wants this certificate renewed, within reason: `ordered_at` is when this engine ordered it, and
/// however late the authority wants it, a twentieth of the life is left for it.
pub(super) fn said(
    window: Option<&Window>,
    leaf: &Leaf,
    ordered_at: Option<SystemTime>,
) -> Option<SystemTime> {
    let at = window.filter(|it| it.is_about(&leaf.current().fingerprint))?.at?;
    let life = leaf.not_after.duration_since(leaf.not_before).unwrap_or_default();
    let earliest = ordered_at.map_or(SystemTime::UNIX_EPOCH, |it| it + FIRST.min(life / 10));
    Some(at.max(earliest).min(leaf.not_after - life / 20))
}

/// Asks. An authority without windows, and one that does not answer, leaves it to two thirds of the life.
pub(super) async fn ask(shared: &Shared, registered: &Registered, leaf: &Leaf) -> Window {
    let fingerprint = leaf.current().fingerprint;
    let now = shared.settings.clock.now();
    let silent = Window { fingerprint: fingerprint.clone(), at: None, ask_at: now + AGAIN };
    if registered.directory.renewal_info.is_none() {
        return silent;
    }
    let (Ok(id), Ok(_permit)) = (CertificateIdentifier::try_from(&leaf.der), shared.windows.acquire().await)
    else {
        return silent;
    };
    let asked = async {
        let (account, _) = registered.open().await?;
        account.renewal_info(&id).await
    };
    match asked.await {
        Ok((info, hint)) => {
            let window = (info.suggested_window.start.into(), info.suggested_window.end.into());
            let at = Some(renewal::within(window, &fingerprint));
            Window { fingerprint, at, ask_at: now + renewal::ask_again(hint) }
        }
        Err(error) => {
            tracing::debug!(%error, "the authority does not say when to renew");
            silent
        }
    }
}

/// The certificate as the one that an order replaces, where the authority cares.
pub(super) fn replaces(registered: &Registered, leaf: &Leaf) -> Option<CertificateIdentifier<'static>> {
    registered.directory.renewal_info.as_ref()?;
    CertificateIdentifier::try_from(&leaf.der).ok().map(CertificateIdentifier::into_owned)
}
