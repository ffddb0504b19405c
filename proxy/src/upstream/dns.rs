//! Keeps the addresses of a DNS name fresh.
//!
//! One task a name ([`keep_fresh`]): ask, report, wait as long as the answer says, ask again. Names are asked for by
//! a [`Resolver`], which is a function, so that tests need no server; [`Resolver::system`] reads `/etc/hosts`, then
//! asks the servers of `/etc/resolv.conf` for A and AAAA. A failure keeps the last good addresses: serving from an
//! old address beats serving nobody.

use super::random;
use futures::future::BoxFuture;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[path = "dns_system.rs"]
mod system;

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All A and AAAA records, in the order in which they came.
    pub addresses: Vec<IpAddr>,
    /// How long they are good for.
    pub ttl: Duration,
}

/// Why there are no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A server that knows says that the name has no addresses.
    #[error("the name has no addresses")]
    NoSuchName {
        /// How long this is true (RFC 2308), if the server said.
        ttl: Option<Duration>,
    },
    /// No server gave an answer.
    #[error("{0}")]
    Failed(String),
}

/// When to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Shortest wait after an answer, and the first after a failure. Default 1 s.
    pub shortest: Duration,
    /// Longest wait after an answer. Default 1 h.
    pub longest: Duration,
    /// Longest wait after a failure or a name that does not exist. Default 30 s.
    pub longest_retry: Duration,
    /// One question with all its retries over all servers. Default 15 s.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(1),
            longest: Duration::from_secs(3600),
            longest_retry: Duration::from_secs(30),
            timeout: Duration::from_secs(15),
        }
    }
}

/// So many answers in a row must say that a name does not exist before its last good addresses are given up: a name
/// server that restarts says so too.
const GONE_AFTER: u32 = 3;

type Ask = dyn Fn(Arc<str>) -> BoxFuture<'static, Result<Answer, ResolveError>> + Send + Sync;

/// Turns names into addresses.
#[derive(Clone)]
pub struct Resolver {
    ask: Arc<Ask>,
    pace: Pace,
}

impl Resolver {
    /// Asks by `ask`, which gets a lower-case name, never an IP address. One that ends in a dot is whole: no search domain
    /// comes after it.
    pub fn new<F>(ask: impl Fn(Arc<str>) -> F + Send + Sync + 'static, pace: Pace) -> Self
    where
        F: Future<Output = Result<Answer, ResolveError>> + Send + 'static,
    {
        Self { ask: Arc::new(move |host| Box::pin(ask(host))), pace }
    }

    /// Asks as the system's configuration says; it is read again after each failure.
    pub fn system() -> Self {
        let servers = Arc::new(system::Servers::default());
        Self::new(move |host| system::resolve(servers.clone(), host), Pace::default())
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Asks once, for at most the pace's timeout.
    pub(crate) async fn resolve(&self, host: Arc<str>) -> Result<Answer, ResolveError> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Ok(Answer { addresses: vec![address], ttl: self.pace.longest });
        }
        match tokio::time::timeout(self.pace.timeout, (self.ask)(host)).await {
            Ok(Ok(answer)) if answer.addresses.is_empty() => {
                Err(ResolveError::NoSuchName { ttl: Some(answer.ttl) })
            }
            Ok(result) => result,
            Err(_) => Err(ResolveError::Failed(format!("no answer within {:?}", self.pace.timeout))),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("pace", &self.pace).finish_non_exhaustive()
    }
}

/// Asks for `host` for ever and reports each answer: `Some` with the addresses as they came, `None` when the last good ones
/// stay.
/// Dropping the future stops it at once.
pub(super) async fn keep_fresh(host: Arc<str>, resolver: Resolver, report: impl Fn(Option<Vec<IpAddr>>)) {
    let mut history = History::default();
    loop {
        let result = resolver.resolve(host.clone()).await;
        let Step { addresses, wait } = history.step(&resolver.pace, result, &host);
        report(addresses);
        tokio::time::sleep(wait).await;
    }
}

/// What came before, as far as it decides what to do next.
#[derive(Debug, Default)]
struct History {
    failures: u32,
    negatives: u32,
}

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    addresses: Option<Vec<IpAddr>>,
    wait: Duration,
}

impl History {
    fn step(&mut self, pace: &Pace, result: Result<Answer, ResolveError>, host: &str) -> Step {
        match result {
            Ok(answer) => {
                *self = Self::default();
                Step {
                    addresses: Some(answer.addresses),
                    wait: answer.ttl.clamp(pace.shortest, pace.longest),
                }
            }
            Err(ResolveError::NoSuchName { ttl }) => {
                self.failures = 0;
                self.negatives = self.negatives.saturating_add(1);
                tracing::warn!(host, "the name has no addresses");
                let addresses = (self.negatives >= GONE_AFTER).then(Vec::new);
                // A server that does not say how long is asked as one that does not answer.
                let wait = match ttl {
                    Some(ttl) => ttl.clamp(pace.shortest, pace.longest_retry),
                    None => backoff(pace, self.negatives),
                };
                Step { addresses, wait }
            }
            Err(ResolveError::Failed(error)) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(host, error, "the name can't be resolved: its last good addresses stay");
                Step { addresses: None, wait: backoff(pace, self.failures) }
            }
        }
    }
}

/// Doubles from the shortest to the longest retry; a random part of up to half keeps names from asking in step.
pub(super) fn backoff(pace: &Pace, failures: u32) -> Duration {
    let doubled = pace.shortest.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let whole = doubled.min(pace.longest_retry);
    let jitter_us = random::below(u64::try_from(whole.as_micros() / 2).unwrap_or(0));
    whole - Duration::from_micros(jitter_us)
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
