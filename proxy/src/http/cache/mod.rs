//! Answers are kept and given again (RFC 9111), by Pingora's state machine and our stores: what may be kept stands in
//! `rules`, where it is kept in `storage`.

mod rules;
mod storage;

use super::attempt;
use super::context::RequestContext;
use super::failure::outcome_of;
use super::request;
use crate::policy::{Cache, Name, has_directive};
use crate::telemetry::{CacheResult, Outcome};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use pingora_cache::key::{CacheHashKey as _, HashBinary};
use pingora_cache::lock::{CacheKeyLockImpl, CacheLock};
use pingora_cache::predictor::Predictor;
use pingora_cache::{
    CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, NoCacheReason, RespCacheable,
};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use rules::{Asker, NotKept};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use storage::Stores;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How long requests wait for one that fetches what they ask for, and how long that one may take before another tries.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// From so many ranges on the whole is given.
pub(super) const MOST_RANGES: usize = 8;
/// URLs of each of 16 shards that are remembered as not to be kept, so that requests for them do not wait for each other.
const REMEMBERED: usize = 2_048;

static STORES: Stores = Stores;
static LOCK: LazyLock<CacheLock> = LazyLock::new(|| CacheLock::new(LONGEST_WAIT));
static NOT_KEPT: LazyLock<Predictor<16>> = LazyLock::new(|| Predictor::new(REMEMBERED, None));

/// What a request knows of its cache.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caching {
    /// Whether the cache was asked.
    is_asked: bool,
    /// Whether what is found there is not for this client.
    is_barred: bool,
    /// Whether the client has the body: what is fetched is for the store alone.
    is_silent: bool,
}

fn policy(context: &RequestContext) -> Option<Arc<Cache>> {
    context.policy.as_ref()?.cache.clone()
}

/// Whoever is known by a certificate or a token, or let in by an authoriser, is named as by `Authorization`: the answer may be his own.
fn asker(session: &Session, context: &RequestContext) -> Asker {
    let asker = Asker::of(&session.req_header().headers);
    let of_policy = context.policy.as_ref().is_some_and(|it| it.ext_auth.is_some());
    let of_rule = context.rule.as_ref().is_some_and(|it| it.authorizer().is_some());
    let by_certificate = context.connection.as_ref().is_some_and(|it| it.client_certificate.is_some());
    let is_known = of_policy || of_rule || by_certificate || context.claims.is_some();
    Asker { is_authorized: asker.is_authorized || is_known, ..asker }
}

/// Switches the cache on for a request that it may answer.
pub(super) fn begin(session: &mut Session, context: &mut RequestContext) {
    let Some(cache) = policy(context) else { return };
    let header = session.req_header();
    let asker = asker(session, context);
    if context.grpc || session.is_upgrade_req() || !rules::may_use(&header.method, &header.headers) {
        return;
    }
    if !session.is_body_empty() {
        return;
    }
    // Whose answers are mostly not for others does not wait for theirs.
    let is_own = asker.is_authorized || (asker.has_cookie && cache.settings.default_ttl.is_some());
    let lock: Option<&'static CacheKeyLockImpl> = if is_own { None } else { Some(&*LOCK) };
    let mut overrides = CacheOptionOverrides::default();
    let left = RequestContext::remaining(context.deadline, Instant::now());
    overrides.wait_timeout = Some(left.map_or(LONGEST_WAIT, |left| left.min(LONGEST_WAIT)));
    session.cache.enable(&STORES, None, Some(&*NOT_KEPT), lock, Some(overrides));
    session
        .cache
        .set_max_file_size_bytes(usize::try_from(cache.settings.most_object_bytes).unwrap_or(usize::MAX));
    context.caching.is_asked = true;
}

