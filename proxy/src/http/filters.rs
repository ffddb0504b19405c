//! The filters of a rule or backendRef that change requests and responses, compiled once.

use super::headers::HeaderEdit;
use super::rewrite::{edit_path, path_and_query};
use http::uri::{PathAndQuery, Uri};
use pingora_error::{ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use sluice_ir as ir;

/// Header edits and rewrites, in the order of the manifest. One word where there are none, as in most rules.
#[derive(Debug, Default)]
pub struct CompiledFilters(Option<Box<Edits>>);

#[derive(Debug, Default)]
struct Edits {
    request: Vec<HeaderEdit>,
    response: Vec<HeaderEdit>,
    rewrites: Vec<ir::Rewrite>,
}

impl CompiledFilters {
    pub(crate) fn compile(filters: &[ir::Filter]) -> Self {
        let mut compiled = Edits::default();
        for filter in filters {
            match filter {
                ir::Filter::RequestHeaders(edit) => compiled.request.push(HeaderEdit::compile(edit)),
                ir::Filter::ResponseHeaders(edit) => compiled.response.push(HeaderEdit::compile(edit)),
                ir::Filter::Rewrite(rewrite) => compiled.rewrites.push(rewrite.clone()),
                ir::Filter::Redirect(_)
                | ir::Filter::Mirror(_)
                | ir::Filter::Cors(_)
                | ir::Filter::ExternalAuth(_)
                | ir::Filter::Fail(_) => {}
            }
        }
        let is_empty =
            compiled.request.is_empty() && compiled.response.is_empty() && compiled.rewrites.is_empty();
        Self((!is_empty).then(|| Box::new(compiled)))
    }

    /// Applies the request half. `matched` is the length of the prefix that the rule matched.
    pub(crate) fn request(&self, header: &mut RequestHeader, matched: Option<usize>) -> Result<()> {
        let Some(edits) = &self.0 else { return Ok(()) };
        for edit in &edits.request {
            edit.request(header)?;
        }
        for rewrite in &edits.rewrites {
            apply_rewrite(rewrite, header, matched)?;
        }
        Ok(())
    }

    /// Applies the response half.
    pub(crate) fn response(&self, header: &mut ResponseHeader) -> Result<()> {
        let mut edits = self.0.iter().flat_map(|edits| &edits.response);
        edits.try_for_each(|edit| edit.response(header))
    }
}

fn apply_rewrite(rewrite: &ir::Rewrite, header: &mut RequestHeader, matched: Option<usize>) -> Result<()> {
    if let Some(hostname) = &rewrite.hostname {
        header.insert_header(http::header::HOST, hostname.as_str())?;
    }
    if let Some(edit) = &rewrite.path {
        let path = edit_path(edit, header.uri.path(), matched);
        let target = path_and_query(&path, header.uri.query());
        set_target(header, &target)?;
    }
    Ok(())
}

/// Replaces path and query and keeps scheme and authority, which HTTP/2 needs.
pub(crate) fn set_target(header: &mut RequestHeader, target: &str) -> Result<()> {
    let target = PathAndQuery::try_from(target)
        .or_err(ErrorType::InvalidHTTPHeader, "rewritten path is no URI path")?;
    let mut parts = http::uri::Parts::default();
    if header.uri.authority().is_some() {
        parts.authority = header.uri.authority().cloned();
        parts.scheme = header.uri.scheme().cloned().or(Some(http::uri::Scheme::HTTP));
    }
    parts.path_and_query = Some(target);
    let uri = Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, "rewritten target is no URI")?;
    header.set_uri(uri);
    Ok(())
}
