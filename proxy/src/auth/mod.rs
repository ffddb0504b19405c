//! External authorisation: a server is asked whether a request may go on.
//!
//! In: an [`Authorizer`] and a [`Question`]. Out: a [`Verdict`]. It does not know where the question comes from, who
//! set the authoriser, or what becomes of the verdict; it knows no Pingora. `http` and `grpc` are the two ways to ask,
//! `fields` says which fields an authoriser may set at all, `ask` finds an endpoint and bounds the time.

mod ask;
mod changes;
mod fields;
mod grpc;
mod http;
mod message;
#[cfg(test)]
mod tests;

pub(crate) use ask::ask;
pub(crate) use changes::{Changes, Edit};

use crate::snapshot::BackendRuntime;
use crate::telemetry::AuthCounts;
use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use bytes::Bytes;
use sluice_ir as ir;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// Who is asked, compiled.
pub(crate) struct Authorizer {
    /// The IR.
    pub(crate) settings: ir::Authorizer,
    /// `Err`: why it can't be asked at all.
    backend: Result<Arc<BackendRuntime>, String>,
    /// What it is called where the request's own host is not sent.
    authority: Authority,
    request_headers: Box<[HeaderName]>,
    response_headers: Box<[HeaderName]>,
    /// Where its verdicts are counted, found by the first of them.
    counts: OnceLock<Arc<AuthCounts>>,
}

impl Authorizer {
    /// Compiles an authoriser. Its backend is looked up once: who compiles does it again when that changes.
    pub(crate) fn compile(
        settings: &ir::Authorizer,
        backend: impl FnOnce(&ir::BackendKey) -> Option<Arc<BackendRuntime>>,
    ) -> Self {
        let found = match &settings.target {
            ir::BackendTarget::Fail(fail) => Err(fail.reason.clone()),
            ir::BackendTarget::Backend(key) => {
                backend(key).ok_or_else(|| format!("backend {key} is not part of the configuration"))
            }
        };
        // Names were checked by the translation.
        let names = |list: &[String]| -> Box<[HeaderName]> {
            list.iter().filter_map(|name| name.parse().ok()).collect()
        };
        let response_headers = match &settings.protocol {
            ir::AuthProtocol::Http { response_headers, .. } => names(response_headers),
            ir::AuthProtocol::Grpc { .. } => Box::default(),
        };
        Self {
            authority: authority(found.as_ref().ok()),
            backend: found,
            request_headers: names(&settings.request_headers),
            response_headers,
            settings: settings.clone(),
            counts: OnceLock::new(),
        }
    }

    /// Bytes of a body that it is shown; 0: none.
    pub(crate) fn body_bytes(&self) -> usize {
        self.settings.body_bytes as usize
    }

    /// Where its verdicts are counted; `find` looks that up by the name of its backend.
    pub(crate) fn counts(&self, find: impl FnOnce(&str) -> Arc<AuthCounts>) -> &Arc<AuthCounts> {
        self.counts.get_or_init(|| match &self.settings.target {
            ir::BackendTarget::Backend(key) => find(key.as_str()),
            ir::BackendTarget::Fail(_) => find(crate::telemetry::metrics::NONE),
        })
    }
}

/// `NAME.NAMESPACE` of a Service, the host of an entry.
fn authority(backend: Option<&Arc<BackendRuntime>>) -> Authority {
    let name = backend.map(|it| &it.backend).and_then(|it| match it.origin.kind {
        "Service" => Some(format!("{}.{}", it.origin.name, it.origin.namespace)),
        _ => {
            let place = it.key.as_str().split('/').find(|part| part.contains(':'))?;
            place.split(':').next().map(str::to_owned)
        }
    });
    let name = name.and_then(|it| it.parse().ok());
    name.unwrap_or_else(|| Authority::from_static("authorizer"))
}

/// A request as its authoriser is told of it.
pub(crate) struct Question {
    pub(crate) method: Method,
    /// Host, or `:authority`.
    pub(crate) host: String,
    /// Path and query, normalised as they are routed.
    pub(crate) target: String,
    /// As the backend would get them: what the client says of forwarding is replaced.
    pub(crate) headers: HeaderMap,
    /// Its body, where it is shown.
    pub(crate) body: Bytes,
    pub(crate) is_tls: bool,
    pub(crate) version: Version,
    /// The client, and where it came to.
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Server name of the TLS handshake.
    pub(crate) server_name: Option<String>,
}

/// What an authoriser says.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The request goes on with these changes.
    Allowed(Box<Changes>),
    /// It is answered with this.
    Denied(Box<Denied>),
    /// It could not be asked, or not be understood.
    Failed(Failure),
}

/// The answer of a request that is denied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// 300 to 499.
    pub(crate) status: u16,
    /// The same for clients of gRPC, 1 to 16.
    pub(crate) grpc_status: u8,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration does not lead to it.
    #[error("it can't be asked: {0}")]
    Unusable(String),
    /// So many are being asked that no more may.
    #[error("too many requests are on their way to it")]
    Overloaded,
    /// No endpoint, no connection, or the connection broke.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// Time ran out.
    #[error("it did not answer in time")]
    Timeout,
    /// It says that it is not well: a status of 500 and above, or one of gRPC.
    #[error("it failed with status {0}")]
    Failed(u16),
    /// What it says is nothing that an authoriser says.
    #[error("its answer can't be understood: {0}")]
    Invalid(&'static str),
}

impl Failure {
    /// Whether nobody has said anything. Only then a request may go on, where the settings say so: what was said, or
    /// was set up wrongly, must not open a door.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Overloaded | Self::Unreachable(_) | Self::Timeout | Self::Failed(_) => true,
            Self::Unusable(_) | Self::Invalid(_) => false,
        }
    }
}

/// The status of gRPC for a client that is denied with a status of HTTP.
fn grpc_status(status: u16) -> u8 {
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNAUTHENTICATED: u8 = 16;
    match status {
        // A redirect leads to where one can log in.
        300..=399 | 401 | 407 => UNAUTHENTICATED,
        429 => RESOURCE_EXHAUSTED,
        _ => PERMISSION_DENIED,
    }
}

/// The status of HTTP that a client is denied with, where the authoriser says `status`: never one of success.
fn denial(status: u16) -> u16 {
    if (300..600).contains(&status) { status } else { 403 }
}
