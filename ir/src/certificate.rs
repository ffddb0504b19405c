//! Certificates with their private keys. The key never shows in a log, dump, status or fixture.

use crate::{CertificateKey, Origin};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// A certificate chain and its private key, from a Secret of type `kubernetes.io/tls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// `Secret/NAMESPACE/NAME`.
    pub key: CertificateKey,
    /// The Secret.
    pub origin: Origin,
    /// DNS names of the leaf certificate, lower case, for choosing by SNI and for `explain`.
    pub names: Vec<String>,
    /// PEM, leaf first.
    pub chain: SecretBytes,
    /// PEM.
    pub private_key: SecretBytes,
}

/// Bytes that print as a fingerprint. (A chain is public, but long: it is shown the same way.)
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Wraps the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves: only for building a TLS configuration and for the wire.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// First 8 bytes of the SHA-256 as hexadecimal: `sha256:0123456789abcdef`.
pub fn fingerprint(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes).iter().take(8) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fingerprint(&self.0))
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&fingerprint(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::SecretBytes;

    #[test]
    fn a_secret_prints_only_its_fingerprint() {
        let secret = SecretBytes::new(b"very private".to_vec());
        let shown = format!("{secret:?} {}", serde_json::to_string(&secret).unwrap_or_default());
        assert!(!shown.contains("private"), "{shown}");
        assert_eq!(shown.matches("sha256:").count(), 2, "{shown}");
    }
}
