//! AuthorizationPolicies of a request: first those that have somebody asked, then whether it may go on.

use super::authorized::{self, Sender};
use super::context::RequestContext;
use super::request::{Next, authority};
use super::{RequestView, ext_auth, forwarded};
use crate::listen::ConnInfo;
use crate::policy::{AuthorizationRuntime, Claims, Facts, Judged, Token};
use crate::snapshot::Port;
use crate::telemetry::Outcome;
use crate::upstream::Calls;
use http::request::Parts;
use pingora_error::Result;
use pingora_proxy::Session;

/// Notes who is to be asked about the request; whether there is anybody. Costs a comparison where there are no policies.
pub(super) fn asks(
    (port, connection): (&Port, &ConnInfo),
    header: &Parts,
    context: &mut RequestContext,
) -> bool {
    let Some(authorization) = &port.authorization else { return false };
    if !authorization.may_ask() {
        return false;
    }
    let claims = context.claims.as_deref();
    let asked =
        with_facts(authorization, (port, connection), header, claims, |facts| authorization.asks(facts));
    context.asked_first = asked.unwrap_or_default();
    !context.asked_first.is_empty()
}

/// Asks them one after the other. `Some`: the request goes no further.
///
/// # Errors
/// When the client leaves meanwhile.
pub(super) async fn ask(
    calls: &Calls,
    session: &mut Session,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    for authorizer in std::mem::take(&mut context.asked_first) {
        if let Some(next) = ext_auth::ask(calls, &authorizer, session, context).await? {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

/// Why the request goes no further. What policies say, and what is only told, is noted in the context.
pub(super) fn refusal(
    (port, connection): (&Port, &ConnInfo),
    header: &Parts,
    context: &mut RequestContext,
) -> Option<Next> {
    let authorization = port.authorization.as_ref()?;
    let judged = judge(authorization, (port, connection), header, context.claims.as_deref());
    // A path that has no normal form was refused before.
    let Some(judged) = judged else { return Some(Next::Answer(Outcome::BadRequest)) };
    let metrics = context.metrics();
    authorization.count(&judged, || metrics.dry_run(port.gateway.key.as_str()));
    let is_allowed = judged.verdict.is_allowed();
    context.judged = judged.worth_telling().then(|| Box::new(judged));
    (!is_allowed).then_some(Next::Answer(Outcome::Forbidden))
}

/// What policies say of a request; `None` where its path has no normal form.
pub(super) fn judge(
    authorization: &AuthorizationRuntime,
    (port, connection): (&Port, &ConnInfo),
    header: &Parts,
    claims: Option<&Claims>,
) -> Option<Judged> {
    with_facts(authorization, (port, connection), header, claims, |facts| authorization.check(facts))
}

/// Calls `look` with the facts of a request; `None` where its path has no normal form.
fn with_facts<T>(
    authorization: &AuthorizationRuntime,
    (port, connection): (&Port, &ConnInfo),
    header: &Parts,
    claims: Option<&Claims>,
    look: impl FnOnce(&Facts<'_>) -> T,
) -> Option<T> {
    let view = RequestView {
        method: header.method.as_str(),
        authority: authority(header),
        path: header.uri.path(),
        query: header.uri.query(),
        headers: &header.headers,
        is_https_target: false,
        server_name: connection.tls.as_ref().map(|it| it.server_name.as_deref()),
    };
    let sender = Sender {
        identity: connection.peer_identity(),
        source: connection.direct_peer.ip(),
        remote: forwarded::client(header, connection.peer.ip(), port.gateway.settings.trusted_hops),
        destination: connection.destination().ip(),
        // Of a workload it is the workload's port.
        port: connection.captured.map_or(port.port, |it| it.original.port()),
    };
    let token = claims.map(|it| it as &dyn Token);
    authorized::with_facts(authorization, port, view, sender, token, look)
}
