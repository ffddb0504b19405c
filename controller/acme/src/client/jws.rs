//! Requests signed with the account's key (RFC 8555 §6.2), for the two that instant-acme has no call for: an account
//! whose key is known before, and the list of the account's orders.

use super::directory::Directory;
use super::fetch::{Fetcher, USER_AGENT};
use crate::{AccountBinding, Secret};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT as USER_AGENT_HEADER};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use instant_acme::{Error, Problem};
use serde_json::{Value, json};

/// How often a request is sent again when the authority does not like the nonce.
const NONCE_TRIES: usize = 5;

/// An account's key, able to sign.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
}

/// Who signs: a key that has no account yet, or an account.
pub(crate) enum As<'a> {
    Key,
    Account(&'a str),
}

impl Signer {
    /// A new key, PKCS#8.
    pub(crate) fn generate() -> Result<Secret, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Ok(Secret::new(document.map_err(|_| Error::Crypto)?.as_ref()))
    }

    pub(crate) fn new(pkcs8: &Secret) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose());
        Ok(Self { pair: pair.map_err(|_| Error::KeyRejected)? })
    }

    /// POST of a payload, or POST-as-GET without one (RFC 8555 §6.3). Only answers of success are returned.
    pub(crate) async fn post(
        &self,
        fetcher: &Fetcher,
        directory: &Directory,
        (url, signs): (&str, As<'_>),
        payload: Option<&Value>,
    ) -> Result<Response<Bytes>, Error> {
        let mut nonce = fresh_nonce(fetcher, directory).await?;
        for _ in 0..NONCE_TRIES {
            let body = self.signed(url, &signs, &nonce, payload)?;
            let request = Request::post(url)
                .header(USER_AGENT_HEADER, USER_AGENT)
                .header(CONTENT_TYPE, "application/jose+json")
                .body(Full::from(body))?;
            let answer = fetcher.fetch(request).await.map_err(|text| Error::Other(text.into()))?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let problem: Problem = serde_json::from_slice(answer.body())?;
            match (super::problem::kind(&problem), nonce_of(&answer)) {
                ("badNonce", Some(next)) => nonce = next,
                _ => return Err(Error::Api(problem)),
            }
        }
        Err(Error::Str("a nonce that the authority takes"))
    }

    fn signed(
        &self,
        url: &str,
        signs: &As<'_>,
        nonce: &str,
        payload: Option<&Value>,
    ) -> Result<String, Error> {
        let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url });
        match signs {
            As::Key => header["jwk"] = self.jwk(),
            As::Account(id) => header["kid"] = json!(id),
        }
        jws(&header, payload, |input| {
            let signature = self.pair.sign(&SystemRandom::new(), input).map_err(|_| Error::Crypto)?;
            Ok(signature.as_ref().to_vec())
        })
        .map(|it| it.to_string())
    }

    /// RFC 7518 §6.2.1.
    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    /// RFC 8555 §7.3.4: the account's key, signed with the key of the account elsewhere.
    pub(crate) fn binding(&self, binding: &AccountBinding, directory: &Directory) -> Result<Value, Error> {
        let header = json!({ "alg": "HS256", "kid": binding.key_id, "url": directory.new_account });
        let key = hmac::Key::new(hmac::HMAC_SHA256, binding.key.expose());
        jws(&header, Some(&self.jwk()), |input| Ok(hmac::sign(&key, input).as_ref().to_vec()))
    }
}

fn jws(
    header: &Value,
    payload: Option<&Value>,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, Error>,
) -> Result<Value, Error> {
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let payload = payload.map(|it| URL_SAFE_NO_PAD.encode(it.to_string())).unwrap_or_default();
    let signature = sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({ "protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) }))
}

async fn fresh_nonce(fetcher: &Fetcher, directory: &Directory) -> Result<String, Error> {
    let request =
        Request::head(&directory.new_nonce).header(USER_AGENT_HEADER, USER_AGENT).body(Full::default())?;
    let answer = fetcher.fetch(request).await.map_err(|text| Error::Other(text.into()))?;
    let nonce = nonce_of(&answer).filter(|_| answer.status() == StatusCode::OK);
    nonce.ok_or(Error::Str("a nonce of the authority"))
}

fn nonce_of(answer: &Response<Bytes>) -> Option<String> {
    Some(answer.headers().get("replay-nonce")?.to_str().ok()?.to_owned())
}
