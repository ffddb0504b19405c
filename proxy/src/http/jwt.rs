//! RequestAuthentications: what a request is believed to be by its tokens, before a rule is looked for.
//!
//! Fields that only tokens give go first, whatever else becomes of the request. Then its tokens are judged; what they give
//! is set once, for routes, policies and all tries. The tokens themselves are taken out of what a backend gets, not of
//! the request: authorisers and caches see that there was one.

use super::context::RequestContext;
use super::filters::set_target;
use super::request::{Next, authority};
use super::rewrite::path_and_query;
use super::{Cors, guard};
use crate::policy::{Authenticator, Identity, Refusal, Strip, TokenVerdict};
use crate::telemetry::{JwtVerdict, Outcome};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::SystemTime;

/// Fetches that one request waits for.
const MOST_WAITS: usize = 2;

/// Judges a request; `Some`: it goes no further, or only after [`wait`].
pub(super) fn check(
    authenticator: &Arc<Authenticator>,
    header: &mut RequestHeader,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    for name in authenticator.forged(&header.headers) {
        header.remove_header(&name);
    }
    // It carries no credentials (Fetch standard, CORS-preflight request): what looks so is nobody's.
    if Cors::is_preflight(&header.method, &header.headers) {
        return Ok(None);
    }
    match judge(authenticator, header) {
        TokenVerdict::Wait(_) => Ok(Some(Next::Authenticate)),
        verdict => settle(authenticator, verdict, header, context),
    }
}

/// The same for a request whose keys are not there: waits for them, for as long as a fetch may take. Cancel safe.
pub(super) async fn wait(session: &mut Session, context: &mut RequestContext) -> Result<Option<Next>> {
    let Some(authenticator) = context.port.as_ref().and_then(|port| port.authentication.clone()) else {
        return Ok(Some(Next::Answer(Outcome::Internal)));
    };
    for _ in 0..MOST_WAITS {
        let verdict = guard::contained("token", || Ok(judge(&authenticator, session.req_header())))?;
        let TokenVerdict::Wait(waiting) = verdict else {
            return settle(&authenticator, verdict, session.req_header_mut(), context);
        };
        if let Err(refusal) = waiting.over().await {
            return Ok(Some(refused(refusal, session.req_header(), context)));
        }
    }
    let verdict = match guard::contained("token", || Ok(judge(&authenticator, session.req_header())))? {
        TokenVerdict::Wait(waiting) => TokenVerdict::Refused(waiting.refusal()),
        verdict => verdict,
    };
    settle(&authenticator, verdict, session.req_header_mut(), context)
}

fn judge(authenticator: &Authenticator, header: &RequestHeader) -> TokenVerdict {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    authenticator.judge(&header.headers, header.uri.query(), now_s)
}

fn settle(
    authenticator: &Arc<Authenticator>,
    verdict: TokenVerdict,
    header: &mut RequestHeader,
    context: &mut RequestContext,
) -> Result<Option<Next>> {
    let identity = match verdict {
        TokenVerdict::Anonymous => {
            context.metrics().token_judged(JwtVerdict::Anonymous);
            return Ok(None);
        }
        TokenVerdict::Refused(refusal) => return Ok(Some(refused(refusal, header, context))),
        TokenVerdict::Wait(waiting) => return Ok(Some(refused(waiting.refusal(), header, context))),
        TokenVerdict::Verified(identity) => identity,
    };
    let Identity { claims, fields, stripped, was_known } = identity;
    context.metrics().token_judged(if was_known { JwtVerdict::Known } else { JwtVerdict::Verified });
    for (name, value) in fields {
        header.insert_header(name, value)?;
    }
    context.claims = Some(claims);
    if !stripped.is_empty() {
        context.stripped = Some((authenticator.clone(), stripped));
    }
    Ok(None)
}

/// RFC 6750 §3: the client learns that its token is not valid, and not why.
fn refused(refusal: Refusal, header: &RequestHeader, context: &mut RequestContext) -> Next {
    context.metrics().token_judged(JwtVerdict::Refused(refusal));
    context.reason = Some(refusal.text());
    let is_tls = context.connection.as_ref().is_some_and(|it| it.tls.is_some());
    let scheme = if is_tls { "https" } else { "http" };
    let realm = format!("{scheme}://{}{}", authority(header), header.uri.path());
    let is_plain = |it: &char| it.is_ascii_graphic() && !matches!(it, '"' | '\\');
    let realm: String = realm.chars().filter(is_plain).take(1024).collect();
    let told = HeaderValue::try_from(format!("Bearer realm=\"{realm}\", error=\"invalid_token\""));
    let told = told.unwrap_or_else(|_| HeaderValue::from_static("Bearer error=\"invalid_token\""));
    let outcome = Outcome::Unauthenticated;
    let fields = vec![(WWW_AUTHENTICATE, told)];
    Next::Refuse { outcome, status: 401, grpc_status: outcome.grpc_status(), fields }
}

/// Takes the tokens out of what a backend gets.
pub(super) fn strip(header: &mut RequestHeader, context: &RequestContext) -> Result<()> {
    let Some((authenticator, places)) = &context.stripped else { return Ok(()) };
    let uri = header.uri.clone();
    if let Some(query) = authenticator.strip(places, &uri, &mut Head(header)) {
        let target = path_and_query(uri.path(), query.as_deref());
        set_target(header, &target)?;
    }
    Ok(())
}

struct Head<'a>(&'a mut RequestHeader);

impl Strip for Head<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    fn keep(&mut self, name: &HeaderName, is_good: &dyn Fn(&HeaderValue) -> bool) {
        let values = self.0.headers.get_all(name).iter();
        let (good, bad): (Vec<_>, Vec<_>) = values.cloned().partition(|it| is_good(it));
        if bad.is_empty() {
            return;
        }
        self.0.remove_header(name);
        for value in good {
            // A name and a value that were there before.
            let _ = self.0.append_header(name.clone(), value);
        }
    }

    fn put(&mut self, name: &HeaderName, value: Option<HeaderValue>) {
        self.0.remove_header(name);
        if let Some(value) = value {
            let _ = self.0.insert_header(name.clone(), value);
        }
    }
}
