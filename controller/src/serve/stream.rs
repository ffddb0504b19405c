//! One data plane's stream: who it is, what it has, then batch after batch.
//!
//! A batch goes out as a row of responses in the order of making, removals last and the other way round. The next one
//! is only made when the last response of the one before is answered, so that what changes meanwhile is sent once.

use super::auth::{Authenticator, bearer, owner};
use super::distributor::{Batch, Distributor};
use super::hello::{Hello, Versions};
use super::{ProxyIdentity, limits};
use sluice_ir::{GatewayKey, ResourceKey, ResourceKind};
use sluice_xds::server::{Answer, Discovery};
use sluice_xds::{
    BatchMark, ControlPlane, DESTINATION, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Destination,
    Refusal, type_url,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

type Sender = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

/// Serves discovery streams.
pub(super) struct Streams {
    pub(super) distributor: Distributor,
    pub(super) authenticator: Arc<dyn Authenticator>,
    /// Name of this replica.
    pub(super) replica: String,
    pub(super) stop: CancellationToken,
}

impl Discovery for Streams {
    fn delta(
        self: Arc<Self>,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Answer<DeltaDiscoveryResponse> {
        Box::pin(async move {
            // Before anything is read.
            let token = bearer(request.metadata())?;
            let identity = owner(&*self.authenticator, &token).await?;
            let (sender, receiver) = mpsc::channel(limits::RESPONSES_ON_THE_WAY);
            let stream = Stream {
                server: self,
                token,
                identity,
                requests: request.into_inner(),
                sender,
                session: None,
            };
            tokio::spawn(stream.serve());
            let responses: sluice_xds::server::Responses<_> = Box::pin(ReceiverStream::new(receiver));
            Ok(Response::new(responses))
        })
    }
}

/// How a stream ends.
enum End {
    /// The data plane has taken its leave.
    Left,
    /// The stream or its connection has ended without a word: the data plane will come again.
    Broken,
    /// We end it.
    Ours(Status),
}

struct Stream {
    server: Arc<Streams>,
    token: String,
    identity: ProxyIdentity,
    requests: Streaming<DeltaDiscoveryRequest>,
    sender: Sender,
    /// Once it is open.
    session: Option<u64>,
}

/// An open session; closes it when dropped.
struct Open {
    distributor: Distributor,
    session: u64,
    broken: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.distributor.close(self.session, self.broken);
    }
}

impl Stream {
    async fn serve(mut self) {
        let sender = self.sender.clone();
        if let End::Ours(status) = self.run().await {
            tracing::info!(reason = status.message(), "the stream of a data plane is ended");
            let _ = timeout(limits::SEND_TIME, sender.send(Err(status))).await;
        }
    }

    async fn run(&mut self) -> End {
        let hello = match timeout(limits::HELLO_TIME, Hello::read(&mut self.requests)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(status)) => return End::Ours(status),
            Err(_) => return End::Ours(Status::deadline_exceeded("no subscription came in time")),
        };
        if let Err(status) = self.admit(&hello) {
            return End::Ours(status);
        }
        let distributor = self.server.distributor.clone();
        let (session, notify) =
            distributor.open(&hello.gateway, &hello.name, &hello.version, &self.server.replica);
        let asked = hello.destinations.as_deref().unwrap_or_default();
        if let Err(why) = distributor.want(session, asked, &[]) {
            distributor.close(session, false);
            return End::Ours(Status::resource_exhausted(why));
        }
        self.session = Some(session);
        let mut open = Open { distributor, session, broken: true };
        tracing::info!(gateway = %hello.gateway, proxy = hello.name, "a data plane has come");
        let end = self.batches(&hello, session, &notify).await;
        open.broken = matches!(end, End::Broken);
        tracing::info!(gateway = %hello.gateway, proxy = hello.name, broken = open.broken, "a data plane has gone");
        end
    }

    fn admit(&self, hello: &Hello) -> Result<(), Status> {
        if let Some(pod) = &self.identity.pod
            && *pod != hello.name
        {
            return Err(Status::permission_denied(format!("the token is that of pod {pod}")));
        }
        Ok(self.server.distributor.admit(&hello.gateway, &self.identity)?)
    }

    /// Batch after batch, until one side ends.
    async fn batches(&mut self, hello: &Hello, session: u64, notify: &Notify) -> End {
        let distributor = self.server.distributor.clone();
        let mut complete = distributor.complete();
        let mut clock = Clock::new(self.identity.expires);
        // What the data plane has is compared with the first batch only.
        let mut before = Some(&hello.has);
        let (mut number, mut digest) = (0, None);
        loop {
            let batch = if *complete.borrow_and_update() { distributor.take(session) } else { Ok(None) };
            match batch {
                Err(why) => return End::Ours(Status::aborted(why)),
                Ok(Some(batch)) => {
                    number += 1;
                    let of_batch = batch.digest;
                    let mut plan = Plan::new(batch, hello, before.take(), number);
                    match self.send(&mut plan, &mut clock).await {
                        Ok(None) => distributor.answered(session, Some(of_batch), &[]),
                        Ok(Some(refusals)) => distributor.answered(session, Some(of_batch), &refusals),
                        Err(end) => return end,
                    }
                    digest = Some(of_batch);
                    continue;
                }
                Ok(None) => {}
            }
            tokio::select! {
                () = notify.notified() => {}
                _ = complete.changed() => {}
                ended = self.watch(&mut clock) => match ended {
                    Ok(request) => {
                        if request.response_nonce.is_empty() && let Some(error) = &request.error_detail {
                            distributor.answered(session, digest, &refusals(error));
                        }
                    }
                    Err(end) => return end,
                }
            }
        }
    }

    /// Sends a batch and waits for its answer: the refusals, or nothing when there was nothing to send.
    async fn send(&mut self, plan: &mut Plan<'_>, clock: &mut Clock) -> Result<Option<Vec<Refusal>>, End> {
        let distributor = self.server.distributor.clone();
        let mut next = plan.next(&distributor, &self.server.replica);
        if next.is_none() {
            return Ok(None);
        }
        let mut nonce = String::new();
        while let Some(mut response) = next {
            next = plan.next(&distributor, &self.server.replica);
            let mark = BatchMark { number: plan.number, last: next.is_none() };
            response.system_version_info = mark.to_string();
            nonce.clone_from(&response.nonce);
            let sent = tokio::select! {
                sent = timeout(limits::SEND_TIME, self.sender.send(Ok(response))) => sent,
                () = self.server.stop.cancelled() => return Err(ends()),
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Broken),
                Err(_) => return Err(End::Ours(Status::deadline_exceeded("the data plane does not read"))),
            }
        }
        let deadline = Instant::now() + limits::ANSWER_TIME;
        loop {
            let answer = tokio::time::timeout_at(deadline, self.watch(clock)).await;
            let request = answer
                .map_err(|_| End::Ours(Status::deadline_exceeded("the data plane does not answer")))??;
            if request.response_nonce == nonce {
                return Ok(Some(request.error_detail.as_ref().map(refusals).unwrap_or_default()));
            }
        }
    }

    /// The next request, or how the stream ends.
    async fn watch(&mut self, clock: &mut Clock) -> Result<DeltaDiscoveryRequest, End> {
        loop {
            tokio::select! {
                request = self.requests.message() => return match request {
                    Ok(Some(request)) if request.resource_names_unsubscribe.iter().any(|name| name == "*") => {
                        Err(End::Left)
                    }
                    Ok(Some(request)) if request.type_url == DESTINATION && request.response_nonce.is_empty() => {
                        match self.want(&request) {
                            Ok(()) => continue,
                            Err(why) => Err(End::Ours(Status::resource_exhausted(why))),
                        }
                    }
                    Ok(Some(request)) => Ok(request),
                    Ok(None) | Err(_) => Err(End::Broken),
                },
                () = self.server.stop.cancelled() => return Err(ends()),
                () = self.sender.closed() => return Err(End::Broken),
                () = tokio::time::sleep_until(clock.expires) => {
                    return Err(End::Ours(Status::unauthenticated("the token has ended, come with a new one")));
                }
                () = tokio::time::sleep_until(clock.check) => {
                    clock.checked();
                    // A token that can't be checked now was valid; its end is known.
                    if let Err(status) = owner(&*self.server.authenticator, &self.token).await
                        && status.code() == tonic::Code::Unauthenticated
                    {
                        return Err(End::Ours(status));
                    }
                }
            }
        }
    }
}

