//! Certificates with their private keys. The key never shows in a log, dump, status or fixture.

use crate::{CertificateKey, OnDemandKey, Origin};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// A certificate chain and its private key, from a Secret of type `kubernetes.io/tls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// OCSP response (DER) that is shown with it; `None`: it asks for none, or none can be had for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staple: Option<SecretBytes>,
    /// Obtained at a handshake: no listener names it, and those with this key show it for its own names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemandKey>,
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
    /// A fingerprint in every form that people read (JSON, YAML); the bytes only in the binary form of
    /// [`wire`](crate::wire).
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&fingerprint(&self.0))
        } else {
            to.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    /// Only from the wire form: what people read holds no secret to read back.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Err(D::Error::custom("a fingerprint can't be turned back into what it stands for"));
        }
        from.deserialize_byte_buf(Bytes)
    }
}

/// Takes bytes, and nothing else: no error text may repeat what a secret's field holds.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = SecretBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<SecretBytes, E> {
        Ok(SecretBytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<SecretBytes, E> {
        Ok(SecretBytes(bytes))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretBytes, E> {
        Err(E::custom("bytes are expected"))
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
