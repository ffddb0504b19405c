//! WebSocket: every text and binary message comes back (RFC 6455).

use super::body::{Body, empty, full};
use super::seen::Seen;
use super::service::Echo;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Whether the client asks for a WebSocket.
pub(super) fn is_upgrade(request: &Request<Incoming>) -> bool {
    has_token(request.headers(), &UPGRADE, "websocket")
        && has_token(request.headers(), &CONNECTION, "upgrade")
}

/// Accepts, and echoes messages in a task of its own. With `?greet` the first message is the JSON of what was seen.
pub(super) fn answer(echo: &Arc<Echo>, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let Some(key) = parts.headers.get(SEC_WEBSOCKET_KEY) else {
        let mut response = Response::new(full("sec-websocket-key is missing\n"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    // The first protocol that the client offers is as good as any.
    let offered = parts.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    let first = offered.and_then(|offered| offered.split(',').next());
    if let Some(first) = first.and_then(|first| HeaderValue::from_str(first.trim()).ok()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, first);
    }
    let greets = parts.uri.query().is_some_and(|query| query.split('&').any(|part| part == "greet"));
    let greeting = greets.then(|| Seen::head(&echo.name, &parts, peer).to_json().ok()).flatten();
    echo.tasks.spawn(converse(echo.clone(), upgrade, greeting));
    response
}

async fn converse(echo: Arc<Echo>, upgrade: OnUpgrade, greeting: Option<String>) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    if let Some(greeting) = greeting
        && socket.send(Message::Text(greeting.into())).await.is_err()
    {
        return;
    }
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = echo.stop.cancelled() => {
                let away = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::from_static("the echo ends") };
                // The client may be gone already.
                let _ = socket.close(Some(away)).await;
                return;
            }
        };
        let sent = match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => socket.send(message).await,
            // Pings and closes are answered by the library while reading.
            Some(Ok(_)) => socket.flush().await,
            Some(Err(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
