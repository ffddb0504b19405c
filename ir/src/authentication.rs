//! Who a request's end user is: RequestAuthentications.

use crate::{BackendTarget, Origin, Selector, duration};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One RequestAuthentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// The RequestAuthentication.
    pub origin: Origin,
    /// Which workloads; of no interest where the policy is a Gateway's.
    #[serde(default)]
    pub selector: Selector,
    /// A token must pass one of those that it is for; a request without any token passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<JwtRule>,
}

/// Which tokens are believed (RFC 7519), and where they are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtRule {
    /// Claim `iss`.
    pub issuer: String,
    /// Any of these must be in claim `aud`; empty: any audience.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Keys.
    pub keys: JwtKeys,
    /// Header fields, lower case, and what stands before the token in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<TokenHeader>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
    /// Cookies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<String>,
    /// Whether the application gets the token too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwards: bool,
    /// The header field that gets the payload, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_header: Option<String>,
    /// Header fields, lower case, and the claims that they get, by their path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claim_headers: BTreeMap<String, Vec<String>>,
    /// Claims whose text is a list of words, besides `scope` and `permission`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub space_delimited: Vec<String>,
}

/// A header field that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHeader {
    /// Name, lower case.
    pub name: String,
    /// What stands before the token, such as `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JwtKeys {
    /// A JSON Web Key Set (RFC 7517) as written in the manifest.
    Inline(String),
    /// The set is fetched from this address.
    Fetched {
        /// `https://...` or `http://...`; empty: found by `ISSUER/.well-known/openid-configuration`.
        uri: String,
        /// Time for one fetch.
        #[serde(with = "duration::ms")]
        timeout: Duration,
        /// Which addresses its host may lead to.
        #[serde(default, skip_serializing_if = "KeyReach::is_public")]
        reach: KeyReach,
    },
}

/// Which addresses keys may be fetched from: a rule must not become a way to what is inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyReach {
    /// Those of the internet.
    #[default]
    Public,
    /// Those of private networks too: the host is a Service's. Never this machine's, nor those of its link.
    Cluster,
    /// All: a ServiceEntry says that the host is inside (`location: MESH_INTERNAL`).
    Any,
}

impl KeyReach {
    fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

impl Authentication {
    /// The backends that it calls: none, since keys are fetched from addresses.
    pub fn targets(&self) -> impl Iterator<Item = &BackendTarget> {
        std::iter::empty()
    }
}
