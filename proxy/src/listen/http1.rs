//! The HTTP/1 loop of a connection: wait, read a head, check it, have the request answered, again.
//!
//! Between two requests the connection holds no buffer and no future but its timers. A head is read by us, within a
//! total time and a number of bytes, and only a head that passed [`head::check`](super::head::check) is shown to
//! Pingora. A panic while a request is answered ends its connection and nothing else.

use super::answer;
use super::connection::Port;
use super::framing::{Body, Message};
use super::head::{self, HeadEnd, Refusal};
use super::io::ConnIo;
use super::under_way::while_allowed;
use crate::generation::GenerationWatch;
use crate::telemetry::Outcome;
use futures::FutureExt;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp};
use pingora_core::protocols::http::ServerSession;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// How HTTP/2 by prior knowledge starts (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// First byte of a TLS record with a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a connection may still send a request when the port is going away.
const LAST_CHANCE: Duration = Duration::from_secs(1);
/// Bytes of the request line that the observer sees.
const REQUEST_LINE_SHOWN: usize = 256;

/// What the client said when it was its turn.
enum Next {
    Request {
        head_len: usize,
        body: Body,
    },
    Http2,
    Refused(Refusal),
    /// TLS where plain HTTP is spoken: no answer would be understood.
    ForeignTls,
    Left,
}

/// Serves requests until the connection ends. Gives the connection back when it turns out to speak HTTP/2.
pub(super) async fn run<A>(port: &Port<A>, mut io: Box<ConnIo>) -> Option<Box<ConnIo>>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut carried: Option<HttpPersistentSettings> = None;
    let mut first = true;
    let mut permissions = port.permissions.watch();
    loop {
        if !wait(port, &mut io).await {
            io.finish().await;
            return None;
        }
        match next(&mut io, first).await {
            Next::Request { head_len, body } => {
                head::align(io.head(head_len));
                io.begin(Message::new(head_len, body));
                let session = session(port, io, body, carried);
                (io, carried) = answer_one(port, &mut permissions, session).await?;
                first = false;
            }
            Next::Http2 => return Some(io),
            Next::Refused(refusal) => {
                refuse(port, io, refusal).await;
                return None;
            }
            Next::ForeignTls => {
                let refusal = Refusal::new(Outcome::BadRequest, "client sent TLS to a plain HTTP port");
                port.refused(io.info(), refusal, None);
                return None;
            }
            Next::Left => return None,
        }
    }
}

/// Waits for the next request; `false`: none will come, or none may.
///
/// A client can't know that the port is going away, so a request that it sends at that moment would be lost if the
/// connection closed at once. It is answered, with `Connection: close`.
async fn wait<A>(port: &Port<A>, io: &mut ConnIo) -> bool {
    let idle = io.info().limits.limits.idle_timeout;
    let spoken = tokio::select! {
        biased;
        () = port.going_away() => timeout(LAST_CHANCE, io.wait()).await,
        spoken = timeout(idle, io.wait()) => spoken,
    };
    matches!(spoken, Ok(Ok(true)))
}

/// Reads a whole head. The time starts with its first byte.
async fn next(io: &mut ConnIo, first: bool) -> Next {
    let limit = io.info().limits.limits.request_head_timeout;
    match timeout(limit, read_head(io, first)).await {
        Ok(next) => next,
        Err(_) if io.unread().is_empty() => Next::Left,
        Err(_) => Next::Refused(Refusal::new(Outcome::HeadTimeout, "the request head took too long")),
    }
}

async fn read_head(io: &mut ConnIo, first: bool) -> Next {
    let mut end = HeadEnd::default();
    let mut started = false;
    loop {
        if !io.unread().is_empty() {
            if !started {
                started = skip_empty_line(io);
            }
            if started && let Some(next) = judge(io, first, &mut end) {
                return next;
            }
        }
        match io.fill().await {
            Ok(0) | Err(_) => return Next::Left,
            Ok(_) => {}
        }
    }
}

/// RFC 9112 §2.2: one empty line before a request line is ignored. Whether the request line may have started.
fn skip_empty_line(io: &mut ConnIo) -> bool {
    match io.unread() {
        [b'\r'] => false,
        [b'\r', b'\n', ..] => {
            io.skip(2);
            !io.unread().is_empty()
        }
        _ => true,
    }
}

/// Decides what was received, as soon as it can be decided.
fn judge(io: &ConnIo, first: bool, end: &mut HeadEnd) -> Option<Next> {
    let limits = &io.info().limits.limits;
    let plain = io.info().tls.is_none();
    let bytes = io.unread();
    if first && plain {
        if bytes[0] == TLS_HANDSHAKE {
            return Some(Next::ForeignTls);
        }
        if bytes.starts_with(H2_PREFACE) {
            return Some(Next::Http2);
        }
        if H2_PREFACE.starts_with(bytes) {
            return None;
        }
    }
    let max = limits.request_head_bytes as usize;
    let too_large = Next::Refused(Refusal::new(Outcome::HeadTooLarge, "the request head is too large"));
    match end.find(bytes) {
        Err(refusal) => Some(Next::Refused(refusal)),
        Ok(Some(len)) if len > max => Some(too_large),
        Ok(None) if bytes.len() >= max => Some(too_large),
        Ok(None) => None,
        Ok(Some(head_len)) => Some(match head::check(&bytes[..head_len], limits.request_headers) {
            Ok(body) => Next::Request { head_len, body },
            Err(refusal) => Next::Refused(refusal),
        }),
    }
}

/// Has one request answered. The connection comes back when another request may follow.
async fn answer_one<A>(
    port: &Port<A>,
    permissions: &mut GenerationWatch,
    session: ServerSession,
) -> Option<(Box<ConnIo>, Option<HttpPersistentSettings>)>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let answering = while_allowed(permissions, port.app.process_new_http(session, &port.shutdown));
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    let Ok(reused) = answered else {
        port.observer.panicked(port.key);
        return None;
    };
    let (stream, carried) = reused.flatten()?.consume();
    let mut io = stream.into_any().downcast::<ConnIo>().ok()?;
    if !io.is_between_messages() {
        io.finish().await;
        return None;
    }
    io.begin(Message::none());
    Some((io, carried))
}

fn session<A>(
    port: &Port<A>,
    io: Box<ConnIo>,
    body: Body,
    carried: Option<HttpPersistentSettings>,
) -> ServerSession {
    let info = io.info().clone();
    let mut session = ServerSession::new_http1(io);
    if let Some(carried) = carried {
        carried.apply_to_session(&mut session);
    }
    // A body may not stall. Writing is watched by the connection itself; what follows an upgrade may be silent.
    let stall = info.limits.limits.stream_idle_timeout;
    session.set_read_timeout((body != Body::Upgrade).then_some(stall));
    session.set_total_drain_timeout(Some(stall));
    let idle = info.limits.limits.idle_timeout.as_secs().max(1);
    session.set_keepalive(if port.is_going_away() { None } else { Some(idle) });
    session
}

/// Answers a request that Pingora will never see, and closes.
async fn refuse<A>(port: &Port<A>, mut io: Box<ConnIo>, refusal: Refusal) {
    let shown = io.unread().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let shown = &shown[..shown.len().min(REQUEST_LINE_SHOWN)];
    port.refused(io.info(), refusal, Some(shown));
    // What follows belongs to no message: it is drained when the connection is dropped.
    io.begin(Message::Endless);
    if io.write_all(answer::render(refusal).as_bytes()).await.is_ok() {
        io.finish().await;
    }
}
