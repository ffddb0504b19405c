//! Requests of our own whose answer matters: sent whole, their answers read whole within a bound.
//!
//! In: a peer and a request. Out: the answer. Which endpoint, how often and for how long is the caller's: dropping the
//! future closes the connection, or resets the stream.

use super::connections::{ConnectError, Connections, KeepLimits, Peer};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use sluice_ir::BackendProtocol;
use std::sync::Arc;
use std::time::Duration;

/// A connection that waits for the next call.
const KEEP: KeepLimits = KeepLimits {
    connect_timeout: Duration::from_secs(2),
    idle_connections: 64,
    idle_timeout: Duration::from_secs(60),
};

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `None`: it was larger than allowed, and was not read to its end.
    pub(crate) body: Option<Bytes>,
    pub(crate) trailers: HeaderMap,
}

/// No whole answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came is no HTTP.
    #[error("exchange: {0}")]
    Exchange(#[from] hyper::Error),
}

/// Makes calls. A clone shares the connections.
#[derive(Clone, Debug)]
pub struct Calls {
    connections: Arc<Connections<Full<Bytes>>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { connections: Connections::new(KEEP) }
    }
}

impl Calls {
    /// Sends a request once. `most_bytes` bounds the answer's body.
    pub(crate) async fn send(
        &self,
        peer: &Peer,
        protocol: BackendProtocol,
        request: Request<Full<Bytes>>,
        most_bytes: usize,
    ) -> Result<Answer, CallError> {
        match protocol {
            BackendProtocol::H2c => self.over_http2(peer, request, most_bytes).await,
            // Nobody builds a request for what speaks no HTTP.
            BackendProtocol::Http1 | BackendProtocol::Tcp | BackendProtocol::Udp => {
                self.over_http1(peer, request, most_bytes).await
            }
        }
    }

    async fn over_http1(
        &self,
        peer: &Peer,
        mut request: Request<Full<Bytes>>,
        most_bytes: usize,
    ) -> Result<Answer, CallError> {
        // A kept connection may be closed by its peer at any time. A request that did not get out goes to the next
        // one; each round uses one up, so this ends.
        while let Some(mut connection) = self.connections.take_idle(peer) {
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    let answer = read(response, most_bytes).await?;
                    if answer.body.is_some() && connection.sender.ready().await.is_ok() {
                        self.connections.keep(peer, connection);
                    }
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut connection = self.connections.connect_http1(peer).await?;
        let answer = read(connection.sender.send_request(request).await?, most_bytes).await?;
        if answer.body.is_some() && connection.sender.ready().await.is_ok() {
            self.connections.keep(peer, connection);
        }
        Ok(answer)
    }

    async fn over_http2(
        &self,
        peer: &Peer,
        request: Request<Full<Bytes>>,
        most_bytes: usize,
    ) -> Result<Answer, CallError> {
        let connection = self.connections.http2(peer).await?;
        let request = match connection.sender.clone().try_send_request(request).await {
            Ok(response) => return read(response, most_bytes).await,
            // The connection ended just when it was taken: the request goes to a new one, once.
            Err(mut error) => match error.take_message() {
                Some(unsent) => unsent,
                None => return Err(error.into_error().into()),
            },
        };
        let connection = self.connections.http2(peer).await?;
        read(connection.sender.clone().send_request(request).await?, most_bytes).await
    }
}

async fn read(response: Response<Incoming>, most_bytes: usize) -> Result<Answer, CallError> {
    let (head, mut body) = response.into_parts();
    let mut answer =
        Answer { status: head.status, headers: head.headers, body: None, trailers: HeaderMap::new() };
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if bytes.len().saturating_add(data.len()) > most_bytes => return Ok(answer),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => answer.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    answer.body = Some(bytes.freeze());
    Ok(answer)
}
