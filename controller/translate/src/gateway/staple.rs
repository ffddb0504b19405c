//! What is known of the OCSP responses of certificates that must be stapled (RFC 7633), and the condition of listeners
//! that tells it. The condition is there only where a certificate asks for a response; the listener serves either way.

use crate::status::Condition;
use sluice_ir::{Certificate, CertificateKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Type of the condition.
const CONDITION: &str = "sluice.dev/OCSPStapled";

/// How the OCSP response of a certificate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StapleStanding {
    /// In one word.
    pub reason: StapleReason,
    /// A sentence; may be empty.
    pub message: String,
}

/// Reasons of the condition `sluice.dev/OCSPStapled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StapleReason {
    /// The only one where it is True: the response goes out with the certificate.
    Stapled,
    /// Nobody has been asked yet.
    Pending,
    /// The certificate names no responder.
    NoResponder,
    /// The chain ends with the leaf.
    NoIssuer,
    /// The responder can't be reached, or gives no response.
    ResponderFailed,
    /// What it responds can't be believed.
    InvalidResponse,
    /// The responder does not know the certificate.
    Unknown,
    /// The certificate is revoked.
    Revoked,
}

impl StapleReason {
    /// The word of the condition.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stapled => "Stapled",
            Self::Pending => "Pending",
            Self::NoResponder => "NoResponder",
            Self::NoIssuer => "NoIssuer",
            Self::ResponderFailed => "ResponderFailed",
            Self::InvalidResponse => "InvalidResponse",
            Self::Unknown => "Unknown",
            Self::Revoked => "Revoked",
        }
    }

    /// What its owner can do; empty when there is nothing to do.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::Stapled | Self::Pending => "",
            Self::NoResponder => "have it issued with the URL of a responder, or without must-staple",
            Self::NoIssuer => "put the certificate of the issuer behind the leaf in tls.crt",
            Self::ResponderFailed => "let Sluice reach the responder by HTTP; it is asked again by itself",
            Self::InvalidResponse => {
                "check this clock and the issuer in tls.crt; the responder is asked again by itself"
            }
            Self::Unknown => "ask the authority about it; the responder is asked again by itself",
            Self::Revoked => "replace the certificate",
        }
    }

    /// The more it needs somebody, the higher.
    fn weight(self) -> u8 {
        match self {
            Self::Stapled => 0,
            Self::Pending => 1,
            Self::ResponderFailed | Self::InvalidResponse | Self::Unknown => 2,
            Self::NoResponder | Self::NoIssuer => 3,
            Self::Revoked => 4,
        }
    }
}

/// What is known of a listener's certificates that ask for a response.
pub(super) struct Told<'a>(Vec<(&'a Arc<Certificate>, &'a StapleStanding)>);

impl<'a> Told<'a> {
    pub(super) fn of(
        certificates: &'a [Arc<Certificate>],
        known: &'a BTreeMap<CertificateKey, StapleStanding>,
    ) -> Self {
        let standing = |it: &'a Arc<Certificate>| Some((it, known.get(&it.key)?));
        Self(certificates.iter().filter_map(standing).collect())
    }

    /// The condition: of several certificates the one that needs somebody most.
    pub(super) fn condition(&self, generation: Option<i64>) -> Option<Condition> {
        let (certificate, standing) = self.0.iter().max_by_key(|(_, it)| it.reason.weight())?;
        let mut message = match standing.message.as_str() {
            "" => String::new(),
            message => format!("{}: {message}", certificate.origin),
        };
        let reason = standing.reason;
        if reason == StapleReason::Stapled {
            return Some(Condition::yes(CONDITION, reason.word(), generation).message(message));
        }
        if !reason.next_step().is_empty() {
            message = format!("{message}; {}", reason.next_step());
        }
        Some(Condition::no(CONDITION, reason.word(), message, generation))
    }

    /// Message and next step for each certificate that stays without.
    pub(super) fn problems(&self) -> impl Iterator<Item = (String, &'static str)> + '_ {
        let missing = self
            .0
            .iter()
            .filter(|(_, it)| !matches!(it.reason, StapleReason::Stapled | StapleReason::Pending));
        missing.map(|(certificate, it)| {
            let message = format!("{} goes out without an OCSP response: {}", certificate.origin, it.message);
            (message, it.reason.next_step())
        })
    }
}
