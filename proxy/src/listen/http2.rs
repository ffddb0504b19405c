//! The HTTP/2 loop of a connection: accept streams, answer each on its own task, end in order.
//!
//! The limits come from the port's configuration and are set when the connection is made. A client that resets
//! streams too fast, or sends too many malformed ones, is told ENHANCE_YOUR_CALM and closed. A panic while a stream
//! is answered resets that stream and nothing else.

use super::ConnInfo;
use super::connection::Port;
use super::head::Refusal;
use super::io::ConnIo;
use super::resets::{ResetFlood, ResetMeter};
use super::under_way::while_allowed;
use crate::generation::{Generation, GenerationWatch};
use crate::telemetry::Outcome;
use bytes::Bytes;
use h2::Reason;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora_core::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl, Stream};
use pingora_http::ResponseHeader;
use sluice_ir::Limits;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Bytes that a client may send on one stream, and on all together, before the application reads them.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one stream's response that wait for the client.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that we reset because of the client's errors, over the life of the connection ("MadeYouReset").
const LOCAL_RESETS_MAX: usize = 1024;
/// Malformed requests over the life of the connection.
const MALFORMED_MAX: u32 = 32;
/// Time for the client to take our GOAWAY when nothing is in flight.
const GOODBYE: Duration = Duration::from_secs(2);

const RESET_FLOOD: &str = "too many stream resets";

type Connection = h2::server::Connection<Stream, Bytes>;

/// Why the loop stops accepting.
enum End {
    /// The client closed, or the connection broke.
    Closed,
    /// The port is going away, or nothing happened for too long: finish what is in flight.
    Finish,
    /// The client misbehaves.
    Calm(&'static str),
}

/// Serves streams until the connection ends.
pub(super) async fn run<A>(port: Arc<Port<A>>, mut io: Box<ConnIo>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let info = io.info().clone();
    let limits = &info.limits.limits;
    let (meter, flood) = ResetMeter::new(limits.resets_per_second);
    io.begin_http2(meter);
    let digest = Arc::new(Digest {
        ssl_digest: io.get_ssl_digest(),
        timing_digest: io.get_timing_digest(),
        proxy_digest: io.get_proxy_digest(),
        socket_digest: io.get_socket_digest(),
    });
    let handshake = server::handshake(io, Some(options(limits)));
    let Ok(Ok(connection)) = timeout(limits.request_head_timeout, handshake).await else { return };
    let permissions = port.permissions.watch();
    let (of_streams, running) = (Arc::default(), JoinSet::new());
    let mut streams = Streams { port, info, digest, flood, malformed: 0, permissions, of_streams, running };
    streams.serve(connection).await;
    // The connection is gone; what still runs sees that and ends by itself.
    streams.running.detach_all();
}

fn options(limits: &Limits) -> H2Options {
    let mut options = server::default_h2_options();
    options
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.request_head_bytes)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        // Ours is lower, so that it is the one that is observed.
        .max_pending_accept_reset_streams(limits.resets_per_second as usize * 2 + 16);
    options
}

struct Streams<A> {
    port: Arc<Port<A>>,
    info: Arc<ConnInfo>,
    digest: Arc<Digest>,
    flood: ResetFlood,
    malformed: u32,
    permissions: GenerationWatch,
    /// Passes on what `permissions` tells: what streams lock when they begin and end is their connection's alone.
    of_streams: Arc<Generation>,
    running: JoinSet<()>,
}

