//! Terms of external authorisation, the same for the setting `extAuth` of a TrafficPolicy and for the filter
//! ExternalAuth of an HTTPRoute.

use crate::syntax;
use sluice_ir::{Authorizer, Fail};

/// Most names in a list of fields.
const MOST_NAMES: usize = 64;

/// Terms as written.
#[derive(Debug, Default)]
pub(crate) struct Terms<'a> {
    /// `http.path`.
    pub(crate) path: Option<&'a str>,
    /// `allowedHeaders`.
    pub(crate) headers: &'a [String],
    /// `http.allowedResponseHeaders`.
    pub(crate) response_headers: &'a [String],
    /// `forwardBody.maxSize`.
    pub(crate) max_size: Option<i64>,
}

/// Terms that can be used.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) prefix: String,
    pub(crate) request_headers: Vec<String>,
    pub(crate) response_headers: Vec<String>,
    pub(crate) body_bytes: u32,
}

/// Reads terms; `protocol` is the part that the lists stand in, `http` or `grpc`. What can't be used is told to `fault`:
/// field, message, next step.
pub(crate) fn read(terms: &Terms<'_>, protocol: &str, mut fault: impl FnMut(String, String, &str)) -> Read {
    let prefix = terms.path.unwrap_or_default();
    if !prefix.is_empty()
        && let Err(message) = syntax::path(prefix)
    {
        fault("http.path".to_owned(), message, "write it as /check");
    }
    let mut names = |list: &[String], part: &str| {
        let field = format!("{protocol}.{part}");
        if list.len() > MOST_NAMES {
            fault(field.clone(), format!("has {} entries", list.len()), "use at most 64");
        }
        let mut names: Vec<String> = Vec::with_capacity(list.len());
        for (index, name) in list.iter().enumerate() {
            if let Err(message) = syntax::header_name(name) {
                fault(format!("{field}[{index}]"), message, "");
            }
            names.push(name.to_ascii_lowercase());
        }
        names.sort_unstable();
        names.dedup();
        names
    };
    let request_headers = names(terms.headers, "allowedHeaders");
    let response_headers = names(terms.response_headers, "allowedResponseHeaders");
    let most = i64::from(Authorizer::MOST_BODY_BYTES);
    let max_size = terms.max_size.unwrap_or_default();
    if !(0..=most).contains(&max_size) {
        let message = format!("{max_size} is out of range");
        fault("forwardBody.maxSize".to_owned(), message, "use 0 to 65536");
    }
    Read {
        prefix: prefix.trim_end_matches('/').to_owned(),
        request_headers,
        response_headers,
        body_bytes: u32::try_from(max_size.clamp(0, most)).unwrap_or_default(),
    }
}

/// Stands in the place of a backend until it is resolved.
pub(crate) fn unresolved() -> Fail {
    Fail { status: 500, reason: "the authoriser is not resolved".to_owned() }
}