impl Stream {
    fn want(&self, request: &DeltaDiscoveryRequest) -> Result<(), &'static str> {
        let (asked, left) = (&request.resource_names_subscribe, &request.resource_names_unsubscribe);
        self.session.map_or(Ok(()), |session| self.server.distributor.want(session, asked, left))
    }
}

fn ends() -> End {
    End::Ours(Status::unavailable("this replica of the controller ends"))
}

fn refusals(error: &sluice_xds::ErrorDetail) -> Vec<Refusal> {
    error.details.iter().filter_map(Refusal::from_any).collect()
}

/// When the token must be looked at again.
struct Clock {
    expires: Instant,
    check: Instant,
}

impl Clock {
    fn new(expires: Option<SystemTime>) -> Self {
        let left = expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO));
        let left = left.unwrap_or(limits::STREAM_TIME).min(limits::STREAM_TIME);
        let mut clock = Self { expires: Instant::now() + left, check: Instant::now() };
        clock.checked();
        clock
    }

    fn checked(&mut self) {
        self.check = Instant::now() + limits::CHECK_INTERVAL;
    }
}

/// A batch in the order in which it is sent.
struct Plan<'a> {
    /// Of the batch.
    number: u64,
    responses: u32,
    hello: &'a Hello,
    /// Reversed: the next one is at the end.
    upserts: Vec<(ResourceKey, sluice_ir::Resource, bool)>,
    removals: Vec<ResourceKey>,
    answers: Vec<(Box<str>, Option<GatewayKey>)>,
    before: Option<&'a Versions>,
    /// An empty first batch says that there is nothing.
    say_nothing: bool,
}

