//! What a rule or backend does to requests and responses.

use crate::Authorizer;
use crate::duration;
use crate::route::BackendTarget;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One filter, in the order of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// Edits the request's header.
    RequestHeaders(HeaderEdit),
    /// Edits the response's header.
    ResponseHeaders(HeaderEdit),
    /// Answers with a redirect; only on rules.
    Redirect(Redirect),
    /// Changes host or path of the request that the backend sees.
    Rewrite(Rewrite),
    /// Sends a copy of the request elsewhere and ignores the answer.
    Mirror(Mirror),
    /// Cross-origin resource sharing; only on rules.
    Cors(Cors),
    /// Asks somebody whether the request may go on (GEP-1494); only on rules.
    ExternalAuth(Box<Authorizer>),
    /// The filter could not be resolved: requests get this answer (Gateway API: a filter that can't be applied must
    /// never be skipped).
    Fail(Fail),
}

impl Filter {
    /// The backend that it calls.
    pub fn target(&self) -> Option<&BackendTarget> {
        match self {
            Self::Mirror(it) => Some(&it.target),
            Self::ExternalAuth(it) => Some(&it.target),
            Self::RequestHeaders(_)
            | Self::ResponseHeaders(_)
            | Self::Redirect(_)
            | Self::Rewrite(_)
            | Self::Cors(_)
            | Self::Fail(_) => None,
        }
    }
}

/// A ready answer in place of a backend or filter that can't serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fail {
    /// 500 for a reference that does not resolve.
    pub status: u16,
    /// For logs and `sluice explain`: `Service "carts" not found`.
    pub reason: String,
}

/// Header changes: `set` replaces, `add` appends, `remove` deletes, in that order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub struct HeaderEdit {
    /// Replaces all fields of the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderField>,
    /// Adds one more field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HeaderField>,
    /// Names to delete, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeaderField {
    /// Valid field name, case as written.
    pub name: String,
    /// Valid field value.
    pub value: String,
}

/// `requestRedirect`. What is absent is taken from the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host of the Location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path of the Location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// Port of the Location. Absent: the scheme's well-known port when a scheme is given, else the listener's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// `urlRewrite`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rewrite {
    /// New Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// New path; the query stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
}

/// How a path is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathEdit {
    /// The whole path.
    Full(String),
    /// The matched prefix (`replacePrefixMatch`).
    Prefix(String),
}

/// `requestMirror`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mirror {
    /// Where the copy goes.
    pub target: BackendTarget,
    /// Share of requests that are copied.
    pub fraction: Ratio,
}

/// `numerator / denominator`; the denominator is never 0, the numerator never larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Ratio {
    /// Parts taken.
    pub numerator: u32,
    /// Of so many.
    pub denominator: u32,
}

/// A ratio as it arrives.
#[derive(Deserialize)]
struct Parts {
    numerator: u32,
    denominator: u32,
}

impl TryFrom<Parts> for Ratio {
    type Error = &'static str;

    fn try_from(parts: Parts) -> Result<Self, Self::Error> {
        if parts.denominator == 0 || parts.numerator > parts.denominator {
            return Err("a ratio is between 0 and 1");
        }
        Ok(Self { numerator: parts.numerator, denominator: parts.denominator })
    }
}

impl Ratio {
    /// Every request.
    pub const ALL: Self = Self { numerator: 1, denominator: 1 };
}

/// `cors` (GEP-1767).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cors {
    /// Origins that may read answers; empty: none.
    pub allow_origins: Vec<CorsOrigin>,
    /// Whether credentialed requests are allowed.
    pub allow_credentials: bool,
    /// Methods of a preflight answer; `*` allows all.
    pub allow_methods: Vec<String>,
    /// Request headers of a preflight answer; `*` allows all.
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight answer may be cached. Default 5 s.
    #[serde(with = "duration::ms")]
    pub max_age: Duration,
}

/// An allowed origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CorsOrigin {
    /// `*`.
    Any,
    /// `https://app.example.com:8443`, lower case, default port left out.
    Exact(String),
    /// `https://*.example.com`: the wildcard covers one or more labels, scheme and port must agree.
    Wildcard {
        /// `https://`.
        scheme: String,
        /// `.example.com:8443`, with its dot and port if any.
        suffix: String,
    },
}
