//! One copy: connect, send, read the answer away, keep the connection.

use super::MirrorLimits;
use super::body::CopyBody;
use super::request::{MirrorRequest, Unfit, build};
use crate::upstream::connections::{ConnectError, Connections, Peer};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sluice_ir::BackendProtocol;

/// Why a copy did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("exchange: {0}")]
    Exchange(#[from] hyper::Error),
}

/// Sends the copy and waits for the end of its answer, or of as much of it as the limits allow. Dropping the future
/// closes the connection, or resets the stream.
pub(super) async fn run(
    connections: &Connections<CopyBody>,
    limits: &MirrorLimits,
    request: MirrorRequest,
    body: CopyBody,
) -> Result<(), CopyError> {
    let protocol = request.protocol;
    let peer = Peer { address: request.address, tls: request.tls.clone() };
    let request = build(request, body)?;
    match protocol {
        BackendProtocol::H2c => over_http2(connections, limits, &peer, request).await,
        // What speaks no HTTP has no request that could be built.
        BackendProtocol::Http1 | BackendProtocol::Tcp | BackendProtocol::Udp => {
            over_http1(connections, limits, &peer, request).await
        }
    }
}

async fn over_http1(
    connections: &Connections<CopyBody>,
    limits: &MirrorLimits,
    peer: &Peer,
    mut request: Request<CopyBody>,
) -> Result<(), CopyError> {
    // A kept connection may be closed by its peer at any time. A request that did not get out goes to the next one;
    // each round uses one up, so this ends.
    while let Some(mut connection) = connections.take_idle(peer) {
        match connection.sender.try_send_request(request).await {
            Ok(response) => {
                if drained(response, limits.response_bytes).await? && connection.sender.ready().await.is_ok()
                {
                    connections.keep(peer, connection);
                }
                return Ok(());
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(error.into_error().into()),
            },
        }
    }
    let mut connection = connections.connect_http1(peer).await?;
    let response = connection.sender.send_request(request).await?;
    if drained(response, limits.response_bytes).await? && connection.sender.ready().await.is_ok() {
        connections.keep(peer, connection);
    }
    Ok(())
}

async fn over_http2(
    connections: &Connections<CopyBody>,
    limits: &MirrorLimits,
    peer: &Peer,
    request: Request<CopyBody>,
) -> Result<(), CopyError> {
    let connection = connections.http2(peer).await?;
    let response = connection.sender.clone().send_request(request).await?;
    drained(response, limits.response_bytes).await?;
    Ok(())
}

/// Whether the body ended within the limit.
async fn drained(response: Response<Incoming>, limit_bytes: usize) -> Result<bool, hyper::Error> {
    let mut body = response.into_body();
    let mut left_bytes = limit_bytes;
    while let Some(frame) = body.frame().await {
        let len = frame?.data_ref().map_or(0, bytes::Bytes::len);
        match left_bytes.checked_sub(len) {
            Some(left) => left_bytes = left,
            None => return Ok(false),
        }
    }
    Ok(true)
}
