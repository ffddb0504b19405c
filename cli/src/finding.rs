//! One thing to tell the user about a folder: what is wrong, where it stands, and what to do next.

use serde::Serialize;
pub use sluice_translate::Severity;
use std::fmt;
use std::path::PathBuf;

/// A line of a file, as the user named the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Path of the file, beginning with the folder as it was typed.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Position {
    /// `examples/hello/gateway.yaml:12`, which editors and terminals make clickable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Something to tell. Ordered by place, so that a sorted list follows the files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Absent for what stands in no file.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// `HTTPRoute shop/cart`; empty for a whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// `spec.rules[0].backendRefs[1].name`; empty for the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do; empty when the message says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_step: String,
}

impl fmt::Display for Finding {
    /// `FILE:LINE: OBJECT: FIELD: WHAT; NEXT STEP` for an error; others have `warning:` or `note:` after the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        match self.severity {
            Severity::Error => {}
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Note => f.write_str("note: ")?,
        }
        for part in [&self.object, &self.field].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)?;
        if !self.next_step.is_empty() {
            let stop = if self.message.ends_with('?') { "" } else { ";" };
            write!(f, "{stop} {}", self.next_step)?;
        }
        Ok(())
    }
}
