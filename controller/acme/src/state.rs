//! What is known of a certificate, for conditions and for people.

use crate::IssuerName;
use std::time::SystemTime;

/// One certificate's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who issues it.
    pub issuer: IssuerName,
    /// Its names, sorted.
    pub names: Vec<String>,
    /// The certificate in the store that is valid now and has these names.
    pub current: Option<Current>,
    /// What the engine does about it.
    pub state: State,
}

/// A certificate in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Not valid before.
    pub not_before: SystemTime,
    /// Not valid after.
    pub not_after: SystemTime,
    /// SHA-256 of the leaf, lower case hex: changes with each certificate.
    pub fingerprint: String,
}

/// What the engine does about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: it is renewed then.
    Valid {
        /// When it will be renewed.
        next_renewal: SystemTime,
    },
    /// An order is about to be made, or under way.
    Waiting {
        /// What it waits for.
        reason: Reason,
        /// In one sentence, for a condition.
        message: String,
        /// When the engine looks again, where that is known.
        until: Option<SystemTime>,
    },
    /// The last attempt failed.
    Failed {
        /// What was in the way.
        reason: Reason,
        /// In one sentence with the next step, for a condition.
        message: String,
        /// When it is tried again.
        retry_at: SystemTime,
    },
}

/// What a certificate waits for, or failed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The issuer: unknown, no account, or not to be reached.
    Issuer,
    /// A name that the issuer can't prove or the authority refuses.
    Name,
    /// A DNS record.
    Dns,
    /// A budget of ours or a limit of the authority.
    Quota,
    /// The place where certificates are kept.
    Secret,
    /// The data plane's answer to a challenge, or the authority's look at it.
    Challenge,
    /// The authority, which signs or queues.
    Authority,
}

impl Reason {
    /// As one word, for reasons of conditions and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "Issuer",
            Self::Name => "Name",
            Self::Dns => "DNS",
            Self::Quota => "Quota",
            Self::Secret => "Secret",
            Self::Challenge => "Challenge",
            Self::Authority => "Authority",
        }
    }
}

/// What is known of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerState {
    /// It has an account.
    Ready {
        /// URL of the account.
        account: String,
    },
    /// It is being registered.
    Registering,
    /// It has none.
    NotReady {
        /// In one sentence with the next step, for a condition.
        message: String,
        /// When it is tried again.
        retry_at: SystemTime,
    },
}
