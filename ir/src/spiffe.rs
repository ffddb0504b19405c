//! Identities of workloads, as certificates carry them (SPIFFE-ID). Read strictly, once: whoever holds a [`SpiffeId`] need
//! not check it again, and two of them are the same exactly when their texts are.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID §2.3.
const LONGEST: usize = 2048;
/// SPIFFE-ID §2.1.
const LONGEST_DOMAIN: usize = 255;

/// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`: the one form that workloads of Kubernetes have.
///
/// Scheme and trust domain are lower case; there is no user, port, query, fragment or percent-encoding, and no part is
/// empty or made of dots (SPIFFE-ID §2). A copy shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Bytes of the trust domain and of the namespace.
    domain: u16,
    namespace: u16,
}

/// A text is no identity of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASpiffeId(&'static str);

impl fmt::Display for NotASpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no identity of a workload: {}", self.0)
    }
}

impl std::error::Error for NotASpiffeId {}

impl SpiffeId {
    /// The identity of a service account.
    ///
    /// # Errors
    /// When one of the three can't be part of an identity.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, NotASpiffeId> {
        format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without `spiffe://`: as policies name principals.
    pub fn principal(&self) -> &str {
        &self.text[SCHEME.len()..]
    }

    /// Who vouches for it.
    pub fn trust_domain(&self) -> &str {
        &self.principal()[..usize::from(self.domain)]
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        let start = usize::from(self.domain) + "/ns/".len();
        &self.principal()[start..start + usize::from(self.namespace)]
    }

    /// The service account.
    pub fn service_account(&self) -> &str {
        let before = usize::from(self.domain) + usize::from(self.namespace) + "/ns//sa/".len();
        &self.principal()[before..]
    }
}

impl FromStr for SpiffeId {
    type Err = NotASpiffeId;

    fn from_str(text: &str) -> Result<Self, NotASpiffeId> {
        if text.len() > LONGEST {
            return Err(NotASpiffeId("it is too long"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(NotASpiffeId("it does not begin with spiffe://"))?;
        let mut parts = rest.split('/');
        let mut next = || parts.next().unwrap_or_default();
        let (domain, ns, namespace, sa, account) = (next(), next(), next(), next(), next());
        if ns != "ns" || sa != "sa" || parts.next().is_some() {
            return Err(NotASpiffeId("it is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"));
        }
        if !is_trust_domain(domain) {
            return Err(NotASpiffeId("its trust domain is none"));
        }
        if !is_segment(namespace) || !is_segment(account) {
            return Err(NotASpiffeId("its namespace or service account is none"));
        }
        // Both fit: the whole has at most 2048 bytes.
        let bytes = |part: &str| u16::try_from(part.len()).map_err(|_| NotASpiffeId("it is too long"));
        Ok(Self { text: text.into(), domain: bytes(domain)?, namespace: bytes(namespace)? })
    }
}

/// Whether a text can be a trust domain: lower-case letters, digits, dots, dashes and underscores (SPIFFE-ID §2.1).
pub fn is_trust_domain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_DOMAIN && text.bytes().all(fits)
}

/// SPIFFE-ID §2.2.
fn is_segment(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(fits)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::SpiffeId;

    #[test]
    fn an_identity_is_taken_apart() {
        let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart.v2".parse().unwrap();
        assert_eq!(
            (id.trust_domain(), id.namespace(), id.service_account()),
            ("cluster.local", "shop", "cart.v2")
        );
        assert_eq!(id.principal(), "cluster.local/ns/shop/sa/cart.v2");
        assert_eq!(id, SpiffeId::new("cluster.local", "shop", "cart.v2").unwrap());
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<SpiffeId>(&json).unwrap(), id);
    }

    #[test]
    fn what_only_looks_like_an_identity_is_none() {
        for wrong in [
            "",
            "spiffe://",
            "spiffe://td",
            "spiffe://td/",
            "spiffe:///ns/a/sa/b",
            "SPIFFE://td/ns/a/sa/b",
            "Spiffe://td/ns/a/sa/b",
            "https://td/ns/a/sa/b",
            "spiffe:/td/ns/a/sa/b",
            " spiffe://td/ns/a/sa/b",
            "spiffe://td/ns/a/sa/b ",
            "spiffe://td/ns/a/sa/b/",
            "spiffe://td/ns/a/sa/b/c",
            "spiffe://td/ns/a/sa/",
            "spiffe://td/ns//sa/b",
            "spiffe://td//ns/a/sa/b",
            "spiffe://td/NS/a/sa/b",
            "spiffe://td/ns/a/b/sa",
            "spiffe://TD/ns/a/sa/b",
            "spiffe://td:443/ns/a/sa/b",
            "spiffe://user@td/ns/a/sa/b",
            "spiffe://user:pass@td/ns/a/sa/b",
            "spiffe://td/ns/a/sa/b?x=y",
            "spiffe://td/ns/a/sa/b#x",
            "spiffe://td/ns/a/sa/%62",
            "spiffe://t%64/ns/a/sa/b",
            "spiffe://td/ns/a/sa/..",
            "spiffe://td/ns/../sa/b",
            "spiffe://td/ns/./sa/b",
            "spiffe://td/ns/x/../a/sa/b",
            "spiffe://td/ns/*/sa/b",
            "spiffe://*/ns/a/sa/b",
            "spiffe://td/ns/a/sa/b\0",
            "spiffe://td\0.evil/ns/a/sa/b",
            "spiffe://td/ns/a\\sa/sa/b",
            "spiffe://tä/ns/a/sa/b",
            "spiffe://td/ns/a/sa/ｂ",
            "spiffe://[::1]/ns/a/sa/b",
        ] {
            assert!(wrong.parse::<SpiffeId>().is_err(), "{wrong:?}");
        }
        assert!(SpiffeId::new(&"a".repeat(256), "a", "b").is_err());
        assert!(SpiffeId::new("td", &"a".repeat(2048), "b").is_err());
        assert!(SpiffeId::new("td", "a/sa/b", "c").is_err());
        assert!(SpiffeId::new("td", "a", "b/../c").is_err());
    }
}
