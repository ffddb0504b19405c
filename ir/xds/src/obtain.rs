//! How a data plane has a certificate obtained for a name that a client asks for.
//!
//! ```proto
//! package sluice.sync.v1;
//! service Certificates { rpc Obtain(ObtainRequest) returns (ObtainResponse); }
//! ```
//!
//! The call ends when the certificate is kept: it then comes like any other resource. An error says why there will be
//! none soon: `PERMISSION_DENIED`, `INVALID_ARGUMENT`, `FAILED_PRECONDITION` and `RESOURCE_EXHAUSTED` are about the name,
//! all else is about the way there. A replica that does not lead passes the question on, marked as passed on.

use crate::client::{self, GrpcService};
use crate::server::Method;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Path of the one method.
const OBTAIN_PATH: &str = "/sluice.sync.v1.Certificates/Obtain";
/// Bytes of a message: two names.
const MOST_BYTES: usize = 4096;

/// Which name, and who asks.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ObtainRequest {
    /// `NAMESPACE/NAME` of the Gateway.
    #[prost(string, tag = "1")]
    pub gateway: String,
    /// The server name of a ClientHello, lower case, without trailing dot.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Whether another replica of the controller passes it on.
    #[prost(bool, tag = "3")]
    pub passed_on: bool,
}

/// The certificate is kept.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ObtainResponse {}

/// What the method returns.
pub type Obtaining = Pin<Box<dyn Future<Output = Result<Response<ObtainResponse>, Status>> + Send>>;

/// Answers data planes and other replicas.
pub trait Certificates: Send + Sync + 'static {
    /// One name.
    fn obtain(self: Arc<Self>, request: Request<ObtainRequest>) -> Obtaining;
}

/// The method of the service.
pub struct Obtain<T>(Arc<T>);

impl<T: Certificates> Obtain<T> {
    /// Of what answers.
    pub fn new(inner: Arc<T>) -> Self {
        Self(inner)
    }
}

impl<T> Clone for Obtain<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Certificates> Method for Obtain<T> {
    const SERVICE: &'static str = "sluice.sync.v1.Certificates";
    const PATH: &'static str = OBTAIN_PATH;
    type Request = ObtainRequest;
    type Response = ObtainResponse;

    fn most_bytes(&self) -> usize {
        MOST_BYTES
    }

    async fn call(
        self,
        mut grpc: Grpc<ProstCodec<ObtainResponse, ObtainRequest>>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        grpc.unary(self, request).await
    }
}

impl<T: Certificates> UnaryService<ObtainRequest> for Obtain<T> {
    type Response = ObtainResponse;
    type Future = Obtaining;

    fn call(&mut self, request: Request<ObtainRequest>) -> Self::Future {
        self.0.clone().obtain(request)
    }
}

/// Has a certificate obtained, over an open connection.
///
/// # Errors
/// What the controller answers, or that it does not.
pub async fn obtain<T: GrpcService>(service: T, token: &str, request: ObtainRequest) -> Result<(), Status> {
    let request = client::authorized(Request::new(request), token)?;
    let mut grpc = client::grpc(service, MOST_BYTES);
    client::ready(&mut grpc).await?;
    let path = http::uri::PathAndQuery::from_static(OBTAIN_PATH);
    let codec = ProstCodec::<ObtainRequest, ObtainResponse>::default();
    grpc.unary(request, path, codec).await.map(drop)
}
