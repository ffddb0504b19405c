//! Words that open something: passwords. They never show, not even as fingerprints.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What is shown in a password's place.
const HIDDEN: &str = "(hidden)";

/// A password. A fingerprint would let what people choose be found by trying, so it prints as `(hidden)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

impl Password {
    /// Wraps the bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves: only for whoever asks for them, and for the wire.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Password {
    /// The bytes only in the binary form of [`wire`](crate::wire).
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.serialize_str(HIDDEN) } else { to.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Password {
    /// Only from the wire form.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Err(D::Error::custom("what people read holds no password to read back"));
        }
        from.deserialize_byte_buf(Bytes)
    }
}

/// Takes bytes, and nothing else: no error text may repeat what a password's field holds.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Password;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Password, E> {
        Ok(Password::new(bytes))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Password, E> {
        Err(E::custom("bytes are expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::Password;

    #[test]
    fn a_password_does_not_print() {
        let password = Password::new(*b"open sesame");
        let shown = format!("{password:?} {}", serde_json::to_string(&password).unwrap_or_default());
        assert_eq!(shown, "(hidden) \"(hidden)\"");
        assert!(serde_json::from_str::<Password>("\"open sesame\"").is_err());
    }
}
