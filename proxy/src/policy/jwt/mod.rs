//! RequestAuthentications, compiled: which tokens a Gateway believes, and what becomes of a request by them.
//!
//! In: the fields and the query of a request, and the time. Out: a [`TokenVerdict`]. Pure, but that keys come from
//! [`Source`]s, which fetch them meanwhile: where they are not there, or a token names one that is not known, the verdict
//! is to wait for a fetch, once.
//!
//! A request without a token passes as nobody. Of a request with tokens each must be believed by a rule that looks where
//! it was found and is for its issuer.

mod claims;
mod json;
mod keys;
mod places;
mod refusal;
mod token;
mod verified;

pub(crate) use claims::Claims;
pub(crate) use json::Json;
pub(crate) use keys::{KeySet, KeySetError};
pub(crate) use places::Strip;
pub(crate) use refusal::Refusal;

use crate::jwks::{Source, Sources};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use places::{MOST_TOKENS, Places, Presented};
use sluice_ir as ir;
use std::sync::Arc;
use token::{LEEWAY_S, Token};
use verified::{Cache, Verified};

/// The rules of a Gateway.
#[derive(Debug)]
pub(crate) struct Authenticator {
    rules: Vec<Rule>,
    places: Places,
    /// Fields that only a verified token gives.
    given: Vec<HeaderName>,
    cache: Cache,
}

#[derive(Debug)]
struct Rule {
    issuer: String,
    audiences: Vec<String>,
    keys: Arc<Source>,
    places: Vec<usize>,
    forwards: bool,
    payload_header: Option<HeaderName>,
    claim_headers: Vec<(HeaderName, Vec<String>)>,
    spaced: Arc<[Box<str>]>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum TokenVerdict {
    /// It carries no token.
    Anonymous,
    /// All its tokens are good.
    Verified(Identity),
    /// Keys are missing that a fetch may bring.
    Wait(Waiting),
    /// One is not.
    Refused(Refusal),
}

/// What good tokens make of a request.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Of the first token.
    pub(crate) claims: Arc<Claims>,
    /// Fields that it gets.
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    /// Places whose tokens the backend does not get.
    pub(crate) stripped: Box<[usize]>,
    /// Whether all were known already.
    pub(crate) was_known: bool,
}

/// Whose keys are waited for.
#[derive(Debug)]
pub(crate) struct Waiting {
    source: Arc<Source>,
    refusal: Refusal,
}

impl Waiting {
    /// Waits until a fetch has ended, for no longer than one may take. `Err` at once where none is due: too little time
    /// has passed since the last one.
    pub(crate) async fn over(&self) -> Result<(), Refusal> {
        if self.source.fetched_anew().await { Ok(()) } else { Err(self.refusal) }
    }

    /// What the token is refused for when that does not help.
    pub(crate) fn refusal(&self) -> Refusal {
        self.refusal
    }
}

/// Why a token is not believed now.
enum Fault {
    Refused(Refusal),
    Keys(Arc<Source>, Refusal),
}

impl From<Refusal> for Fault {
    fn from(it: Refusal) -> Self {
        Self::Refused(it)
    }
}

impl Authenticator {
    /// `None`: there is no rule.
    pub(crate) fn compile(policies: &[Arc<ir::Authentication>], sources: &Sources) -> Option<Self> {
        let mut places = Places::default();
        let mut given: Vec<HeaderName> = Vec::new();
        let mut rules = Vec::new();
        for rule in policies.iter().flat_map(|it| &it.rules) {
            let payload_header: Option<HeaderName> =
                rule.payload_header.as_ref().and_then(|it| it.parse().ok());
            let claim_headers: Vec<(HeaderName, Vec<String>)> = rule
                .claim_headers
                .iter()
                .filter_map(|(name, path)| Some((name.parse().ok()?, path.clone())))
                .collect();
            given.extend(payload_header.iter().chain(claim_headers.iter().map(|it| &it.0)).cloned());
            rules.push(Rule {
                issuer: rule.issuer.clone(),
                audiences: rule.audiences.clone(),
                keys: sources.of(rule),
                places: places.add(rule),
                forwards: rule.forwards,
                payload_header,
                claim_headers,
                spaced: rule.space_delimited.iter().map(|it| it.as_str().into()).collect(),
            });
        }
        given.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        given.dedup();
        (!rules.is_empty()).then(|| Self { rules, places, given, cache: Cache::default() })
    }

    /// Fields of a request that a client must not send: those that only tokens give, also where a backend could take
    /// another spelling for them (CGI and its heirs read `_` as `-`). Allocates where there is one.
    pub(crate) fn forged(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        if self.given.is_empty() {
            return Vec::new();
        }
        let same = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
        let is_given = |name: &&HeaderName| {
            self.given.iter().any(|given| {
                given.as_str().len() == name.as_str().len()
                    && name.as_str().bytes().zip(given.as_str().bytes()).all(same)
            })
        };
        headers.keys().filter(is_given).cloned().collect()
    }

