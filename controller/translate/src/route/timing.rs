//! Timeouts (GEP-1742), retries (GEP-1731) and session persistence (GEP-1619) of a rule.

use super::faults::Faults;
use crate::syntax;
use sluice_ir::{Retry, SessionPersistence, SessionToken, Timeouts, fingerprint};
use std::time::Duration;

/// Most tries after the first.
const MAX_ATTEMPTS: i64 = 100;
/// Tries after the first when `retry` names none.
const DEFAULT_ATTEMPTS: i64 = 1;
/// Least time between two tries when `retry` names none.
const DEFAULT_BACKOFF: Duration = Duration::from_millis(25);
/// Answers that are tried again when `retry` names none: those that a gateway gives for a backend that is away.
const DEFAULT_CODES: [u16; 3] = [502, 503, 504];

/// Reads `timeouts`.
pub(crate) fn timeouts(
    request: Option<&String>,
    backend_request: Option<&String>,
    field: &str,
    faults: &mut Faults,
) -> Timeouts {
    let mut bound = |text: Option<&String>, part: &str| -> Option<Duration> {
        match syntax::duration(text?) {
            // GEP-1742: 0s turns the timeout off.
            Ok(bound) => Some(bound).filter(|it| !it.is_zero()),
            Err(message) => {
                faults.value(format!("{field}.{part}"), message, "");
                None
            }
        }
    };
    let timeouts = Timeouts {
        request: bound(request, "request"),
        backend_request: bound(backend_request, "backendRequest"),
    };
    if let (Some(request), Some(backend_request)) = (timeouts.request, timeouts.backend_request)
        && backend_request > request
    {
        faults.value(
            format!("{field}.backendRequest"),
            "is longer than the request timeout, which bounds it",
            "make it shorter, or the request timeout longer",
        );
    }
    timeouts
}

/// Reads `retry`.
pub(crate) fn retry(
    attempts: Option<i64>,
    backoff: Option<&String>,
    codes: Option<&Vec<i64>>,
    field: &str,
    faults: &mut Faults,
) -> Retry {
    let attempts = attempts.unwrap_or(DEFAULT_ATTEMPTS);
    if !(0..=MAX_ATTEMPTS).contains(&attempts) {
        faults.value(format!("{field}.attempts"), format!("{attempts} is out of range"), "use 0 to 100");
    }
    let backoff = match backoff.map(|it| syntax::duration(it)) {
        None => DEFAULT_BACKOFF,
        Some(Ok(backoff)) => backoff,
        Some(Err(message)) => {
            faults.value(format!("{field}.backoff"), message, "");
            DEFAULT_BACKOFF
        }
    };
    let mut read = Vec::new();
    for (index, code) in codes.into_iter().flatten().enumerate() {
        match u16::try_from(*code).ok().filter(|it| (400..600).contains(it)) {
            Some(code) => read.push(code),
            None => faults.value(
                format!("{field}.codes[{index}]"),
                format!("{code} is out of range"),
                "use 400 to 599",
            ),
        }
    }
    if codes.is_none_or(Vec::is_empty) {
        read = DEFAULT_CODES.to_vec();
    }
    read.sort_unstable();
    read.dedup();
    Retry { codes: read, attempts: u32::try_from(attempts).unwrap_or(0), backoff }
}

/// `sessionPersistence` as written.
#[derive(Debug)]
pub(crate) struct RawSession<'a> {
    pub(crate) name: Option<&'a String>,
    pub(crate) is_header: bool,
    pub(crate) is_permanent: bool,
    pub(crate) absolute_timeout: Option<&'a String>,
    pub(crate) has_idle_timeout: bool,
}

/// Reads `sessionPersistence`. Without a name, one is made from `owner`, which must name the rule.
pub(crate) fn session(
    raw: &RawSession<'_>,
    owner: &str,
    field: &str,
    faults: &mut Faults,
) -> SessionPersistence {
    let absolute_timeout = match raw.absolute_timeout.map(|it| syntax::duration(it)) {
        None => None,
        Some(Ok(bound)) => Some(bound).filter(|it| !it.is_zero()),
        Some(Err(message)) => {
            faults.value(format!("{field}.absoluteTimeout"), message, "");
            None
        }
    };
    if raw.is_permanent && absolute_timeout.is_none() {
        faults.value(
            format!("{field}.absoluteTimeout"),
            "a permanent cookie needs it: it becomes the cookie's lifetime",
            "add it, or use lifetimeType Session",
        );
    }
    if raw.has_idle_timeout {
        faults.value(
            format!("{field}.idleTimeout"),
            "is not supported; Gateway API 1.6 has removed it",
            "use absoluteTimeout",
        );
    }
    if let Some(name) = raw.name {
        faults.check(format!("{field}.sessionName"), syntax::header_name(name));
    }
    let made = || format!("sluice-session-{}", fingerprint(owner.as_bytes()).trim_start_matches("sha256:"));
    let token = match (raw.is_header, raw.is_permanent) {
        (true, _) => SessionToken::Header,
        (false, true) => SessionToken::PermanentCookie,
        (false, false) => SessionToken::SessionCookie,
    };
    SessionPersistence { name: raw.name.cloned().unwrap_or_else(made), token, absolute_timeout }
}
