//! The server's side of our services, as tower services for tonic's router: each has one [`Method`].

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
/// What a method that answers with a stream returns.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<Responses<T>>, Status>> + Send>>;

/// The one method of a service.
pub trait Method: Clone + Send + 'static {
    /// Name of the service, package included.
    const SERVICE: &'static str;
    /// Path of the method.
    const PATH: &'static str;
    /// What is asked.
    type Request: prost::Message + Default + 'static;
    /// What is answered.
    type Response: prost::Message + Default + 'static;

    /// Most bytes of one request.
    fn most_bytes(&self) -> usize;

    /// Answers a call, in the way that suits the method: unary or as a stream.
    fn call(
        self,
        grpc: Grpc<ProstCodec<Self::Response, Self::Request>>,
        request: http::Request<Body>,
    ) -> impl Future<Output = http::Response<Body>> + Send;
}

/// A service of one method. A clone is the same.
#[derive(Clone)]
pub struct Server<M>(M);

impl<M: Method> Server<M> {
    /// Of what answers.
    pub fn new(method: M) -> Self {
        Self(method)
    }
}

impl<M: Method> NamedService for Server<M> {
    const NAME: &'static str = M::SERVICE;
}

impl<M: Method> tower::Service<http::Request<Body>> for Server<M> {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != M::PATH {
            return Box::pin(async { Ok(Status::new(Code::Unimplemented, "no such method").into_http()) });
        }
        let method = self.0.clone();
        Box::pin(async move {
            let grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(method.most_bytes());
            Ok(method.call(grpc, request).await)
        })
    }
}

/// Answers discovery streams.
pub trait Discovery: Send + Sync + 'static {
    /// One stream. Nothing of it has been read when this is called.
    fn delta(
        self: Arc<Self>,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Answer<DeltaDiscoveryResponse>;
}

/// The method of the discovery service.
pub struct Delta<T> {
    inner: Arc<T>,
    most_bytes: usize,
}

impl<T: Discovery> Delta<T> {
    /// With a bound on the bytes of one request.
    pub fn new(inner: Arc<T>, most_bytes: usize) -> Self {
        Self { inner, most_bytes }
    }
}

impl<T> Clone for Delta<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), most_bytes: self.most_bytes }
    }
}

impl<T: Discovery> Method for Delta<T> {
    const SERVICE: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
    const PATH: &'static str = DELTA_PATH;
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    async fn call(
        self,
        mut grpc: Grpc<ProstCodec<DeltaDiscoveryResponse, DeltaDiscoveryRequest>>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        grpc.streaming(self, request).await
    }
}

impl<T: Discovery> StreamingService<DeltaDiscoveryRequest> for Delta<T> {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = Responses<DeltaDiscoveryResponse>;
    type Future = Answer<DeltaDiscoveryResponse>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        self.inner.clone().delta(request)
    }
}