impl<A> Streams<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn serve(&mut self, mut connection: Connection) {
        let end = self.accept(&mut connection).await;
        match end {
            End::Closed => {}
            End::Finish => {
                connection.graceful_shutdown();
                if let End::Calm(reason) = self.finish(&mut connection).await {
                    self.calm(connection, reason).await;
                }
            }
            End::Calm(reason) => self.calm(connection, reason).await,
        }
    }

    /// Accepts streams until something ends that.
    async fn accept(&mut self, connection: &mut Connection) -> End {
        let port = self.port.clone();
        let mut going = pin!(port.going_away());
        let idle = self.info.limits.limits.idle_timeout;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut going => return End::Finish,
                accepted = HttpSession::from_h2_conn(connection, self.digest.clone()) => accepted,
                () = raised(&self.flood) => return End::Calm(RESET_FLOOD),
                () = self.permissions.changed() => {
                    self.of_streams.advance();
                    continue;
                }
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    self.note(done);
                    continue;
                }
                () = sleep(idle), if self.running.is_empty() => return End::Finish,
            };
            if let Some(end) = self.dispatch(accepted) {
                return end;
            }
        }
    }

    /// After GOAWAY: accepts what the client had sent before it knew, until all is answered.
    async fn finish(&mut self, connection: &mut Connection) -> End {
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = HttpSession::from_h2_conn(connection, self.digest.clone()) => accepted,
                () = raised(&self.flood) => return End::Calm(RESET_FLOOD),
                () = self.permissions.changed() => {
                    self.of_streams.advance();
                    continue;
                }
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    self.note(done);
                    continue;
                }
                // A client that never confirms the GOAWAY is not waited for.
                () = sleep(GOODBYE), if self.running.is_empty() => return End::Closed,
            };
            if let Some(end) = self.dispatch(accepted) {
                return end;
            }
        }
    }

    fn dispatch(&mut self, accepted: pingora_error::Result<Option<H2Accept>>) -> Option<End> {
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                self.start(session);
                None
            }
            Ok(Some(H2Accept::Rejected)) => {
                let refusal = Refusal::new(Outcome::BadRequest, "malformed HTTP/2 request");
                self.port.refused(&self.info, refusal, Some(&[]));
                self.malformed += 1;
                (self.malformed >= MALFORMED_MAX).then_some(End::Calm("too many malformed requests"))
            }
            Err(_) if self.flood.is_raised() => Some(End::Calm(RESET_FLOOD)),
            Ok(None) | Err(_) => Some(End::Closed),
        }
    }

    fn start(&mut self, mut session: HttpSession) {
        if session.req_header().headers.len() > self.info.limits.limits.request_headers as usize {
            self.refuse(&mut session, Refusal::new(Outcome::HeadTooLarge, "too many header fields"));
            return;
        }
        let (port, info, mut permissions) = (self.port.clone(), self.info.clone(), self.of_streams.watch());
        self.running.spawn(async move {
            let mut session = ServerSession::new_http2(session);
            // Without window from the client a response would wait for ever.
            session.set_write_timeout(Some(info.limits.limits.stream_idle_timeout));
            session.set_total_drain_timeout(Some(info.limits.limits.stream_idle_timeout));
            while_allowed(&mut permissions, port.app.process_new_http(session, &port.shutdown)).await;
        });
    }

    fn refuse(&self, session: &mut HttpSession, refusal: Refusal) {
        let line = format!("{} {}", session.req_header().method, session.req_header().uri);
        let shown = line.as_bytes();
        self.port.refused(&self.info, refusal, Some(&shown[..shown.len().min(256)]));
        let status = refusal.outcome.status().unwrap_or(400);
        if let Ok(answer) = ResponseHeader::build_no_case(status, Some(0)) {
            // An error means that the stream is gone already.
            let _ = session.write_response_header(Box::new(answer), true);
        }
    }

    fn note(&self, done: Result<(), tokio::task::JoinError>) {
        if done.is_err_and(|error| error.is_panic()) {
            self.port.observer.panicked(self.port.key);
        }
    }

    /// Closes with ENHANCE_YOUR_CALM (RFC 9113 §7).
    async fn calm(&self, mut connection: Connection, reason: &'static str) {
        self.port.refused(&self.info, Refusal::new(Outcome::BadRequest, reason), None);
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        // The bound is for a client that does not read; an error means that it is gone.
        let _ = timeout(GOODBYE, poll_fn(|cx| connection.poll_closed(cx))).await;
    }
}

/// Ready once the flag is up. It is raised while the connection is polled, just before this is: no waker is needed.
async fn raised(flood: &ResetFlood) {
    poll_fn(|_| if flood.is_raised() { Poll::Ready(()) } else { Poll::Pending }).await;
}
