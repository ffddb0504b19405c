//! The status that the server has of an object, kept small: there is one for each route of a large cluster.

use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What the server last showed of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Version of the object: a write that builds on another one is refused.
    pub(crate) version: Box<str>,
    /// The `status` as JSON; `None` when there is none.
    status: Option<Box<str>>,
    /// Fingerprint of the status that we wrote and got this one for, when the server keeps it differently: a CRD of
    /// an older release drops fields. Writing the same again would change nothing.
    pub(crate) answers: Option<u64>,
}

impl Seen {
    /// From `metadata.resourceVersion` and `status`.
    pub fn new(version: &str, status: Option<&Value>) -> Self {
        let status = status.filter(|it| !it.is_null()).map(|it| it.to_string().into_boxed_str());
        Self { version: version.into(), status, answers: None }
    }

    /// The status.
    pub(crate) fn status(&self) -> Value {
        let text = self.status.as_deref();
        text.and_then(|it| serde_json::from_str(it).ok()).unwrap_or(Value::Null)
    }

    /// Takes over what is known of an older look when the status is the same.
    pub(crate) fn inherit(&mut self, older: &Self) {
        if self.answers.is_none() && self.status == older.status {
            self.answers = older.answers;
        }
    }
}

/// Fingerprint of a status that we want.
pub(crate) fn fingerprint(wanted: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    wanted.to_string().hash(&mut hasher);
    hasher.finish()
}
