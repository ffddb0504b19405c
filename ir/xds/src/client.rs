//! The client's side: calls over one HTTP/2 connection that the caller has opened, with a bearer token.

use crate::{DELTA_PATH, DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// An open connection: takes HTTP requests and gives their responses.
pub trait GrpcService:
    tonic::client::GrpcService<
        Body,
        Error: Into<BoxError>,
        ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError> + Send> + Send + 'static,
    >
{
}

impl<T> GrpcService for T where
    T: tonic::client::GrpcService<
            Body,
            Error: Into<BoxError>,
            ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError> + Send> + Send + 'static,
        >
{
}

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens a discovery stream.
///
/// # Errors
/// What the server answers, or that it does not.
pub async fn delta<T: GrpcService>(
    service: T,
    token: &str,
    requests: impl Stream<Item = DeltaDiscoveryRequest> + Send + 'static,
    most_bytes: usize,
) -> Result<Streaming<DeltaDiscoveryResponse>, Status> {
    let request = authorized(Request::new(requests), token)?;
    let mut grpc = grpc(service, most_bytes);
    ready(&mut grpc).await?;
    let path = http::uri::PathAndQuery::from_static(DELTA_PATH);
    let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
    grpc.streaming(request, path, codec).await.map(Response::into_inner)
}

pub(crate) fn grpc<T: GrpcService>(service: T, most_bytes: usize) -> Grpc<T> {
    Grpc::new(service).max_decoding_message_size(most_bytes)
}

pub(crate) async fn ready<T: GrpcService>(grpc: &mut Grpc<T>) -> Result<(), Status> {
    grpc.ready().await.map_err(|error| Status::unavailable(error.into().to_string()))
}

/// The request with its token, which is kept out of any trace.
pub(crate) fn authorized<T>(mut request: Request<T>, token: &str) -> Result<Request<T>, Status> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Status::unauthenticated("the token can't be sent: it holds characters no token has"))?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}
