//! The question of the gRPC health service (`grpc.health.v1.Health/Check`), and its answer.

use super::ask::{Failure, MOST_BYTES, MOST_HEAD_BYTES};
use bytes::{Buf, Bytes};
use http::{Method, Request, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// Where it is asked.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
/// gRPC's word for "takes requests" (`grpc.health.v1.HealthCheckResponse.ServingStatus`).
const SERVING: i32 = 1;

/// Asks on a connection, in the clear, whether a service takes requests; empty: the server as a whole. Bounds no time:
/// the caller does.
///
/// # Errors
/// When it does not, or says nothing; the text tells why.
pub async fn grpc_health<S>(stream: S, authority: &str, service: &str) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = async {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(MOST_HEAD_BYTES);
        let (mut sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{authority}{PATH}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::new(framed(&HealthRequest { service: service.to_owned() })))
            .map_err(|error| Failure::NoAnswer(error.to_string()))?;
        serving(sender.send_request(request).await?).await
    };
    asked.await.map_err(|failure: Failure| failure.to_string())
}

/// Whether the answer of a gRPC health service says that it takes requests.
pub(super) async fn serving(response: http::Response<Incoming>) -> Result<(), Failure> {
    if response.status() != http::StatusCode::OK {
        return Err(Failure::Status(response.status().as_u16()));
    }
    // An error without a message has its status in the head.
    grpc_status(response.headers())?;
    let mut body = response.into_body();
    let mut answer = Vec::new();
    let mut is_over = false;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            if answer.len() + data.len() > MOST_BYTES {
                return Err(Failure::NoHealth("it is too long"));
            }
            answer.extend_from_slice(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            is_over = trailers.contains_key(GRPC_STATUS);
            grpc_status(trailers)?;
        }
    }
    if !is_over {
        return Err(Failure::NoHealth("it ends without a status"));
    }
    match unframed(&answer)?.status {
        SERVING => Ok(()),
        0 => Err(Failure::NotServing("UNKNOWN")),
        2 => Err(Failure::NotServing("NOT_SERVING")),
        3 => Err(Failure::NotServing("SERVICE_UNKNOWN")),
        _ => Err(Failure::NotServing("a status that is not known")),
    }
}

const GRPC_STATUS: &str = "grpc-status";

/// An error where there is a status other than 0.
fn grpc_status(fields: &http::HeaderMap) -> Result<(), Failure> {
    match fields.get(GRPC_STATUS) {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => Err(Failure::GrpcStatus(String::from_utf8_lossy(status.as_bytes()).into_owned())),
    }
}

/// One message as gRPC has them: not compressed, its length, itself.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    // A service's name is short.
    framed.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&bytes);
    framed.into()
}

fn unframed(mut bytes: &[u8]) -> Result<HealthResponse, Failure> {
    let wrong = || Failure::NoHealth("it is no single message");
    if bytes.len() < 5 || bytes.get_u8() != 0 {
        return Err(wrong());
    }
    let len = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
    if bytes.len() != len {
        return Err(wrong());
    }
    HealthResponse::decode(bytes).map_err(|_| wrong())
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{HealthResponse, framed, unframed};

    #[test]
    fn a_message_is_framed_and_found_again() {
        let bytes = framed(&HealthResponse { status: 1 });
        assert_eq!(&bytes[..], [0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(unframed(&bytes).unwrap().status, 1);
        assert_eq!(unframed(&[0, 0, 0, 0, 0]).unwrap().status, 0);
        for bad in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 8, 1], &[0, 0, 0, 0, 1, 255]] {
            assert!(unframed(bad).is_err(), "{bad:?}");
        }
    }
}
