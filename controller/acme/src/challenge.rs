//! What the data plane must answer while an order runs.

use crate::{Scope, Secret};
use async_trait::async_trait;

/// Something to answer for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The name being proven, lower case ASCII, never a wildcard.
    pub host: String,
    /// What to answer.
    pub answer: Answer,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `GET http://HOST/.well-known/acme-challenge/TOKEN` is answered 200 with `key_authorization` as the body,
    /// before and whatever the routes say (RFC 8555 §8.3).
    Http {
        /// Last segment of the path: base64url letters only.
        token: String,
        /// The body.
        key_authorization: Secret,
    },
    /// A handshake for HOST that offers the one protocol `acme-tls/1` gets this certificate (RFC 8737).
    TlsAlpn {
        /// The self-signed certificate, DER.
        certificate: Vec<u8>,
        /// Its key, PKCS#8 DER.
        key: Secret,
    },
}

/// Names a challenge without its secrets: at one time there is one challenge with a given id in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChallengeId {
    /// The name being proven.
    pub host: String,
    /// Which answer.
    pub kind: Kind,
}

/// Which answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP-01 with this token.
    Http(String),
    /// TLS-ALPN-01: one for each host.
    TlsAlpn,
}

impl Challenge {
    /// Its id.
    pub fn id(&self) -> ChallengeId {
        let kind = match &self.answer {
            Answer::Http { token, .. } => Kind::Http(token.clone()),
            Answer::TlsAlpn { .. } => Kind::TlsAlpn,
        };
        ChallengeId { host: self.host.clone(), kind }
    }
}

/// Why the data plane does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ChallengeError(pub String);

/// The data plane's side of challenges.
///
/// A challenge may be presented by one engine and withdrawn by the next one, so an implementation keeps them where the
/// next one finds them, or forgets them with the process.
#[async_trait]
pub trait Challenges: Send + Sync {
    /// Makes the data plane of `scope` answer, and returns only when every replica that may be asked has acknowledged
    /// it. One with the same id is replaced. Bounded in time by the caller; dropping the future leaves the challenge
    /// presented or not.
    ///
    /// # Errors
    /// When the scope has no data plane, or a replica refuses: the text goes to the status.
    async fn present(&self, scope: &Scope, challenge: &Challenge) -> Result<(), ChallengeError>;

    /// Stops answering; what is not presented is no error. Does not wait for replicas.
    async fn withdraw(&self, scope: &Scope, challenge: &ChallengeId);
}
