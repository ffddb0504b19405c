//! The filter `ExternalAuth` (GEP-1494).

use super::faults::Faults;
use crate::backend::Caller;
use crate::ext_auth::{self, Terms};
use crate::model::{AuthModel, BackendReference};
use sluice_ir::{AuthProtocol, Authorizer, BackendTarget};
use std::collections::BTreeMap;

/// The filter as written, of any place.
#[derive(Debug)]
pub(crate) struct RawAuth {
    pub(crate) backend: BackendReference,
    pub(crate) is_grpc: bool,
    /// `http`: path, allowedHeaders, allowedResponseHeaders.
    pub(crate) http: Option<(Option<String>, Vec<String>, Vec<String>)>,
    /// `grpc`: allowedHeaders.
    pub(crate) grpc: Option<Vec<String>>,
    pub(crate) max_size: Option<i64>,
}

macro_rules! raw_auth {
    ($it:expr, $protocol:ident) => {
        $it.as_ref().map(|it| $crate::route::auth::RawAuth {
            backend: $crate::route::filters::raw_backend!(&it.backend_ref),
            is_grpc: it.protocol == $protocol::Grpc,
            http: it.http.as_ref().map(|it| {
                (
                    it.path.clone(),
                    it.allowed_headers.clone().unwrap_or_default(),
                    it.allowed_response_headers.clone().unwrap_or_default(),
                )
            }),
            grpc: it.grpc.as_ref().map(|it| it.allowed_headers.clone().unwrap_or_default()),
            max_size: it.forward_body.as_ref().and_then(|it| it.max_size),
        })
    };
}
pub(crate) use raw_auth;

/// Reads the filter. Terms of the protocol that is not chosen are refused: they would have no effect.
pub(super) fn read(raw: RawAuth, field: &str, faults: &mut Faults) -> Option<AuthModel> {
    let before = faults.hard_count();
    let (path, headers, response_headers) = match (raw.is_grpc, raw.http, raw.grpc) {
        (true, Some(_), _) | (false, _, Some(_)) => {
            let other = if raw.is_grpc { "http" } else { "grpc" };
            let message = "has no effect with this protocol";
            faults.value(format!("{field}.{other}"), message, "remove it, or choose the other protocol");
            return None;
        }
        (false, http, None) => http.unwrap_or_default(),
        (true, None, grpc) => (None, grpc.unwrap_or_default(), Vec::new()),
    };
    let terms = Terms {
        path: path.as_deref(),
        headers: &headers,
        response_headers: &response_headers,
        max_size: raw.max_size,
    };
    let part = if raw.is_grpc { "grpc" } else { "http" };
    let read = ext_auth::read(&terms, part, |part, message, next_step| {
        faults.value(format!("{field}.{part}"), message, next_step);
    });
    if faults.hard_count() > before {
        return None;
    }
    let protocol = match raw.is_grpc {
        true => AuthProtocol::Grpc { context: BTreeMap::new() },
        false => AuthProtocol::Http { prefix: read.prefix, response_headers: read.response_headers },
    };
    Some(AuthModel {
        backend: raw.backend,
        caller: if raw.is_grpc { Caller::Grpc } else { Caller::Http },
        authorizer: Authorizer {
            target: BackendTarget::Fail(Box::new(ext_auth::unresolved())),
            protocol,
            request_headers: read.request_headers,
            body_bytes: read.body_bytes,
            timeout: Authorizer::TIMEOUT,
            allows_on_failure: false,
            failure_status: Authorizer::FAILURE_STATUS,
        },
        field: format!("{field}.backendRef"),
    })
}
