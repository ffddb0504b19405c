//! An HTTP/2 connection that behaves.

use super::{Answer, Ask, Io};
use crate::wait::soon;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request};
use tokio::task::JoinHandle;

/// A connection. Its streams may run at the same time: clone it.
#[derive(Clone)]
pub struct H2 {
    sender: SendRequest<Bytes>,
}

impl H2 {
    /// Shakes hands over a stream. The task ends with the connection.
    pub async fn over(io: Box<dyn Io>) -> (Self, JoinHandle<Result<(), h2::Error>>) {
        let mut builder = client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
        let (sender, connection) =
            soon("HTTP/2 handshake", builder.handshake(io)).await.expect("HTTP/2 handshake");
        (Self { sender }, tokio::spawn(connection))
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        self.try_ask(ask).await.unwrap_or_else(|error| panic!("{} {}: {error}", ask.method, ask.target))
    }

    /// Sends a request and reads its answer, or says how the stream ended.
    pub async fn try_ask(&self, ask: &Ask) -> Result<Answer, h2::Error> {
        soon("an answer over HTTP/2", async {
            let mut sender = self.sender.clone().ready().await?;
            let (response, mut body) = sender.send_request(request(ask), ask.body.is_empty())?;
            if !ask.body.is_empty() {
                body.send_data(ask.body.clone(), true)?;
            }
            collect(response.await?).await
        })
        .await
    }

    /// The sender, for a test that does more than ask.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }
}

/// The request with an absolute target.
pub fn request(ask: &Ask) -> Request<()> {
    let scheme = if ask.tls { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", ask.authority, ask.target);
    let mut request = Request::builder().method(ask.method.as_str()).uri(uri);
    for (name, value) in &ask.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    request.body(()).expect("a valid request")
}

/// Reads an answer to its end.
pub async fn collect(response: http::Response<h2::RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: pairs(&head.headers),
        body: body.into(),
        trailers: pairs(&trailers),
        ..Answer::default()
    })
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}
