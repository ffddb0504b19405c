//! External authorisation: who is asked whether a request may go on, how, and what counts when nobody answers.

use crate::duration;
use crate::route::BackendTarget;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a TrafficPolicy says of external authorisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExtAuth {
    /// Nobody is asked, whatever a less specific policy says.
    Off,
    /// This one is asked.
    Ask(Box<Authorizer>),
}

impl ExtAuth {
    /// Who is asked.
    pub fn authorizer(&self) -> Option<&Authorizer> {
        match self {
            Self::Off => None,
            Self::Ask(it) => Some(it),
        }
    }
}

/// A server that says whether a request may go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Authorizer {
    /// Where it is. A reference that does not resolve refuses every request.
    pub target: BackendTarget,
    /// What it is asked in.
    pub protocol: AuthProtocol,
    /// Names of request fields, lower case. HTTP: sent besides the usual ones. gRPC: only these are sent; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<String>,
    /// Bytes of a request's body that it is shown; 0: none. A larger body gets 413. At most [`Authorizer::MOST_BODY_BYTES`].
    #[serde(default, skip_serializing_if = "is_none")]
    pub body_bytes: u32,
    /// Time for its answer, over all tries.
    #[serde(with = "duration::ms")]
    pub timeout: Duration,
    /// Whether requests go on when it can't be asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allows_on_failure: bool,
    /// Status of the answer when it can't be asked, 400 to 599.
    pub failure_status: u16,
}

impl Authorizer {
    /// Largest body that can be shown: what is kept of a request to be sent on.
    pub const MOST_BODY_BYTES: u32 = 65_536;
    /// Time for an answer where nothing is said.
    pub const TIMEOUT: Duration = Duration::from_secs(1);
    /// Status when it can't be asked, where nothing is said.
    pub const FAILURE_STATUS: u16 = 503;
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(bytes: &u32) -> bool {
    *bytes == 0
}

/// What an authoriser is asked in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthProtocol {
    /// A request of the same method, path and host; 200 lets the request go on (GEP-1494).
    Http {
        /// Put before the request's path; empty: nothing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
        /// Names of fields of its answer, lower case, that the backend gets; empty: all that can be a request's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        response_headers: Vec<String>,
    },
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Told with every request (`context_extensions`).
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, String>,
    },
}
