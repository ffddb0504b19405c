//! The race itself: who has started, who answers first.

use super::head::in_http1;
use super::{Heat, Runner};
use crate::upstream::TlsConnector;
use crate::upstream::tls::{Http2, in_http2};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::uri::Scheme;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::custom::client::Session as _;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{BError, Error, ErrorType, Result};
use pingora_http::RequestHeader;
use std::pin::pin;
use std::sync::Arc;

/// Connects for races, and keeps their connections.
pub(super) type Racers = Connector<TlsConnector>;

/// A session of Pingora's whose answer's head has come.
pub(super) struct Answered {
    pub(super) session: HttpSession<Http2>,
    pub(super) peer: HttpPeer,
}

/// What is sent.
pub(super) struct Request {
    pub(super) header: RequestHeader,
    /// `None`: there is no body.
    pub(super) body: Option<Bytes>,
}

/// Runs until a good answer comes or nobody runs any more. Dropping it ends every try.
pub(super) async fn run(racers: &Arc<Racers>, heat: &Heat, request: Request) -> Result<Answered> {
    let request = Arc::new(request);
    let start = |number: usize, peer: HttpPeer| {
        let (racers, request, again) = (racers.clone(), request.clone(), heat.is_idempotent);
        async move { (number, exchange(&racers, peer, &request, again).await) }
    };
    let mut running = FuturesUnordered::new();
    // The first one belongs to who asks; others by their number, from 1.
    let mut further: Vec<Option<Runner>> = Vec::new();
    running.push(start(0, heat.first.clone()));
    let mut delay = pin!(tokio::time::sleep(heat.course.delay()));
    let mut may_start = true;
    let mut second_best: Option<(usize, Answered)> = None;
    let mut error: Option<BError> = None;
    loop {
        tokio::select! {
            biased;
            ended = running.next() => {
                let Some((number, result)) = ended else { break };
                let mut runner = |number: usize| further.get_mut(number.checked_sub(1)?)?.take();
                match result {
                    Ok(answered) if heat.course.is_good(status(&answered)) => {
                        if let Some(runner) = runner(number) {
                            heat.course.won(runner);
                        }
                        return Ok(answered);
                    }
                    Ok(answered) if second_best.is_none() => second_best = Some((number, answered)),
                    Ok(answered) => {
                        if let Some(runner) = runner(number) {
                            heat.course.lost(&runner, Some(status(&answered)));
                        }
                    }
                    Err(failed) => {
                        if let Some(runner) = runner(number) {
                            heat.course.lost(&runner, None);
                        }
                        // What became of the first one decides whether the request may be sent once more.
                        if number == 0 || error.is_none() {
                            error = Some(failed);
                        }
                    }
                }
            }
            () = &mut delay, if may_start => match heat.course.further() {
                Some(runner) => {
                    running.push(start(further.len() + 1, (*runner.peer).clone()));
                    further.push(Some(runner));
                    delay.set(tokio::time::sleep(heat.course.delay()));
                }
                None => may_start = false,
            },
        }
        if running.is_empty() {
            break;
        }
    }
    let Some((number, answered)) = second_best else {
        return Err(error.unwrap_or_else(|| Error::explain(ErrorType::InternalError, "nobody ran")));
    };
    if let Some(runner) = number.checked_sub(1).and_then(|it| further.get_mut(it)?.take()) {
        heat.course.won(runner);
    }
    Ok(answered)
}

fn status(answered: &Answered) -> u16 {
    answered.session.response_header().map_or(0, |header| header.status.as_u16())
}

/// Sends the request and reads the head of its answer. A kept connection may have been closed by its peer: the request goes to
/// the next one then, if it may. Each round uses one up, so this ends.
async fn exchange(racers: &Racers, peer: HttpPeer, request: &Request, again: bool) -> Result<Answered> {
    loop {
        let (mut session, reused) = racers.get_http_session(&peer).await.map_err(|error| error.into_up())?;
        session.set_read_timeout(peer.options.read_timeout);
        session.set_write_timeout(peer.options.write_timeout);
        match send(&mut session, request).await {
            Ok(()) => return Ok(Answered { session, peer }),
            Err(error) if reused && again && was_ended(&error) => {}
            Err(error) => return Err(error.into_up()),
        }
    }
}

fn was_ended(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error
    )
}

async fn send(session: &mut HttpSession<Http2>, request: &Request) -> Result<()> {
    let (header, body) = (request.header.clone(), request.body.clone());
    match session {
        HttpSession::H1(http1) => {
            http1.write_request_header(in_http1(header)?).await?;
            if let Some(body) = body.filter(|body| !body.is_empty()) {
                http1.write_body(&body).await?;
            }
            http1.finish_body().await?;
        }
        HttpSession::H2(http2) => {
            http2.write_request_header(in_http2(header, Scheme::HTTP)?, body.is_none())?;
            if let Some(body) = body {
                http2.write_request_body(body, true).await?;
            }
        }
        // Brings the head to its form itself.
        HttpSession::Custom(http2) => {
            http2.write_request_header(Box::new(header), body.is_none()).await?;
            if let Some(body) = body {
                http2.write_request_body(body, true).await?;
            }
        }
    }
    loop {
        session.read_response_header().await?;
        match session.response_header().map(|header| header.status.as_u16()) {
            Some(101) | None => {
                return Error::e_explain(
                    ErrorType::InvalidHTTPHeader,
                    "101 without a request for an upgrade",
                );
            }
            Some(100..=199) => {}
            Some(_) => return Ok(()),
        }
    }
}
