//! How a certificate that must be stapled stands, in the words of its listeners' conditions.

use super::need::{self, Lack, Need};
use super::response::Refused;
use sluice_ir::{Certificate, CertificateKey};
use sluice_translate::{StapleReason, StapleStanding};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most characters of a URL that are shown: a certificate may hold one of any length, a condition may not.
const MOST_SHOWN: usize = 200;

/// Why there is no new response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Not even the question can be made.
    #[error("the certificate or its issuer can't be read")]
    Unreadable,
    /// The exchange failed.
    #[error("{0:#}")]
    Responder(anyhow::Error),
    /// There is a response, and it is of no use.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Failure {
    /// Whether it says more than a good response that was had before.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Refused(Refused::Revoked))
    }

    fn reason(&self) -> StapleReason {
        match self {
            Self::Unreadable => StapleReason::NoIssuer,
            Self::Responder(_) | Self::Refused(Refused::Status(_)) => StapleReason::ResponderFailed,
            Self::Refused(Refused::Revoked) => StapleReason::Revoked,
            Self::Refused(Refused::Unknown) => StapleReason::Unknown,
            Self::Refused(Refused::Malformed | Refused::Signature | Refused::Other | Refused::Time) => {
                StapleReason::InvalidResponse
            }
        }
    }
}

/// What can be said of these certificates without asking anybody: those that no responder could help.
pub fn without_asking<'a>(
    certificates: impl IntoIterator<Item = &'a Arc<Certificate>>,
) -> BTreeMap<CertificateKey, StapleStanding> {
    let lack = |it: &Arc<Certificate>| need::of(it.chain.expose())?.err();
    certificates.into_iter().filter_map(|it| Some((it.key.clone(), lacking(lack(it)?)))).collect()
}

pub(super) fn lacking(lack: Lack) -> StapleStanding {
    let reason = match lack {
        Lack::Responder => StapleReason::NoResponder,
        Lack::Issuer => StapleReason::NoIssuer,
    };
    StapleStanding { reason, message: lack.to_string() }
}

/// After a try that failed.
pub(super) fn failed(need: &Need, failure: &Failure) -> StapleStanding {
    let message = format!("OCSP responder {}: {failure}", shown(&need.responder));
    StapleStanding { reason: failure.reason(), message }
}

/// With or without a response, after the last try.
pub(super) fn of(is_stapled: bool, failure: Option<&StapleStanding>) -> StapleStanding {
    match (is_stapled, failure) {
        (true, failure) => StapleStanding {
            reason: StapleReason::Stapled,
            message: failure
                .map_or_else(String::new, |it| format!("the last response is still good; {}", it.message)),
        },
        (false, Some(failure)) => failure.clone(),
        (false, None) => StapleStanding {
            reason: StapleReason::Pending,
            message: "the OCSP response is being fetched".to_owned(),
        },
    }
}

/// As much of a URL as is shown.
pub(super) fn shown(url: &str) -> String {
    let mut shown: String = url.chars().take(MOST_SHOWN).collect();
    if shown.len() < url.len() {
        shown.push('…');
    }
    shown
}
