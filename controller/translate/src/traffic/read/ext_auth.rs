//! `extAuth`.

use crate::backend::Caller;
use crate::ext_auth::{self, Terms};
use crate::model::{AuthReference, BackendReference};
use crate::values::Values;
use sluice_crds::{ExtAuthProtocol, ExtAuthSpec, OnAuthFailure};
use sluice_ir::{AuthProtocol, Authorizer, BackendTarget, ExtAuth};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time for an answer.
const LONGEST: Duration = Duration::from_secs(60);
/// Most entries of `grpc.context`.
const MOST_CONTEXT: usize = 16;
/// Longest name or value of `grpc.context`.
const LONGEST_CONTEXT: usize = 1_024;

/// Reads `extAuth`; the target stands open until the reference is resolved.
pub(super) fn read(spec: &ExtAuthSpec, values: &mut Values) -> (ExtAuth, Option<AuthReference>) {
    if spec.disabled == Some(true) {
        if *spec != (ExtAuthSpec { disabled: Some(true), ..ExtAuthSpec::default() }) {
            values.fault("extAuth.disabled", "stands beside other fields", "remove them, or disabled");
        }
        return (ExtAuth::Off, None);
    }
    let is_grpc = match spec.protocol {
        Some(protocol) => protocol == ExtAuthProtocol::GRPC,
        None => {
            values.fault("extAuth.protocol", "is missing", "use HTTP or GRPC");
            false
        }
    };
    let reference = spec.backend_ref.as_ref().map(|it| {
        let (group, kind, namespace) = (it.group.as_ref(), it.kind.as_ref(), it.namespace.as_ref());
        AuthReference {
            backend: BackendReference::new(group, kind, namespace, &it.name, Some(it.port)),
            caller: if is_grpc { Caller::Grpc } else { Caller::Http },
        }
    });
    if reference.is_none() {
        values.fault("extAuth.backendRef", "is missing", "name the server, or set disabled: true");
    }
    (ExtAuth::Ask(Box::new(authorizer(spec, is_grpc, values))), reference)
}

fn authorizer(spec: &ExtAuthSpec, is_grpc: bool, values: &mut Values) -> Authorizer {
    let (part, other) = if is_grpc { ("grpc", "http") } else { ("http", "grpc") };
    if (is_grpc && spec.http.is_some()) || (!is_grpc && spec.grpc.is_some()) {
        let next_step = "remove it, or choose the other protocol";
        values.fault(format!("extAuth.{other}"), "has no effect with this protocol", next_step);
    }
    let http = spec.http.clone().filter(|_| !is_grpc).unwrap_or_default();
    let grpc = spec.grpc.clone().filter(|_| is_grpc).unwrap_or_default();
    let terms = Terms {
        path: http.path.as_deref(),
        headers: if is_grpc { &grpc.allowed_headers } else { &http.allowed_headers },
        response_headers: &http.allowed_response_headers,
        max_size: spec.forward_body.as_ref().map(|it| it.max_size),
    };
    let read = ext_auth::read(&terms, part, |field, message, next_step| {
        values.fault(format!("extAuth.{field}"), message, next_step);
    });
    let timeout = values.duration("extAuth.timeout", spec.timeout.as_ref()).unwrap_or(Authorizer::TIMEOUT);
    if timeout.is_zero() || timeout > LONGEST {
        values.fault("extAuth.timeout", "is out of range", "use 1ms to 60s");
    }
    let protocol = match is_grpc {
        true => AuthProtocol::Grpc { context: context(grpc.context, values) },
        false => AuthProtocol::Http { prefix: read.prefix, response_headers: read.response_headers },
    };
    Authorizer {
        target: BackendTarget::Fail(Box::new(ext_auth::unresolved())),
        protocol,
        request_headers: read.request_headers,
        body_bytes: read.body_bytes,
        timeout,
        allows_on_failure: spec.on_failure == Some(OnAuthFailure::Allow),
        failure_status: values
            .number("extAuth.failureStatus", spec.failure_status, (400, 599))
            .unwrap_or(Authorizer::FAILURE_STATUS),
    }
}

fn context(context: BTreeMap<String, String>, values: &mut Values) -> BTreeMap<String, String> {
    if context.len() > MOST_CONTEXT {
        let message = format!("has {} entries", context.len());
        values.fault("extAuth.grpc.context", message, "use at most 16");
    }
    let is_long = |(name, value): (&String, &String)| name.len().max(value.len()) > LONGEST_CONTEXT;
    if context.iter().any(is_long) {
        values.fault("extAuth.grpc.context", "has an entry that is too long", "use at most 1024 bytes");
    }
    context
}

/// Refuses every request: what a policy with a fault comes to.
pub(super) fn closed() -> ExtAuth {
    ExtAuth::Ask(Box::new(Authorizer {
        target: BackendTarget::Fail(Box::new(ext_auth::unresolved())),
        protocol: AuthProtocol::Grpc { context: BTreeMap::new() },
        request_headers: Vec::new(),
        body_bytes: 0,
        timeout: Authorizer::TIMEOUT,
        allows_on_failure: false,
        failure_status: Authorizer::FAILURE_STATUS,
    }))
}
