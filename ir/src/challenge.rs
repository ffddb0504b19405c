//! What a certificate authority asks a Gateway, to see who answers for a host (ACME, RFC 8555).

use crate::{ChallengeKey, GatewayKey, Origin, SecretBytes};
use serde::{Deserialize, Serialize};

/// One question and its answer. It is there while an order waits for it, and belongs to one Gateway: whose data planes
/// all answer it, on every port that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// `GATEWAY-NAMESPACE/GATEWAY/http-01/HOST/TOKEN` or `GATEWAY-NAMESPACE/GATEWAY/tls-alpn-01/HOST`.
    pub key: ChallengeKey,
    /// The CertificateIssuer.
    pub origin: Origin,
    /// Who answers.
    pub gateway: GatewayKey,
    /// Lower case, no wildcard.
    pub host: String,
    /// With what.
    pub answer: ChallengeAnswer,
}

/// How a challenge is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChallengeAnswer {
    /// `GET /.well-known/acme-challenge/TOKEN` on a port of plain HTTP (RFC 8555 §8.3).
    #[serde(rename_all = "camelCase")]
    Http01 {
        /// Base64url.
        token: String,
        /// The body: token and thumbprint of the account's key.
        key_authorization: SecretBytes,
    },
    /// A handshake with ALPN `acme-tls/1` and the host as server name (RFC 8737).
    #[serde(rename_all = "camelCase")]
    TlsAlpn01 {
        /// PEM: self-signed, with the acmeIdentifier extension.
        certificate: SecretBytes,
        /// PEM.
        private_key: SecretBytes,
    },
}

impl Challenge {
    /// The key that a challenge has.
    pub fn key_of(gateway: &GatewayKey, host: &str, answer: &ChallengeAnswer) -> ChallengeKey {
        ChallengeKey::new(match answer {
            ChallengeAnswer::Http01 { token, .. } => format!("{gateway}/http-01/{host}/{token}"),
            ChallengeAnswer::TlsAlpn01 { .. } => format!("{gateway}/tls-alpn-01/{host}"),
        })
    }
}
