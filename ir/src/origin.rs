//! Where a resource comes from, in words a user of `kubectl` knows.

use serde::Serialize;
use std::fmt;

/// The object, and the part of it, that caused a resource. Carried into logs, dumps, acks and `sluice explain`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// Kind as written in the manifest: `HTTPRoute`.
    pub kind: &'static str,
    /// Namespace of the object; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Listener name, port name or the like, where the resource comes from a section of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
}

impl Origin {
    /// The whole object.
    pub fn new(kind: &'static str, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into(), section: None }
    }

    /// A named section of the object.
    pub fn section(mut self, section: impl Into<String>) -> Self {
        self.section = Some(section.into());
        self
    }
}

impl fmt::Display for Origin {
    /// `HTTPRoute shop/cart` or `Gateway edge/web section "https"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        match &self.section {
            Some(section) => write!(f, " section {section:?}"),
            None => Ok(()),
        }
    }
}
