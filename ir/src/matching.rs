//! What a rule asks of a request. All parts of a [`Match`] must hold; one of a rule's matches must hold.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One entry of `rules[].matches`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Path, or gRPC method.
    pub path: PathMatch,
    /// HTTP method, upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Box<str>>,
    /// All must hold. Names are lower case and unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// All must hold. Names are case-sensitive and unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryMatch>,
}

impl Default for Match {
    /// Every request: the prefix `/`.
    fn default() -> Self {
        Self { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() }
    }
}

/// How a path is compared. The text is shared with the compiled match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// Byte for byte, case-sensitive.
    Exact(Arc<str>),
    /// By whole path elements: `/a` and `/a/` both match `/a`, `/a/` and `/a/b`, not `/ab`.
    Prefix(Arc<str>),
    /// RE2-like syntax; must match the whole path.
    Regex(Arc<str>),
    /// GRPCRoute: `/SERVICE/METHOD` by parts.
    Grpc(Box<GrpcMethodMatch>),
}

/// `method` of a GRPCRoute match; at least one part is present, except in a match of every call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct GrpcMethodMatch {
    /// Fully qualified service name: `grpc.health.v1.Health`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<StringMatch>,
    /// Method name: `Check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
}

/// How a value is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Byte for byte.
    Exact(String),
    /// RE2-like syntax; must match the whole value.
    Regex(String),
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// Compared with the field's value; several fields of one name are joined by `,` first (RFC 9110 §5.3).
    pub value: StringMatch,
}

/// One query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryMatch {
    /// After percent-decoding, case-sensitive.
    pub name: String,
    /// Compared with the first parameter of that name, after percent-decoding.
    pub value: StringMatch,
}
