//! The phases of a request, in the order in which Pingora calls them. Each phase has a file; this one only says when.

use super::context::{InFlight, RequestContext};
use super::failure::outcome_of;
use super::{
    answer, asked, attempt, authorization, buffer, cache, compression, failure, guard, jwt, observe, policy,
    record, request, response, under_way,
};
use crate::mesh::MeshState;
use crate::policy::BufferRoom;
use crate::snapshot::Runtime;
use crate::telemetry::{AccessLogger, Metrics, Outcome};
use crate::upstream::{Calls, MirrorClient};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONNECTION;
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, RangeType, Session, range_header_filter};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Our half of Pingora's `HttpProxy`: what every request reads and reports to.
pub struct Engine {
    /// The configuration; loaded once a request.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Access log.
    pub log: AccessLogger,
    /// Sends copies.
    pub mirrors: MirrorClient,
    /// Room for requests that are read before an endpoint is chosen.
    pub buffers: Arc<BufferRoom>,
    /// Asks authorisers.
    pub calls: Calls,
    /// What a sidecar knows besides; `None` at the edge.
    pub(crate) mesh: Option<Arc<MeshState>>,
}

#[async_trait]
impl ProxyHttp for Engine {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(Instant::now(), InFlight::new(&self.metrics))
    }

    /// None: Pingora's compression would cost every request, and knows no policies.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut RequestContext) -> Result<bool> {
        let mut next = guard::contained("request", || request::filter(&self.runtime, session, context))?;
        if let request::Next::Learn(destination) = next {
            if let Some(mesh) = &self.mesh {
                mesh.finder.learn(destination).await;
            }
            context.has_asked = true;
            next = guard::contained("request", || request::filter(&self.runtime, session, context))?;
        }
        if matches!(next, request::Next::Authenticate) {
            next = match jwt::wait(session, context).await? {
                Some(refused) => refused,
                None => guard::contained("request", || request::take(session, context))?,
            };
        }
        if matches!(next, request::Next::Ask) {
            next = match authorization::ask(&self.calls, session, context).await? {
                Some(refused) => refused,
                None => guard::contained("request", || Ok(request::admit(session, context)))?,
            };
        }
        if matches!(next, request::Next::Wait) {
            next = match policy::wait((&self.calls, &self.buffers), session, context).await? {
                Some(refused) => refused,
                None => guard::contained("request", || Ok(request::go_on(session, context)))?,
            };
        }
        match next {
            request::Next::Forward => {
                under_way::begin((&self.runtime, &self.log), session, context);
                Ok(false)
            }
            request::Next::Authenticate
            | request::Next::Ask
            | request::Next::Wait
            | request::Next::Learn(_) => Err(failure::failure(context, Outcome::Internal)),
            request::Next::Refuse { outcome, status, grpc_status, fields } => {
                context.outcome = Some(outcome);
                if context.grpc {
                    answer::grpc_status(session, grpc_status, outcome.word(), fields).await?;
                } else {
                    answer::text(session, status, fields, &format!("{}\n", outcome.word())).await?;
                }
                Ok(true)
            }
            request::Next::Denied(denied) => {
                context.outcome = Some(Outcome::AuthDenied);
                let denied = *denied;
                if context.grpc {
                    answer::grpc_denied(session, denied).await?;
                } else {
                    answer::whole(session, denied.status, denied.fields, denied.body).await?;
                }
                Ok(true)
            }
            request::Next::Answer(outcome) => {
                context.outcome = Some(outcome);
                if outcome == Outcome::BadRequest {
                    session.set_keepalive(None);
                }
                answer::outcome(session, outcome, context.grpc).await?;
                Ok(true)
            }
            request::Next::Text { outcome, status, fields, body } => {
                context.outcome = Some(outcome);
                answer::text(session, status, fields, &body).await?;
                Ok(true)
            }
        }
    }

    fn request_cache_filter(&self, session: &mut Session, context: &mut RequestContext) -> Result<()> {
        guard::contained("cache", || {
            cache::begin(session, context);
            Ok(())
        })
    }

    fn cache_key_callback(&self, session: &Session, context: &mut RequestContext) -> Result<CacheKey> {
        guard::contained("cache key", || cache::key(session, context))
    }

    fn cache_miss(&self, session: &mut Session, context: &mut RequestContext) {
        cache::missed(session, context);
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        _hit: &mut HitHandler,
        is_fresh: bool,
        context: &mut RequestContext,
    ) -> Result<Option<ForcedFreshness>> {
        guard::contained("cache hit", || Ok(cache::found(session, meta, is_fresh, context)))
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<RespCacheable> {
        guard::contained("cache rules", || Ok(cache::judge(session, response, context)))
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        context: &mut RequestContext,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        cache::variance(meta, context, request)
    }

    fn should_serve_stale(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        error: Option<&Error>,
    ) -> bool {
        cache::serves_stale(session, context, error)
    }

    /// Many ranges at one time are how little is asked for much; more get the whole.
    fn range_header_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _context: &mut RequestContext,
    ) -> RangeType {
        range_header_filter(session.req_header(), response, Some(cache::MOST_RANGES))
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<bool> {
        if !cache::is_refused(session, context) {
            return Ok(true);
        }
        context.outcome = Some(Outcome::NotCached);
        answer::outcome(session, Outcome::NotCached, context.grpc).await?;
        Ok(false)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        buffer::take_back(session, context);
        attempt::back_off(context).await?;
        asked::find(session, context).await?;
        attempt::wait_for_connection(context).await?;
        attempt::wait_for_identity(context).await;
        guard::contained("endpoint", || attempt::begin(session, context, Instant::now()))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        _socket: RawFd,
        digest: Option<&Digest>,
        context: &mut RequestContext,
    ) -> Result<()> {
        attempt::connected(digest, peer, context);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        header: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        guard::contained("request filters", || {
            buffer::describe(header, context)?;
            request::for_backend(session, header, context)?;
            request::start_mirrors(&self.mirrors, session, header, context);
            if context.is_last_use {
                header.insert_header(CONNECTION, "close")?;
            }
            if !context.is_custom {
                buffer::offer(session, context);
            }
            Ok(())
        })
    }

    /// Called for endpoints that our connector has a session of its own for, when everything is ready for the body.
    async fn custom_forwarding(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        _to_upstream: Option<mpsc::Sender<Bytes>>,
        _to_downstream: mpsc::Sender<Bytes>,
    ) -> Result<()> {
        buffer::offer(session, context);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut RequestContext,
    ) -> Result<()> {
        buffer::take_back(session, context);
        guard::contained("request body", || request::body(body, end_of_stream, context))
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        attempt::judge(session, header, context, Instant::now())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        guard::contained("response filters", || response::filter(session, header, context))
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        response::body(context)?;
        observe::response_body(body.as_ref(), context);
        cache::body(body, context);
        guard::contained("response body", || compression::body(body, end_of_stream, context))?;
        context.response_body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut RequestContext,
    ) -> Result<Option<Bytes>> {
        observe::trailers(trailers, context);
        guard::contained("response trailers", || compression::trailers(context))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut RequestContext,
        error: Box<Error>,
    ) -> Box<Error> {
        attempt::connect_failed(error, context, Instant::now())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        buffer::take_back(session, context);
        attempt::failed(session, error, context, client_reused, Instant::now())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut RequestContext,
    ) -> FailToProxy {
        buffer::take_back(session, context);
        let outcome = outcome_of(error, context, Instant::now());
        context.outcome = Some(outcome);
        if outcome == Outcome::Internal {
            self.metrics.panicked();
        }
        tracing::debug!(%error, outcome = outcome.word(), "request failed");
        let started = session.response_written().is_some_and(|header| !header.status.is_informational());
        // What has become another protocol would take an answer for its own bytes.
        let error_code = if started || context.upgraded || outcome == Outcome::ClientGone {
            0
        } else {
            session.set_keepalive(None);
            answer::outcome(session, outcome, context.grpc).await.unwrap_or(0)
        };
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut RequestContext) {
        buffer::take_back(session, context);
        cache::ended(session, error, context);
        if let Some(error) = error {
            let outcome = outcome_of(error, context, Instant::now());
            context.outcome.get_or_insert(outcome);
        }
        record::write(&self.log, &record::Exchange::of(session), context, Instant::now());
        under_way::end(context);
    }

    /// Pingora's own lines would repeat the access log.
    fn suppress_error_log(&self, _session: &Session, _context: &RequestContext, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &RequestContext,
        _error: &Error,
        _at: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
