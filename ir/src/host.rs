//! Host names as listeners and routes write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A host name, a wildcard over one or more left labels, or every host.
///
/// Always lower case, without port and trailing dot. A copy shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Every host: a listener or route that names none.
    Any,
    /// `*.example.com`, kept as `example.com`: matches `a.example.com` and `a.b.example.com`, not `example.com`
    /// (Gateway API, Hostname of HTTPRoute: a wildcard spans several labels and never none).
    Wildcard(Arc<str>),
    /// One host.
    Exact(Arc<str>),
}

impl HostPattern {
    /// Reads `*.example.com`, `example.com`, `*` or the empty string; the text must already be a valid host name.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        if text.is_empty() || text == "*" {
            return Self::Any;
        }
        match text.strip_prefix("*.") {
            Some(suffix) => Self::Wildcard(suffix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether the pattern covers a concrete host (lower case, without port).
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Wildcard(suffix) => is_below(host, suffix),
            Self::Exact(exact) => **exact == *host,
        }
    }

    /// The hosts that both patterns cover, or `None` when there are none: the narrower of the two when one contains
    /// the other (two host patterns either nest or are disjoint).
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.contains(other) {
            Some(other.clone())
        } else if other.contains(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// Whether every host of `other` is also one of `self`.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Wildcard(_)) => false,
            (Self::Wildcard(a), Self::Exact(b)) => is_below(b, a),
            (Self::Wildcard(a), Self::Wildcard(b)) => a == b || is_below(b, a),
        }
    }
}

/// Whether `host` has at least one more label on the left than `suffix`.
fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.'))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Exact(host) => f.write_str(host),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        Ok(Self::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern as H;

    #[test]
    fn a_wildcard_spans_labels_but_never_none() {
        let wildcard = H::parse("*.Example.com");
        assert!(wildcard.matches("a.example.com"));
        assert!(wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com"));
        assert!(!wildcard.matches(".example.com"));
        assert!(!wildcard.matches("badexample.com"));
    }

    #[test]
    fn the_intersection_is_the_narrower_pattern_or_nothing() {
        let of = |a: &str, b: &str| H::parse(a).intersection(&H::parse(b)).map(|host| host.to_string());
        assert_eq!(of("*.example.com", "a.example.com").as_deref(), Some("a.example.com"));
        assert_eq!(of("*", "*.example.com").as_deref(), Some("*.example.com"));
        assert_eq!(of("*.a.example.com", "*.example.com").as_deref(), Some("*.a.example.com"));
        assert_eq!(of("*.example.com", "example.com"), None);
        assert_eq!(of("a.example.com", "b.example.com"), None);
    }
}
