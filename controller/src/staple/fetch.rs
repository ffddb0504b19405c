//! One exchange with a responder (RFC 6960 appendix A): a POST over HTTP/1.1, bounded in time and size. A redirect is an
//! answer like any other that is not 200: not followed.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest response. Usual ones are below 2 KiB.
const MOST_BYTES: usize = 64 * 1024;
/// Time for everything.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the responder answers.
pub(super) async fn post(responder: &str, request: Vec<u8>) -> Result<Bytes> {
    tokio::time::timeout(TIMEOUT, exchange(responder, request)).await.context("no answer within 10 s")?
}

async fn exchange(responder: &str, body: Vec<u8>) -> Result<Bytes> {
    let uri: Uri = responder.parse().with_context(|| format!("{responder:?} is no URL"))?;
    // Responses are signed: responders speak HTTP, and TLS would ask for another certificate to be checked.
    if uri.scheme_str() != Some("http") {
        bail!("{responder:?} is no http URL");
    }
    let authority = uri.authority().context("the URL names no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let request = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/ocsp-request")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))?;
    let answered = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            bail!("it answers {}", response.status());
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| anyhow::anyhow!("{error}"))
    };
    tokio::pin!(answered);
    tokio::select! {
        answered = &mut answered => answered,
        ended = connection => {
            ended?;
            answered.await
        }
    }
}
