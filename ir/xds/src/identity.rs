//! How a workload gets its certificate: `istio.v1.auth.IstioCertificateService` with its field numbers, so that Istio's own
//! agents can ask too.
//!
//! ```proto
//! package istio.v1.auth;
//! service IstioCertificateService {
//!   rpc CreateCertificate(IstioCertificateRequest) returns (IstioCertificateResponse);
//! }
//! ```
//!
//! Who asks is what a bearer token or the certificate of the connection says; the request names a key, never an identity.

use crate::Struct;
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
const CREATE_PATH: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Bytes of a request: one key and its signature.
const REQUEST_BYTES: usize = 64 * 1024;
/// Bytes of a response: a chain and the roots.
const RESPONSE_BYTES: usize = 1024 * 1024;

/// Which key, and for how long (`istio/api security/v1alpha1/ca.proto`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct CertificateRequest {
    /// A certificate signing request (PKCS #10) in PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// How long the certificate is to be valid, in seconds; 0: as the authority likes.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// What clients of Istio's node agents say besides.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CertificateResponse {
    /// PEM: the certificate, those between it and the root one by one, and last all roots that are to be trusted.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// What the method returns.
pub type Creating = Pin<Box<dyn Future<Output = Result<Response<CertificateResponse>, Status>> + Send>>;

/// Answers workloads.
pub trait Issuing: Send + Sync + 'static {
    /// One certificate.
    fn create(self: Arc<Self>, request: Request<CertificateRequest>) -> Creating;
}

/// The method of the service.
pub struct Create<T>(Arc<T>);

impl<T: Issuing> Create<T> {
    /// Of what answers.
    pub fn new(inner: Arc<T>) -> Self {
        Self(inner)
    }
}

impl<T> Clone for Create<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Issuing> Method for Create<T> {
    const SERVICE: &'static str = "istio.v1.auth.IstioCertificateService";
    const PATH: &'static str = CREATE_PATH;
    type Request = CertificateRequest;
    type Response = CertificateResponse;

    fn most_bytes(&self) -> usize {
        REQUEST_BYTES
    }

    async fn call(
        self,
        mut grpc: Grpc<ProstCodec<CertificateResponse, CertificateRequest>>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        grpc.unary(self, request).await
    }
}

impl<T: Issuing> UnaryService<CertificateRequest> for Create<T> {
    type Response = CertificateResponse;
    type Future = Creating;

    fn call(&mut self, request: Request<CertificateRequest>) -> Self::Future {
        self.0.clone().create(request)
    }
}

/// Asks for a certificate over an open connection; without a token the connection's own certificate says who asks.
///
/// # Errors
/// What the authority answers, or that it does not.
pub async fn create_certificate<T: GrpcService>(
    service: T,
    token: Option<&str>,
    request: CertificateRequest,
) -> Result<CertificateResponse, Status> {
    let mut request = Request::new(request);
    if let Some(token) = token {
        request = client::authorized(request, token)?;
    }
    let mut grpc = client::grpc(service, RESPONSE_BYTES);
    client::ready(&mut grpc).await?;
    let path = http::uri::PathAndQuery::from_static(CREATE_PATH);
    let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
    grpc.unary(request, path, codec).await.map(Response::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{CertificateRequest, CertificateResponse};
    use crate::{Struct, Value};
    use prost::Message as _;

    /// Bytes as an Istio agent writes them: fields 1 (text), 3 (varint) and 4 (message).
    #[test]
    fn requests_and_responses_are_those_of_istio() {
        let value = Value { string_value: Some("Kubernetes".to_owned()) };
        let request = CertificateRequest {
            csr: "CSR".to_owned(),
            validity_duration: 86_400,
            metadata: Some(Struct { fields: [("ClusterID".to_owned(), value)].into() }),
        };
        let mut wire = vec![0x0a, 3];
        wire.extend(b"CSR");
        wire.extend([0x18, 0x80, 0xa3, 0x05, 0x22, 27, 0x0a, 25, 0x0a, 9]);
        wire.extend(b"ClusterID");
        wire.extend([0x12, 12, 0x1a, 10]);
        wire.extend(b"Kubernetes");
        assert_eq!(request.encode_to_vec(), wire);
        assert_eq!(CertificateRequest::decode(wire.as_slice()), Ok(request));
        let response = CertificateResponse { cert_chain: vec!["A".to_owned(), "B".to_owned()] };
        assert_eq!(response.encode_to_vec(), b"\x0a\x01A\x0a\x01B");
    }
}