    /// Judges a request at a time, in seconds since 1970.
    pub(crate) fn judge(&self, headers: &HeaderMap, query: Option<&str>, now_s: f64) -> TokenVerdict {
        let presented = self.places.find(headers, query);
        if presented.is_empty() {
            return TokenVerdict::Anonymous;
        }
        if presented.len() > MOST_TOKENS {
            return TokenVerdict::Refused(Refusal::TooMany);
        }
        let mut identity: Option<Identity> = None;
        for token in &presented {
            let (verified, was_known) = match self.verify(token, now_s) {
                Ok(found) => found,
                Err(Fault::Refused(refusal)) => return TokenVerdict::Refused(refusal),
                Err(Fault::Keys(source, refusal)) => return TokenVerdict::Wait(Waiting { source, refusal }),
            };
            let identity = identity.get_or_insert_with(|| Identity {
                claims: verified.claims.clone(),
                fields: Vec::new(),
                stripped: Box::default(),
                was_known: true,
            });
            identity.was_known &= was_known;
            for (name, value) in verified.fields.iter() {
                if !identity.fields.iter().any(|it| it.0 == name) {
                    identity.fields.push((name.clone(), value.clone()));
                }
            }
            if self.rules.get(verified.rule).is_some_and(|rule| !rule.forwards) {
                let mut stripped = std::mem::take(&mut identity.stripped).into_vec();
                stripped.push(token.place);
                identity.stripped = stripped.into();
            }
        }
        identity.map_or(TokenVerdict::Anonymous, TokenVerdict::Verified)
    }

    /// Takes tokens out of a head that goes to a backend; see [`Strip`]. `Some`: what the query is now.
    pub(crate) fn strip(
        &self,
        places: &[usize],
        uri: &Uri,
        fields: &mut dyn Strip,
    ) -> Option<Option<String>> {
        self.places.strip(places, uri, fields)
    }

    /// Whether a rule believes a token, and whether that was known already.
    fn verify(&self, presented: &Presented<'_>, now_s: f64) -> Result<(Verified, bool), Fault> {
        let name = Cache::name(&presented.token);
        let looks_there =
            |rule: usize| self.rules.get(rule).filter(|it| it.places.contains(&presented.place));
        let keys_of = |rule: usize| looks_there(rule)?.keys.keys();
        if let Some(known) = name.and_then(|it| self.cache.get(&it, now_s, keys_of)) {
            return Ok((known, true));
        }
        let token = Token::parse(&presented.token)?;
        let mut fault = Fault::Refused(Refusal::Issuer);
        for (position, rule) in self.rules.iter().enumerate() {
            if rule.issuer != *token.issuer || !rule.places.contains(&presented.place) {
                continue;
            }
            match rule.verify(&token, position, now_s) {
                Ok((verified, keys)) => {
                    if let Some(name) = name {
                        self.cache.put(name, verified.clone(), &keys);
                    }
                    return Ok((verified, false));
                }
                // Keys that may come are worth waiting for, whatever another rule has against the token.
                Err(it) if matches!(fault, Fault::Refused(_)) => fault = it,
                Err(_) => {}
            }
        }
        Err(fault)
    }
}

impl Rule {
    /// What costs little is looked at first.
    fn verify(
        &self,
        token: &Token<'_>,
        position: usize,
        now_s: f64,
    ) -> Result<(Verified, Arc<KeySet>), Fault> {
        let ends = token.judge_time(now_s)?;
        let audiences = token.audiences()?;
        let is_for_us = self.audiences.is_empty()
            || audiences.iter().any(|it| self.audiences.iter().any(|own| **own == **it));
        if !is_for_us {
            return Err(Refusal::Audience.into());
        }
        let subject = token.subject()?;
        let missing = |why| Fault::Keys(self.keys.clone(), why);
        let keys = self.keys.keys().ok_or_else(|| missing(Refusal::NoKeys))?;
        match token.judge_signature(&keys) {
            Ok(()) => {}
            Err(Refusal::UnknownKey) => return Err(missing(Refusal::UnknownKey)),
            Err(other) => return Err(other.into()),
        }
        let claims =
            Claims::new(&token.issuer, subject, audiences, token.payload.clone(), self.spaced.clone());
        let verified = Verified {
            claims: Arc::new(claims),
            rule: position,
            fields: self.fields(token).into(),
            until_s: ends + LEEWAY_S,
        };
        Ok((verified, keys))
    }

    /// What the request gets by a token of this rule.
    fn fields(&self, token: &Token<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let payload = self
            .payload_header
            .iter()
            .filter_map(|name| Some((name.clone(), HeaderValue::from_str(token.encoded).ok()?)));
        let claims = self.claim_headers.iter().filter_map(|(name, path)| {
            // No string that would end a field (RFC 9110 §5.5).
            let value = token.payload.claim(path)?.to_text()?;
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        });
        payload.chain(claims).collect()
    }
}

#[cfg(test)]
mod tests;