/// What distinguishes the answer: the policy's store, the rule that answers, scheme, host, path and query.
pub(super) fn key(session: &Session, context: &RequestContext) -> Result<CacheKey> {
    let missing =
        || Error::explain(ErrorType::InternalError, "a cache key without policy, rule or connection");
    let (cache, rule, connection) = match (policy(context), &context.rule, &context.connection) {
        (Some(cache), Some(rule), Some(connection)) => (cache, rule, connection),
        _ => return Err(missing()),
    };
    let header = session.req_header();
    let authority = request::authority(header).to_ascii_lowercase();
    let target = header.uri.path_and_query().map(|it| it.as_str()).unwrap_or_default();
    let scheme: &[u8] = if connection.tls.is_some() { b"https" } else { b"http" };
    let name = rules::name(&[
        &cache.store.id.to_be_bytes(),
        rule.route().route.key.as_str().as_bytes(),
        &rule.index().to_be_bytes(),
        scheme,
        authority.as_bytes(),
        target.as_bytes(),
    ]);
    let mut key = CacheKey::new(name, "");
    key.extensions.insert(cache.store.clone());
    Ok(key)
}

/// Nothing is there, or nothing for this client.
pub(super) fn missed(session: &mut Session, context: &RequestContext) {
    let header = session.req_header();
    // To keep its answer, all of it would have to be fetched, whatever the client wants of it.
    let is_part = header.method != Method::GET || header.headers.contains_key(header::RANGE);
    if context.caching.is_barred || is_part {
        session.cache.disable(NoCacheReason::Deferred);
    } else {
        session.cache.cache_miss();
    }
}

/// Whether what was found is passed over.
pub(super) fn found(
    session: &Session,
    meta: &CacheMeta,
    is_fresh: bool,
    context: &mut RequestContext,
) -> Option<ForcedFreshness> {
    let request = session.req_header();
    context.caching.is_barred =
        asker(session, context).is_authorized && !rules::is_for_authorized(meta.headers());
    // What is stale is asked for again as a whole, by those who want a whole.
    let is_part = request.method != Method::GET || request.headers.contains_key(header::RANGE);
    (context.caching.is_barred || (is_part && !is_fresh)).then_some(ForcedFreshness::ForceMiss)
}

/// Whether an answer is kept.
pub(super) fn judge(session: &Session, response: &ResponseHeader, context: &RequestContext) -> RespCacheable {
    let Some(cache) = policy(context) else { return RespCacheable::Uncacheable(NoCacheReason::Deferred) };
    let request = session.req_header();
    if request.method != Method::GET {
        return RespCacheable::Uncacheable(NoCacheReason::Deferred);
    }
    match rules::kept(response, asker(session, context), cache.settings.default_ttl, SystemTime::now()) {
        Ok(meta) => RespCacheable::Cacheable(meta),
        Err(NotKept::Never) => RespCacheable::Uncacheable(NoCacheReason::OriginNotCache),
        Err(NotKept::Now) => RespCacheable::Uncacheable(NoCacheReason::Deferred),
    }
}

/// What tells variants of an answer apart.
pub(super) fn variance(
    meta: &CacheMeta,
    context: &RequestContext,
    request: &RequestHeader,
) -> Option<HashBinary> {
    rules::variance(meta.headers(), &request.headers, compresses(context))
}

fn compresses(context: &RequestContext) -> bool {
    context.policy.as_ref().is_some_and(|it| it.compression.is_some())
}

/// Asks the backend for an answer in no coding, where it is kept for all and compressed for each.
pub(super) fn for_backend(session: &Session, header: &mut RequestHeader, context: &RequestContext) {
    if context.caching.is_asked
        && compresses(context)
        && (session.cache.enabled() || session.cache.bypassing())
    {
        header.remove_header(&header::ACCEPT_ENCODING);
    }
}

/// Whether a stale answer is given: while another request fetches a fresh one (`error` is `None`), or since the backend
/// fails (RFC 5861). The answer has said itself for how long either is right.
pub(super) fn serves_stale(session: &Session, context: &mut RequestContext, error: Option<&Error>) -> bool {
    let Some(error) = error else { return session.cache.is_cache_locked() };
    let now = Instant::now();
    let is_failure = match error.etype() {
        ErrorType::HTTPStatus(status) if context.outcome.is_none() => {
            if attempt::tries_again(session, *status, context, now) {
                return false;
            }
            attempt::answered(*status, context, now);
            true
        }
        _ => matches!(
            outcome_of(error, context, now),
            Outcome::NoEndpoint
                | Outcome::ConnectFailed
                | Outcome::UpstreamTls
                | Outcome::UpstreamReset
                | Outcome::UpstreamInvalid
                | Outcome::RequestTimeout
                | Outcome::BackendTimeout
        ),
    };
    if is_failure {
        // The time is the backend's; what is kept needs none.
        context.outcome = None;
        (context.deadline, context.try_deadline) = (None, None);
    }
    is_failure
}

