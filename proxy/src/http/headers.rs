//! Header edits, compiled once: names and values are parsed when the configuration is, not per request.

use http::{HeaderName, HeaderValue};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use sluice_ir as ir;

/// A compiled [`ir::HeaderEdit`]. `set` replaces, `add` appends, `remove` deletes, in that order
/// (Gateway API, HTTPHeaderFilter).
#[derive(Debug, Default)]
pub(crate) struct HeaderEdit {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl HeaderEdit {
    /// Compiles the edit. Fields that are no valid header (the translation refuses them) are left out.
    pub(crate) fn compile(edit: &ir::HeaderEdit) -> Self {
        Self {
            set: edit.set.iter().filter_map(field).collect(),
            add: edit.add.iter().filter_map(field).collect(),
            remove: edit.remove.iter().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    /// Applies the edit to a request.
    pub(crate) fn request(&self, header: &mut RequestHeader) -> Result<()> {
        for (name, value) in &self.set {
            header.insert_header(name, value)?;
        }
        for (name, value) in &self.add {
            header.append_header(name, value)?;
        }
        for name in &self.remove {
            header.remove_header(name);
        }
        Ok(())
    }

    /// Applies the edit to a response.
    pub(crate) fn response(&self, header: &mut ResponseHeader) -> Result<()> {
        for (name, value) in &self.set {
            header.insert_header(name, value)?;
        }
        for (name, value) in &self.add {
            header.append_header(name, value)?;
        }
        for name in &self.remove {
            header.remove_header(name);
        }
        Ok(())
    }
}

fn field(field: &ir::HeaderField) -> Option<(HeaderName, HeaderValue)> {
    Some((field.name.parse().ok()?, HeaderValue::from_str(&field.value).ok()?))
}
