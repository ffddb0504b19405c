//! Fetches a token as an authority does for HTTP-01.

use super::{Seen, TIMEOUT, is_no_way};
use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Largest body that is read.
const MAX_LEN_BYTES: usize = 64 * 1024;

/// Whether the gateway at this address answers the token with these bytes.
pub(super) async fn look(at: SocketAddr, host: &str, token: &str, expected: &[u8]) -> Result<Seen, String> {
    let url = format!("http://{host}/.well-known/acme-challenge/{token}");
    let fault = |what: String| format!("HTTP: {host} at {at} {what}; does the name lead to this gateway?");
    let stream = match tokio::time::timeout(TIMEOUT, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_no_way(&error) => return Ok(Seen::NoWay),
        Ok(Err(error)) => return Err(fault(format!("can't be reached: {error}"))),
        Err(_) => return Err(fault(format!("does not accept within {} s", TIMEOUT.as_secs()))),
    };
    let answer = tokio::time::timeout(TIMEOUT, fetch(stream, host, token)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("does not answer within {} s", TIMEOUT.as_secs())));
    let answer = answer.map_err(fault)?;
    // Authorities follow redirections. Where they lead is not followed here: what it proves is not this gateway's.
    if answer.status().is_redirection() {
        let to = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
        tracing::debug!(host, to, "the probe is redirected; the authority will follow");
        return Ok(Seen::NoWay);
    }
    if !answer.status().is_success() {
        return Err(fault(format!("answers {url} with {}", answer.status())));
    }
    if answer.body().trim_ascii() != expected {
        return Err(fault(format!("answers {url} with something else than this gateway would")));
    }
    Ok(Seen::Ours)
}

async fn fetch(stream: TcpStream, host: &str, token: &str) -> Result<Response<Bytes>, String> {
    let failed = |error: hyper::Error| format!("does not speak HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(format!("/.well-known/acme-challenge/{token}"))
        .header(HOST, host)
        .header(USER_AGENT, crate::client::fetch::USER_AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, MAX_LEN_BYTES)
            .collect()
            .await
            .map_err(|error| format!("breaks off: {error}"))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    // The connection is driven here, and is over when this future is.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = connection => Err("closes the connection".to_owned()),
    }
}
