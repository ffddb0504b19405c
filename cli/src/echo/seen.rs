//! The JSON that tells a client which request reached the echo.

use super::TlsSeen;
use super::body::BoxError;
use base64::Engine as _;
use bytes::BytesMut;
use http::{HeaderMap, Version, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use std::net::SocketAddr;

/// How much of a body is shown; all of it is read and counted.
const SHOWN_BODY_BYTES: usize = 64 * 1024;

/// What reached the echo.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    backend: String,
    method: String,
    host: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    protocol: &'static str,
    peer: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsSeen>,
    /// Pairs of name and value, in the order of arrival within a name.
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trailers: Vec<(String, String)>,
    body_bytes: u64,
    /// The first 64 KiB, when they are UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The first 64 KiB otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Seen {
    /// The head only.
    pub(super) fn head(backend: &str, parts: &Parts, peer: SocketAddr) -> Self {
        let host = parts.headers.get(http::header::HOST).map(|host| text(host.as_bytes()));
        Self {
            backend: backend.to_owned(),
            method: parts.method.to_string(),
            host: host.or_else(|| parts.uri.authority().map(ToString::to_string)).unwrap_or_default(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            protocol: protocol(parts.version),
            peer,
            tls: parts.extensions.get::<TlsSeen>().cloned(),
            headers: pairs(&parts.headers),
            trailers: Vec::new(),
            body_bytes: 0,
            body: None,
            body_base64: None,
        }
    }

    /// Reads the whole body into the report.
    pub(super) async fn read_body(&mut self, mut body: Incoming) -> Result<(), BoxError> {
        let mut shown = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            if let Some(data) = frame.data_ref() {
                self.body_bytes += data.len() as u64;
                let room = SHOWN_BODY_BYTES.saturating_sub(shown.len()).min(data.len());
                shown.extend_from_slice(data.get(..room).unwrap_or_default());
            }
            if let Some(trailers) = frame.trailers_ref() {
                self.trailers = pairs(trailers);
            }
        }
        if shown.is_empty() {
            return Ok(());
        }
        match std::str::from_utf8(&shown) {
            Ok(text) => self.body = Some(text.to_owned()),
            Err(_) => self.body_base64 = Some(base64::engine::general_purpose::STANDARD.encode(&shown)),
        }
        Ok(())
    }

    /// Readable JSON that ends with a line break.
    pub(super) fn to_json(&self) -> Result<String, BoxError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Name and value of each field; bytes that are not UTF-8 are replaced.
pub(super) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_10 => "HTTP/1.0",
        // hyper's server hands out the three above only.
        _ => "HTTP",
    }
}