impl<'a> Plan<'a> {
    fn new(batch: Batch, hello: &'a Hello, before: Option<&'a Versions>, number: u64) -> Self {
        let Batch { mut upserts, mut removals, answers, .. } = batch;
        if let Some(before) = before {
            // A new stream: gone is what the data plane has and its Gateway has not.
            let there: HashSet<_> = upserts.iter().map(|(key, ..)| key).collect();
            removals = before.keys().filter(|key| !there.contains(key)).cloned().collect();
        }
        upserts.retain(|(key, ..)| hello.wants(key.kind()));
        removals.retain(|key| hello.wants(key.kind()));
        upserts.sort_by(|(a, ..), (b, ..)| (b.kind(), b).cmp(&(a.kind(), a)));
        // What points at others goes before them.
        removals.sort_by(|a, b| (a.kind(), a).cmp(&(b.kind(), b)));
        let say_nothing = before.is_some();
        Self { number, responses: 0, hello, upserts, removals, answers, say_nothing, before }
    }

    /// The next response, without its mark. Resources that the data plane has already are passed over.
    fn next(&mut self, distributor: &Distributor, replica: &str) -> Option<DeltaDiscoveryResponse> {
        let mut response = DeltaDiscoveryResponse::default();
        let mut bytes = 0;
        while bytes < limits::RESPONSE_BYTES && response.resources.len() < limits::RESPONSE_RESOURCES {
            let kind = self.upserts.last().map(|(key, ..)| key.kind());
            let Some(kind) = kind.filter(|kind| fits(&response, *kind)) else { break };
            let Some((key, resource, common)) = self.upserts.pop() else { break };
            let packed = match distributor.pack(&key, &resource, common) {
                Ok(packed) => packed,
                Err(error) => {
                    tracing::error!(%key, origin = %resource.origin(), %error, "a resource can't be encoded");
                    continue;
                }
            };
            if self.before.and_then(|before| before.get(&key)) == Some(&packed.version) {
                continue;
            }
            bytes += packed.bytes.len();
            response.type_url = type_url(kind);
            response.resources.push(packed.message(&key));
        }
        if response.resources.is_empty() && self.upserts.is_empty() {
            self.removed(&mut response);
        }
        if response.type_url.is_empty() {
            self.answered(&mut response);
        }
        if response.resources.is_empty() && response.removed_resources.is_empty() {
            if !std::mem::take(&mut self.say_nothing) {
                return None;
            }
            response.type_url = type_url(ResourceKind::Gateway);
        }
        self.say_nothing = false;
        self.responses += 1;
        response.nonce = format!("{}.{}", self.number, self.responses);
        let place = self.hello.host.as_deref().and_then(|it| distributor.place_of(it));
        response.control_plane = Some(ControlPlane {
            identifier: replica.to_owned(),
            data_plane_locality: place.map(|it| it.to_string()).unwrap_or_default(),
        });
        Some(response)
    }

    /// Where destinations are found: after what they need.
    fn answered(&mut self, response: &mut DeltaDiscoveryResponse) {
        let count = self.answers.len().min(limits::RESPONSE_RESOURCES);
        for (name, scope) in self.answers.drain(..count) {
            response.type_url = DESTINATION.to_owned();
            match scope {
                Some(scope) => response.resources.push(Destination::message(&name, &scope)),
                None => response.removed_resources.push(name.into()),
            }
        }
    }

    /// Removals of one kind.
    fn removed(&mut self, response: &mut DeltaDiscoveryResponse) {
        while response.removed_resources.len() < limits::RESPONSE_REMOVALS {
            let Some(key) = self.removals.last() else { break };
            if !fits(response, key.kind()) {
                break;
            }
            response.type_url = type_url(key.kind());
            response.removed_resources.push(key.as_str().to_owned());
            self.removals.pop();
        }
    }
}

/// A response is of one kind.
fn fits(response: &DeltaDiscoveryResponse, kind: ResourceKind) -> bool {
    response.type_url.is_empty() || response.type_url == type_url(kind)
}
