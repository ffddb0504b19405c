//! What replicas of the controller tell each other: how the data planes connected to them stand.
//!
//! ```proto
//! package sluice.sync.v1;
//! service Peers { rpc Watch(WatchRequest) returns (stream State); }
//! ```
//!
//! Each answer holds everything that the replica knows of its own data planes, as JSON: it is small, replicas are few,
//! and answers are only sent when something changed.

use crate::client::{self, GrpcService};
use crate::server::{Answer, Method, Responses};
use bytes::Bytes;
use std::sync::Arc;
use tonic::body::Body;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Path of the one method.
const WATCH_PATH: &str = "/sluice.sync.v1.Peers/Watch";
/// Bytes of a question: one name.
const MOST_BYTES: usize = 4096;

/// Who asks.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WatchRequest {
    /// Name of the asking replica.
    #[prost(string, tag = "1")]
    pub replica: String,
}

/// What a replica knows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct State {
    /// Name of the answering replica.
    #[prost(string, tag = "1")]
    pub replica: String,
    /// JSON.
    #[prost(bytes = "bytes", tag = "2")]
    pub proxies: Bytes,
}

/// Answers the other replicas.
pub trait Peers: Send + Sync + 'static {
    /// One watcher.
    fn watch(self: Arc<Self>, request: Request<WatchRequest>) -> Answer<State>;
}

/// The method of the service.
pub struct Watch<T>(Arc<T>);

impl<T: Peers> Watch<T> {
    /// Of what answers.
    pub fn new(inner: Arc<T>) -> Self {
        Self(inner)
    }
}

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Peers> Method for Watch<T> {
    const SERVICE: &'static str = "sluice.sync.v1.Peers";
    const PATH: &'static str = WATCH_PATH;
    type Request = WatchRequest;
    type Response = State;

    fn most_bytes(&self) -> usize {
        MOST_BYTES
    }

    async fn call(
        self,
        mut grpc: Grpc<ProstCodec<State, WatchRequest>>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        grpc.server_streaming(self, request).await
    }
}

impl<T: Peers> ServerStreamingService<WatchRequest> for Watch<T> {
    type Response = State;
    type ResponseStream = Responses<State>;
    type Future = Answer<State>;

    fn call(&mut self, request: Request<WatchRequest>) -> Self::Future {
        self.0.clone().watch(request)
    }
}

/// Watches another replica over an open connection.
///
/// # Errors
/// What the replica answers, or that it does not.
pub async fn watch<T: GrpcService>(
    service: T,
    token: &str,
    request: WatchRequest,
    most_bytes: usize,
) -> Result<Streaming<State>, Status> {
    let request = client::authorized(Request::new(request), token)?;
    let mut grpc = client::grpc(service, most_bytes);
    client::ready(&mut grpc).await?;
    let path = http::uri::PathAndQuery::from_static(WATCH_PATH);
    let codec = ProstCodec::<WatchRequest, State>::default();
    grpc.server_streaming(request, path, codec).await.map(Response::into_inner)
}
