//! Whom a data plane believes: TLS towards backends, and certificates of clients.

use crate::{Certificate, Origin, SecretBytes};
use serde::{Deserialize, Serialize};

/// TLS towards the endpoints of a backend (BackendTLSPolicy, GEP-1897, or `tls` of a DestinationRule).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// The BackendTLSPolicy or DestinationRule.
    pub origin: Origin,
    /// Sent as SNI. It is also the name that the certificate must carry, unless `subject_names` has others.
    pub server_name: String,
    /// Names of which the certificate must carry at least one; empty: `server_name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_names: Vec<SubjectName>,
    /// Which authorities may vouch for the certificate.
    pub trust: Trust,
    /// PEM lists of certificates that the authorities have taken back (RFC 5280 §5); with any, a certificate whose
    /// authority has no list is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<SecretBytes>,
    /// Shown to endpoints that ask for one, in place of the Gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<Certificate>>,
}

/// A subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectName {
    /// `dNSName`; `*.example.com` covers one label.
    Dns(String),
    /// `uniformResourceIdentifier`, as SPIFFE IDs are; compared as a whole.
    Uri(String),
}

/// Authorities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// Those of the data plane's own system.
    System,
    /// PEM certificates.
    Bundle(SecretBytes),
    /// Nobody needs to vouch, and no name is compared: whoever answers is believed. Only where a user says so.
    Anyone,
}

/// What a listener asks of the certificates of its clients (GEP-91).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientValidation {
    /// PEM certificates of the authorities; empty when none could be read, which no client passes.
    pub authorities: SecretBytes,
    /// What happens to a client without a valid certificate.
    pub mode: ClientValidationMode,
}

/// What happens to a client without a valid certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientValidationMode {
    /// The handshake fails.
    AllowValidOnly,
    /// A certificate is asked for, and the handshake goes on whatever comes.
    AllowInsecureFallback,
}
