//! The server's side of the discovery service, as a tower service for tonic's router.

use crate::{DELTA_PATH, DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Responses of one stream.
pub type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
/// What a method returns.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<Responses<T>>, Status>> + Send>>;

/// Answers discovery streams.
pub trait Discovery: Send + Sync + 'static {
    /// One stream. Nothing of it has been read when this is called.
    fn delta(
        self: Arc<Self>,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Answer<DeltaDiscoveryResponse>;
}

/// The service. A clone is the same.
pub struct DiscoveryServer<T> {
    inner: Arc<T>,
    most_bytes: usize,
}

impl<T> Clone for DiscoveryServer<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), most_bytes: self.most_bytes }
    }
}

impl<T: Discovery> DiscoveryServer<T> {
    /// With a bound on the bytes of one request.
    pub fn new(inner: Arc<T>, most_bytes: usize) -> Self {
        Self { inner, most_bytes }
    }
}

impl<T> NamedService for DiscoveryServer<T> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<T: Discovery> tower::Service<http::Request<Body>> for DiscoveryServer<T> {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != DELTA_PATH {
            return Box::pin(async { Ok(unimplemented()) });
        }
        let (method, most_bytes) = (Delta(self.inner.clone()), self.most_bytes);
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(most_bytes);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

/// The one method.
struct Delta<T>(Arc<T>);

impl<T: Discovery> StreamingService<DeltaDiscoveryRequest> for Delta<T> {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = Responses<DeltaDiscoveryResponse>;
    type Future = Answer<DeltaDiscoveryResponse>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        self.0.clone().delta(request)
    }
}

/// The answer to a method that there is not.
pub(crate) fn unimplemented() -> http::Response<Body> {
    Status::new(Code::Unimplemented, "no such method").into_http()
}
