//! An OCSP response (RFC 6960 §4.2): is it of the issuer, about this certificate, good and fresh?

use super::der::{
    BIT_STRING, ENUMERATED, EXPLICIT_0, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, Value,
};
use super::need::Need;
use super::request::CertId;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// `id-pkix-ocsp-basic`.
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// `id-kp-OCSPSigning`.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// Choices of `CertStatus`.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
/// Clocks differ.
const SKEW_S: i64 = 300;
/// A response that names no end is good for so long.
const WITHOUT_END_S: i64 = 24 * 3600;
/// Most certificates that a response may bring along.
const MOST_CERTIFICATES: usize = 8;

/// A response that may be stapled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// Seconds since 1970: when it must be gone.
    pub(super) until_s: i64,
    /// When it should be fetched again: at half of its life.
    pub(super) refresh_s: i64,
}

/// Why a response may not be stapled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the responder refuses with status {0}")]
    Status(u8),
    #[error("the answer is no OCSP response")]
    Malformed,
    #[error("neither the issuer nor one that it lets answer has signed the response")]
    Signature,
    #[error("the response is about another certificate")]
    Other,
    #[error("the certificate is revoked")]
    Revoked,
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("the response is not valid now")]
    Time,
}

/// Judges the response at this time.
pub(super) fn judge(response: &[u8], need: &Need, id: &CertId, now_s: i64) -> Result<Good, Refused> {
    let basic = basic(response)?;
    let mut parts = Reader(basic).within(SEQUENCE).ok_or(Refused::Malformed)?;
    let data = parts.one(SEQUENCE).ok_or(Refused::Malformed)?;
    let algorithm = parts.one(SEQUENCE).ok_or(Refused::Malformed)?;
    let signature = parts.one(BIT_STRING).and_then(|bits| bits.content.strip_prefix(&[0]));
    let signature = signature.ok_or(Refused::Malformed)?;
    let own = certificates(parts);
    if !is_signed(need, &own, (algorithm, data.whole, signature), now_s) {
        return Err(Refused::Signature);
    }
    single(data, id, now_s)
}

/// `BasicOCSPResponse` within `OCSPResponse`.
fn basic(response: &[u8]) -> Result<&[u8], Refused> {
    let malformed = Refused::Malformed;
    let mut parts = Reader(response).within(SEQUENCE).ok_or(malformed)?;
    match parts.one(ENUMERATED).map(|status| status.content) {
        Some([0]) => {}
        Some([status]) => return Err(Refused::Status(*status)),
        _ => return Err(malformed),
    }
    let mut bytes = parts.within(EXPLICIT_0).and_then(|mut it| it.within(SEQUENCE)).ok_or(malformed)?;
    if bytes.one(OID).is_none_or(|kind| kind.content != BASIC) {
        return Err(malformed);
    }
    bytes.one(OCTET_STRING).map(|basic| basic.content).ok_or(malformed)
}

/// Certificates that came along.
fn certificates(mut parts: Reader<'_>) -> Vec<CertificateDer<'_>> {
    let Some(mut list) = parts.within(EXPLICIT_0).and_then(|mut it| it.within(SEQUENCE)) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    while let Some(certificate) = list.one(SEQUENCE).filter(|_| all.len() < MOST_CERTIFICATES) {
        all.push(CertificateDer::from(certificate.whole));
    }
    all
}

/// RFC 6960 §4.2.2.2: by the issuer, or by a certificate that the issuer has signed for this purpose.
fn is_signed(
    need: &Need,
    own: &[CertificateDer<'_>],
    (algorithm, data, signature): (Value<'_>, &[u8], &[u8]),
    now_s: i64,
) -> bool {
    let all = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let fits = |it: &&&dyn SignatureVerificationAlgorithm| *it.signature_alg_id() == *algorithm.content;
    let by = |certificate: &CertificateDer<'_>| {
        EndEntityCert::try_from(certificate).is_ok_and(|signer| {
            all.iter().filter(fits).any(|it| signer.verify_signature(*it, data, signature).is_ok())
        })
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_s).unwrap_or(0)));
    let is_let = |certificate: &CertificateDer<'_>| {
        let Ok(anchor) = anchor_from_trusted_cert(&need.issuer) else { return false };
        let usage = KeyUsage::required(OCSP_SIGNING);
        EndEntityCert::try_from(certificate).is_ok_and(|signer| {
            signer.verify_for_usage(all, std::slice::from_ref(&anchor), &[], time, usage, None, None).is_ok()
        })
    };
    by(&need.issuer) || own.iter().any(|certificate| by(certificate) && is_let(certificate))
}

/// The one response about the certificate.
fn single(data: Value<'_>, id: &CertId, now_s: i64) -> Result<Good, Refused> {
    let malformed = Refused::Malformed;
    let mut parts = Reader(data.content);
    let _version = parts.one(EXPLICIT_0);
    let _responder = parts.any().ok_or(malformed)?;
    let _produced = parts.one(GENERALIZED_TIME).ok_or(malformed)?;
    let mut responses = parts.within(SEQUENCE).ok_or(malformed)?;
    while let Some(mut single) = responses.within(SEQUENCE) {
        if single.within(SEQUENCE).and_then(cert_id).as_ref() != Some(id) {
            continue;
        }
        let status = single.any().ok_or(malformed)?.tag;
        let from_s = single.one(GENERALIZED_TIME).and_then(time).ok_or(malformed)?;
        let next = single.within(EXPLICIT_0);
        let until_s = match next {
            Some(mut next) => next.one(GENERALIZED_TIME).and_then(time).ok_or(malformed)?,
            None => from_s.saturating_add(WITHOUT_END_S),
        };
        if from_s > now_s + SKEW_S || until_s <= now_s {
            return Err(Refused::Time);
        }
        // Only of a fresh response: a certificate may have been on hold, and somebody may say an old one again.
        return match status {
            GOOD => Ok(Good { until_s, refresh_s: from_s + (until_s - from_s) / 2 }),
            REVOKED => Err(Refused::Revoked),
            _ => Err(Refused::Unknown),
        };
    }
    Err(Refused::Other)
}

fn cert_id(mut parts: Reader<'_>) -> Option<CertId> {
    parts.one(SEQUENCE)?;
    let name_hash = parts.one(OCTET_STRING)?.content.to_vec();
    let key_hash = parts.one(OCTET_STRING)?.content.to_vec();
    Some(CertId { name_hash, key_hash, serial: parts.one(INTEGER)?.content.to_vec() })
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.2) in seconds since 1970.
fn time(value: Value<'_>) -> Option<i64> {
    let text = std::str::from_utf8(value.content).ok()?.strip_suffix('Z')?;
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<i8>().ok();
    let year = text[..4].parse().ok()?;
    let (month, day) = (number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
