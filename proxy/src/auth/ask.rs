//! Asks: takes what the backend's bounds give, chooses an endpoint, and bounds the time.

use super::{Authorizer, Failure, Question, Verdict, grpc, http};
use crate::snapshot::BackendRuntime;
use crate::upstream::{CallAnswer, CallError, Calls, EjectPolicy, Peer, Picked, Verdict as Health};
use bytes::Bytes;
use http_body_util::Full;
use sluice_ir as ir;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// Endpoints that are tried, as long as nothing was sent.
const TRIES: usize = 3;

/// Asks an authoriser, for the requests of a Gateway. Takes no longer than its own time and `time`. Dropping the future
/// takes the question back and says nothing against the endpoint.
pub(crate) async fn ask(
    calls: &Calls,
    authorizer: &Authorizer,
    gateway: &ir::Gateway,
    question: &Question,
    time: Option<Duration>,
) -> Verdict {
    let own = authorizer.settings.timeout;
    let time = time.map_or(own, |time| time.min(own));
    match exchange(calls, authorizer, gateway, question, time).await {
        Ok(answer) => match &authorizer.settings.protocol {
            ir::AuthProtocol::Http { .. } => http::verdict(authorizer, answer),
            ir::AuthProtocol::Grpc { .. } => grpc::verdict(&answer),
        },
        Err(failure) => Verdict::Failed(failure),
    }
}

async fn exchange(
    calls: &Calls,
    authorizer: &Authorizer,
    gateway: &ir::Gateway,
    question: &Question,
    time: Duration,
) -> Result<CallAnswer, Failure> {
    let backend = authorizer.backend.as_ref().map_err(|reason| Failure::Unusable(reason.clone()))?;
    let tls = backend.client(gateway).map_err(|reason| Failure::Unusable(reason.to_owned()))?.cloned();
    let policy = backend.backend.policy.as_deref();
    if policy.is_some_and(|it| it.proxy_header.is_some() || it.tunnel.is_some()) {
        let reason =
            "its DestinationRule asks for a PROXY header or a tunnel, but many clients share a connection";
        return Err(Failure::Unusable(reason.to_owned()));
    }
    let deadline = tokio::time::Instant::now() + time;
    let _permit = backend.permits.try_acquire().ok_or(Failure::Overloaded)?;
    let circuit = backend.circuit.as_ref();
    let _admission = circuit.map(|it| it.admit().ok_or(Failure::Overloaded)).transpose()?;
    let _slot = match circuit.and_then(|it| it.slots()) {
        None => None,
        Some(slots) => match timeout_at(deadline, slots.take()).await {
            Ok(slot) => Some(slot.ok_or(Failure::Overloaded)?),
            Err(_) => return Err(Failure::Timeout),
        },
    };
    let request = request(authorizer, backend, question, tls.is_some(), time)?;
    let most_bytes = match &authorizer.settings.protocol {
        ir::AuthProtocol::Http { .. } => http::MOST_BODY_BYTES,
        ir::AuthProtocol::Grpc { .. } => grpc::MOST_BYTES,
    };
    let mut tried = Vec::new();
    loop {
        let choice = backend.choice(&gateway.settings);
        let Some(picked) = backend.pool.pick_by(choice, &tried, None) else {
            return Err(Failure::Unreachable("no endpoint takes requests".to_owned()));
        };
        if let Some(mesh) = &backend.mesh {
            // Whoever still has no identity then is told so.
            let _ = timeout_at(deadline, mesh.wait()).await;
        }
        let of_mesh = backend.mesh_client(&picked).map_err(|reason| Failure::Unusable(reason.to_string()))?;
        let peer = Peer { address: picked.address, tls: of_mesh.or_else(|| tls.clone()) };
        let sent = calls.send(&peer, backend.backend.protocol, request.clone(), most_bytes);
        let error = match timeout_at(deadline, sent).await {
            Ok(Ok(answer)) => {
                report(&picked, backend, gateway, Health::Answered(answer.status.as_u16()));
                return Ok(answer);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                report(&picked, backend, gateway, Health::Failed);
                return Err(Failure::Timeout);
            }
        };
        report(&picked, backend, gateway, Health::Failed);
        tried.push(picked.address);
        if !matches!(error, CallError::Connect(_)) || tried.len() >= TRIES {
            return Err(Failure::Unreachable(error.to_string()));
        }
    }
}

fn request(
    authorizer: &Authorizer,
    backend: &BackendRuntime,
    question: &Question,
    is_tls: bool,
    time: Duration,
) -> Result<::http::Request<Full<Bytes>>, Failure> {
    match &authorizer.settings.protocol {
        ir::AuthProtocol::Http { prefix, .. } => {
            http::request(authorizer, prefix, question, backend.backend.protocol, is_tls)
        }
        ir::AuthProtocol::Grpc { context } => grpc::request(authorizer, context, question, is_tls, time),
    }
}

fn report(picked: &Picked, backend: &BackendRuntime, gateway: &ir::Gateway, health: Health) {
    picked.report(health, Instant::now(), backend.ejection(), EjectPolicy::from(&gateway.settings));
}
