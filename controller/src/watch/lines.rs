//! The answer to a watch request: one JSON event a line.

use super::failure::Failure;
use futures::io::{AsyncBufRead, AsyncBufReadExt as _};
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use std::pin::Pin;
use std::time::Duration;

/// Longest silence of a watch: bookmarks come about once a minute, so that a connection that says nothing for two is
/// taken for dead.
const LONGEST_SILENCE: Duration = Duration::from_secs(130);
/// Longest line that is taken: an object of etcd's largest size with room to spare. A longer one ends the watch.
const LONGEST_LINE: usize = 16 << 20;
/// A line buffer above this is given back after use.
const KEPT_BUFFER: usize = 64 << 10;

/// One event.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub(crate) word: String,
    /// The object, or a `Status`.
    pub(crate) object: Value,
}

/// Events of one watch request.
pub(crate) struct Lines {
    stream: Pin<Box<dyn AsyncBufRead + Send>>,
    buffer: Vec<u8>,
}

impl Lines {
    /// Sends the request; the answer must begin within `patience`.
    pub(crate) async fn open(
        client: &Client,
        request: http::Request<Vec<u8>>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let stream = tokio::time::timeout(patience, client.request_stream(request)).await;
        let stream = stream.map_err(|_| Failure::Silent)??;
        Ok(Self { stream: Box::pin(stream), buffer: Vec::new() })
    }

    /// The next event; `None` when the server ended the watch. An event that is no JSON is an error, and the next
    /// call goes on behind it.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        let mut bounded = futures::io::AsyncReadExt::take(&mut self.stream, LONGEST_LINE as u64);
        let read = bounded.read_until(b'\n', &mut self.buffer);
        let count = tokio::time::timeout(LONGEST_SILENCE, read).await.map_err(|_| Failure::Silent)?;
        let count = count.map_err(|error| Failure::Disconnected(error.to_string()))?;
        if count == 0 {
            return Ok(None);
        }
        if !self.buffer.ends_with(b"\n") {
            // The connection ended within a line, or the line is too long: go on from the last event that was whole.
            return Err(Failure::Disconnected("the watch ended within an event".to_owned()));
        }
        serde_json::from_slice(&self.buffer).map(Some).map_err(|error| Failure::NotJson(error.to_string()))
    }
}
