//! Session persistence (GEP-1619): a token that brings a client back to its endpoint.
//!
//! The token names an endpoint by a hash over the endpoint set and the address: every replica computes the same, a
//! restart changes nothing, and the address can't be read from it. With an absolute timeout the token carries the
//! second of its end: `TOKEN.END`. The end is not signed on purpose: a client that forges it only stays at an
//! endpoint that it was given anyway, and could keep by never sending the cookie to anybody else; nothing is
//! authorized by it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use sluice_ir::{EndpointSetKey, SessionPersistence, SessionToken};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a [`SessionId`]: enough that two endpoints of a set never meet.
const ID_BYTES: usize = 16;

/// Longest token that is looked at.
const TOKEN_BYTES: usize = 64;

/// Names an endpoint to a client. Shown as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; ID_BYTES]);

impl SessionId {
    /// The same on every replica and after a restart.
    pub fn of(set: &EndpointSetKey, address: SocketAddr) -> Self {
        let mut hash = Sha256::new();
        hash.update(set.as_str());
        hash.update([0]);
        hash.update(address.to_string());
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(id)
    }

    fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads and writes the sessions of one rule; built with the snapshot.
#[derive(Clone, Debug)]
pub struct Sessions {
    name: HeaderName,
    /// As the manifest writes it: cookie names are case-sensitive.
    cookie: String,
    token: SessionToken,
    absolute_timeout: Option<Duration>,
}

impl Sessions {
    /// `None` when the name is no token (RFC 9110 §5.6.2), and so neither a cookie's nor a header's.
    pub fn new(rule: &SessionPersistence) -> Option<Self> {
        Some(Self {
            name: HeaderName::from_bytes(rule.name.as_bytes()).ok()?,
            cookie: rule.name.clone(),
            token: rule.token,
            absolute_timeout: rule.absolute_timeout,
        })
    }

    /// The session that the request presents; `None` when there is none, it has ended or it can't be read.
    pub fn read(&self, headers: &HeaderMap, now: SystemTime) -> Option<SessionId> {
        let token = match self.token {
            SessionToken::Header => headers.get(&self.name)?.to_str().ok()?.trim(),
            SessionToken::SessionCookie | SessionToken::PermanentCookie => cookie(headers, &self.cookie)?,
        };
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let (id, end) = match token.split_once('.') {
            Some((id, end)) => (id, Some(end.parse::<u64>().ok()?)),
            None => (token, None),
        };
        match (self.absolute_timeout, end) {
            // The rule got its timeout after the token was given.
            (Some(_), None) => None,
            (Some(_), Some(end)) if end <= seconds(now) => None,
            (Some(_) | None, _) => SessionId::parse(id),
        }
    }

    /// The response header that starts a session, to be appended when the answer comes from another endpoint than
    /// the request's session named. `tls` marks a cookie `Secure`.
    pub fn write(&self, id: SessionId, tls: bool, now: SystemTime) -> Option<(HeaderName, HeaderValue)> {
        let token = match self.absolute_timeout {
            Some(timeout) => format!("{id}.{}", seconds(now).saturating_add(whole_seconds(timeout))),
            None => id.to_string(),
        };
        if self.token == SessionToken::Header {
            return Some((self.name.clone(), HeaderValue::from_str(&token).ok()?));
        }
        let mut field = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax", self.cookie);
        if tls {
            field.push_str("; Secure");
        }
        if let (SessionToken::PermanentCookie, Some(timeout)) = (self.token, self.absolute_timeout) {
            field.push_str(&format!("; Max-Age={}", whole_seconds(timeout)));
        }
        Some((SET_COOKIE, HeaderValue::from_str(&field).ok()?))
    }
}

/// The value of the first cookie of that name (RFC 6265 §5.4), over all Cookie fields (RFC 9113 §8.2.3).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(COOKIE).into_iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Rounded up, so that a timeout below a second is not over at once.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