/// Whether the client takes nothing but what is kept (RFC 9111 §5.2.1.7), which is not there.
pub(super) fn is_refused(session: &Session, context: &RequestContext) -> bool {
    context.caching.is_asked && has_directive(&session.req_header().headers, b"only-if-cached")
}

/// What became of the request, by the phase that Pingora's cache is in.
fn result(session: &Session) -> CacheResult {
    match session.cache.phase() {
        CachePhase::Hit => CacheResult::Hit,
        CachePhase::Stale | CachePhase::StaleUpdating => CacheResult::Stale,
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => CacheResult::Revalidated,
        CachePhase::Miss | CachePhase::Expired => CacheResult::Stored,
        CachePhase::Disabled(_) | CachePhase::Uninit | CachePhase::Bypass | CachePhase::CacheKey => {
            CacheResult::Passed
        }
    }
}

/// Tells the client how the cache took part (RFC 9211), and forgets what an unsafe request has changed (RFC 9111 §4.4).
pub(super) fn head(
    session: &Session,
    header: &mut ResponseHeader,
    context: &mut RequestContext,
) -> Result<()> {
    context.caching.is_silent = context.caching.is_asked && header.status == StatusCode::NOT_MODIFIED;
    let Some(cache) = policy(context).filter(|_| !context.grpc && !context.upgraded) else { return Ok(()) };
    let is_done = header.status.is_success() || header.status.is_redirection();
    if is_done && !session.req_header().method.is_safe() {
        let name: Name = key(session, context)?.primary_bin();
        cache.store.remove(&name);
    }
    if !cache.settings.tells {
        return Ok(());
    }
    let ttl = || {
        let meta = session.cache.maybe_cache_meta()?;
        let (until, now) = (meta.fresh_until(), SystemTime::now());
        Some(match until.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Err(over) => -i64::try_from(over.duration().as_secs()).unwrap_or(i64::MAX),
        })
    };
    let said = match result(session) {
        CacheResult::Hit | CacheResult::Stale => format!("sluice; hit; ttl={}", ttl().unwrap_or(0)),
        CacheResult::Revalidated => "sluice; fwd=stale; fwd-status=304".to_owned(),
        CacheResult::Stored if session.cache.phase() == CachePhase::Expired => {
            "sluice; fwd=stale; stored".to_owned()
        }
        CacheResult::Stored => "sluice; fwd=miss; stored".to_owned(),
        CacheResult::Passed if context.caching.is_asked => "sluice; fwd=miss".to_owned(),
        CacheResult::Passed if !session.req_header().method.is_safe() => "sluice; fwd=method".to_owned(),
        CacheResult::Passed => "sluice; fwd=bypass".to_owned(),
    };
    if let Ok(said) = HeaderValue::from_str(&said) {
        header.append_header(CACHE_STATUS, said)?;
    }
    Ok(())
}

/// Keeps a body from a client that was told that it has it (RFC 9110 §15.4.5). Costs one comparison elsewhere.
pub(super) fn body(body: &mut Option<Bytes>, context: &RequestContext) {
    if context.caching.is_silent {
        *body = None;
    }
}

/// Counts what became of the request; an answer that no backend had a part in is an end of its own.
pub(super) fn ended(session: &Session, error: Option<&Error>, context: &mut RequestContext) {
    if !context.caching.is_asked {
        return;
    }
    let result = result(session);
    context.metrics().cached(result);
    if matches!(result, CacheResult::Hit | CacheResult::Stale) && error.is_none() && context.outcome.is_none()
    {
        context.outcome = Some(Outcome::Cached);
    }
}
