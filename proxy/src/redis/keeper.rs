//! Keeps a connection to a server: makes it, serves calls by it, makes it again.
//!
//! This is the breaker, too. While there is no connection, calls fail at once; that there is one again is proved by a
//! login that ran the script. Pauses between two tries double from 50 ms to 5 s and begin anew only after a connection
//! that lasted, so that a server that takes connections and gives no answers costs ever fewer requests their time.

use super::login::Login;
use super::pump::{Call, Ended, pump};
use super::{DOWN, Link, STARTING, UP};
use crate::upstream::{Resolver, random_below};
use sluice_ir as ir;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Pauses between two tries.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
/// A connection that lasted so long has been of use.
const OF_USE: Duration = Duration::from_secs(1);
/// The same failure is told again after so long.
const SAID_AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Keeper {
    login: Login,
    link: Arc<Link>,
    queue: mpsc::Receiver<Call>,
    tries: u32,
    said: Option<Instant>,
    /// Whether a failure was told since it was well.
    is_ill: bool,
}

impl Keeper {
    /// `None`: the server can't be spoken to, which is told.
    pub(super) fn new(
        server: &ir::RateServer,
        resolver: Resolver,
        link: Arc<Link>,
        queue: mpsc::Receiver<Call>,
    ) -> Option<Self> {
        let login = match (&server.fail, Login::new(server, resolver)) {
            (None, Ok(login)) => login,
            (Some(reason), _) => {
                tracing::error!(server = link.name, reason, "global rate limits: the server can't be used");
                return None;
            }
            (None, Err(error)) => {
                tracing::error!(server = link.name, %error, "global rate limits: the server can't be used");
                return None;
            }
        };
        Some(Self { login, link, queue, tries: 0, said: None, is_ill: false })
    }

    /// Until nobody can call any more.
    pub(super) async fn run(mut self) {
        loop {
            match self.login.connect().await {
                Ok(stream) => {
                    self.well();
                    let began = Instant::now();
                    let ended = pump(stream, &mut self.queue, &self.link.end).await;
                    if matches!(ended, Ended::Unused) {
                        return;
                    }
                    let was_of_use = began.elapsed() >= OF_USE;
                    if was_of_use {
                        self.tries = 0;
                    }
                    let is_no_failure = was_of_use && matches!(ended, Ended::Closed);
                    if is_no_failure {
                        // Servers close what is idle: calls wait for the next connection.
                        self.link.state.store(STARTING, Relaxed);
                        continue;
                    }
                    self.ill(&ended);
                }
                Err(error) => self.say(&error),
            }
            self.link.state.store(DOWN, Relaxed);
            self.refuse_waiting();
            tokio::time::sleep(self.pause()).await;
            self.refuse_waiting();
            if self.queue.is_closed() {
                return;
            }
        }
    }

    fn well(&mut self) {
        if self.is_ill || self.said.is_none() {
            tracing::info!(server = self.link.name, "global rate limits: the server counts");
        }
        self.is_ill = false;
        self.said = Some(Instant::now());
        self.link.failures.store(0, Relaxed);
        self.link.state.store(UP, Relaxed);
    }

    fn ill(&mut self, ended: &Ended) {
        let error = self.link.error.lock().take();
        match (ended, error) {
            (Ended::GivenUp, Some(error)) => self.say(&format_args!("{ended}: {error}")),
            _ => self.say(ended),
        }
    }

    /// The first failure after it was well, and then one a minute.
    fn say(&mut self, reason: &dyn fmt::Display) {
        let is_new = !self.is_ill || self.said.is_none_or(|it| it.elapsed() >= SAID_AGAIN);
        if is_new {
            tracing::warn!(
                server = self.link.name,
                %reason,
                "global rate limits: the server does not count; requests meet onFailure"
            );
            self.said = Some(Instant::now());
        }
        self.is_ill = true;
    }

    /// Who came while the connection was lost.
    fn refuse_waiting(&mut self) {
        while self.queue.try_recv().is_ok() {}
    }

    fn pause(&mut self) -> Duration {
        let whole = SHORTEST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        let half_us = u64::try_from(whole.as_micros() / 2).unwrap_or_default();
        whole - Duration::from_micros(random_below(half_us))
    }
}
