//! What RequestAuthentications and AuthorizationPolicies say of a request, from its parts alone: the engine and `sluice
//! explain` ask the same functions.

use super::RequestView;
use crate::policy::{
    AuthorizationRuntime, Facts, Judged, Peer, PolicyRule, RequestFacts, Token, TokenVerdict,
};
use crate::snapshot::Port;
use sluice_ir::Authorization;
use sluice_route::{host, path, readings};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Who sends a request, and by which connection, as policies look at it.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// SPIFFE ID that the peer has proven to have; `None`: nobody.
    pub identity: Option<&'a str>,
    /// The peer of the socket.
    pub source: IpAddr,
    /// The client, where proxies before this one are believed.
    pub remote: IpAddr,
    /// Where the client came to.
    pub destination: IpAddr,
    /// Port of the same: of a workload its own.
    pub port: u16,
}

/// What a request is by its tokens.
#[derive(Clone)]
pub enum Believed {
    /// It carries none.
    Anonymous,
    /// They are good.
    Token(Arc<dyn Token>),
    /// One is not, and so the request is refused: why.
    Refused(&'static str),
    /// It takes keys that must be fetched.
    KeysMissing,
}

/// What AuthorizationPolicies say.
pub struct Opinion {
    /// Each policy in its order, and the rule of it that fits.
    pub policies: Vec<(Arc<Authorization>, Option<PolicyRule>)>,
    /// What comes of it, as far as nobody has to be asked.
    pub judged: Judged,
}

/// What the tokens of a request come to; `now_s` is the time in seconds since 1970. `None`: nobody looks for any.
pub fn believed(port: &Port, view: RequestView<'_>, now_s: f64) -> Option<Believed> {
    let authenticator = port.authentication.as_ref()?;
    Some(match authenticator.judge(view.headers, view.query, now_s) {
        TokenVerdict::Anonymous => Believed::Anonymous,
        TokenVerdict::Verified(identity) => Believed::Token(identity.claims),
        TokenVerdict::Refused(refusal) => Believed::Refused(refusal.text()),
        TokenVerdict::Wait(_) => Believed::KeysMissing,
    })
}

/// What the policies of a port say of a request. `None`: there are none, or its path has no normal form.
pub fn opinion(
    port: &Port,
    view: RequestView<'_>,
    sender: Sender<'_>,
    token: Option<&dyn Token>,
) -> Option<Opinion> {
    let authorization = port.authorization.as_ref()?;
    with_facts(authorization, port, view, sender, token, |facts| Opinion {
        policies: authorization.fitting(facts),
        judged: authorization.check(facts),
    })
}

/// Calls `look` with the facts of a request; `None` where its path has no normal form.
pub(super) fn with_facts<T>(
    authorization: &AuthorizationRuntime,
    port: &Port,
    view: RequestView<'_>,
    sender: Sender<'_>,
    token: Option<&dyn Token>,
    look: impl FnOnce(&Facts<'_>) -> T,
) -> Option<T> {
    let settings = &port.gateway.settings;
    let path = readings::written(path::normalize(view.path).ok()?, settings.paths);
    let paths = match (authorization.reads_paths(), settings.paths.is_usual()) {
        (true, true) => readings::of(&path),
        (true, false) => vec![readings::spelled(&path)],
        (false, _) => vec![Cow::Borrowed("/")],
    };
    let host = match view.authority.bytes().any(|it| it.is_ascii_uppercase()) {
        true => Cow::Owned(view.authority.to_ascii_lowercase()),
        false => Cow::Borrowed(view.authority),
    };
    let (host_name, _) = host::host_of(&host).unwrap_or_default();
    Some(look(&Facts {
        peer: sender.identity.map(Peer::of),
        source: sender.source,
        remote: sender.remote,
        destination: sender.destination,
        port: sender.port,
        server_name: view.server_name.flatten(),
        request: Some(RequestFacts {
            method: view.method,
            host: &host,
            host_name: &host_name,
            paths: &paths,
            headers: view.headers,
            token,
        }),
    }))
}
