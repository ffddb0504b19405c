//! A token: a JWT (RFC 7519) in the compact form of a JWS (RFC 7515 §3.1), taken apart without believing a word of it.

use super::Refusal;
use super::json::Json;
use super::keys::{Algorithm, ID_BYTES, KeySet, Tried};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest token. A head of a request has hardly more room.
pub(super) const MOST_BYTES: usize = 16 * 1024;
/// How far clocks may differ, in seconds (as Istio has it).
pub(super) const LEEWAY_S: f64 = 60.0;

/// What a token says.
pub(super) struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
    /// Header and payload as they were signed.
    signed: &'a [u8],
    signature: Vec<u8>,
    /// The payload as it was sent, in base64url.
    pub(super) encoded: &'a str,
    /// An object.
    pub(super) payload: Json,
    pub(super) issuer: Box<str>,
}

impl<'a> Token<'a> {
    /// Takes a token apart. Everything that is not exactly as the standards have it is refused: encodings that are not
    /// canonical, names that stand twice, extensions that must be understood.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        if text.len() > MOST_BYTES {
            return Err(Refusal::TooLarge);
        }
        let text = std::str::from_utf8(text).map_err(|_| Refusal::Malformed)?;
        let mut parts = text.split('.');
        let (Some(header), Some(encoded), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        let object = |part: &str| {
            let value = URL_SAFE_NO_PAD.decode(part).ok().and_then(|it| Json::parse(&it));
            value.filter(|it| matches!(it, Json::Object(_))).ok_or(Refusal::Malformed)
        };
        let header = object(header)?;
        // RFC 7515 §4.1.11: nothing is understood that would have to be. `jku`, `jwk`, `x5u` and `x5c` are not looked at:
        // a token does not say who may sign it.
        if header.get("crit").is_some() || header.get("b64").is_some() || header.get("zip").is_some() {
            return Err(Refusal::Critical);
        }
        let algorithm = header.get("alg").and_then(Json::text).ok_or(Refusal::Malformed)?;
        let algorithm = Algorithm::parse(algorithm).ok_or(Refusal::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Json::Text(id)) if id.len() <= ID_BYTES => Some(id.clone()),
            Some(_) => return Err(Refusal::Malformed),
        };
        let payload = object(encoded)?;
        let issuer = payload.get("iss").and_then(Json::text).ok_or(Refusal::Issuer)?.into();
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?;
        let signed_bytes = text.len() - text.rsplit('.').next().map_or(0, str::len) - 1;
        let signed = text.as_bytes().get(..signed_bytes).ok_or(Refusal::Malformed)?;
        Ok(Self { algorithm, key_id, signed, signature, encoded, payload, issuer })
    }

    /// Whether its time is now: when it ends, in seconds since 1970. A token without end is refused: a stolen one would
    /// open for ever.
    pub(super) fn judge_time(&self, now_s: f64) -> Result<f64, Refusal> {
        let ends = self.moment("exp")?.ok_or(Refusal::Expired)?;
        if now_s >= ends + LEEWAY_S {
            return Err(Refusal::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.moment(name)?.is_some_and(|begins| now_s + LEEWAY_S < begins) {
                return Err(Refusal::NotYet);
            }
        }
        Ok(ends)
    }

    /// NumericDate (RFC 7519 §2).
    fn moment(&self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.payload.get(name) {
            None => Ok(None),
            Some(Json::Integer(seconds)) if *seconds >= 0 => Ok(Some(*seconds as f64)),
            Some(Json::Float(seconds)) if *seconds >= 0.0 => Ok(Some(*seconds)),
            Some(_) => Err(Refusal::Malformed),
        }
    }

    /// Claim `aud`, one or several.
    pub(super) fn audiences(&self) -> Result<Vec<Box<str>>, Refusal> {
        match self.payload.get("aud") {
            None => Ok(Vec::new()),
            Some(Json::Text(one)) => Ok(vec![one.clone()]),
            Some(Json::List(list)) => {
                let text = |it: &Json| it.text().map(Box::from).ok_or(Refusal::Malformed);
                list.iter().map(text).collect()
            }
            Some(_) => Err(Refusal::Malformed),
        }
    }

    /// Claim `sub`; empty where there is none.
    pub(super) fn subject(&self) -> Result<&str, Refusal> {
        match self.payload.get("sub") {
            None => Ok(""),
            Some(subject) => subject.text().ok_or(Refusal::Malformed),
        }
    }

    /// Whether one of these keys has signed it.
    pub(super) fn judge_signature(&self, keys: &KeySet) -> Result<(), Refusal> {
        match keys.verify(self.algorithm, self.key_id.as_deref(), self.signed, &self.signature) {
            Tried::Valid => Ok(()),
            // Where tokens name no key, any may be missing.
            Tried::Invalid if self.key_id.is_none() => Err(Refusal::UnknownKey),
            Tried::Invalid => Err(Refusal::Signature),
            Tried::NoKey => Err(Refusal::UnknownKey),
        }
    }
}
