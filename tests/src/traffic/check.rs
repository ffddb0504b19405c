//! Compares an answer with what was expected of it.

use super::format::{Expect, ExpectHandshake, Wanted};
use crate::backends::is_called;
use crate::client::Answer;
use crate::tls_backend::Handshake;

/// Everything that differs, one sentence each.
pub(super) fn differences(answer: &Answer, expect: &Expect, any_status: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |differs: bool, text: String| {
        if differs {
            found.push(text);
        }
    };
    let status = expect.status.or(if any_status { None } else { Some(200) });
    if let Some(status) = status {
        note(answer.status != status, format!("status {} instead of {status}", answer.status));
    }
    match &expect.backend {
        Some(Some(wanted)) => {
            let right = answer.backend().is_some_and(|name| is_called(name, wanted));
            note(!right, format!("answered by {:?} instead of {wanted:?}", answer.backend()));
        }
        Some(None) => note(answer.backend().is_some(), format!("answered by {:?}", answer.backend())),
        None => {}
    }
    for (what, wanted) in [
        ("path", &expect.path),
        ("query", &expect.query),
        ("host", &expect.host),
        ("method", &expect.method),
        ("body", &expect.body),
        ("protocol", &expect.protocol),
    ] {
        if let Some(wanted) = wanted {
            let seen = answer.seen(what);
            note(seen != *wanted, format!("the backend saw the {what} {seen:?} instead of {wanted:?}"));
        }
    }
    for (name, wanted) in &expect.headers {
        let value = answer.joined(name);
        note(!fits(value.as_deref(), wanted), format!("answer: {name} is {value:?} instead of {wanted:?}"));
    }
    for (name, wanted) in &expect.backend_headers {
        let value = answer.seen_header(name);
        note(!fits(value.as_deref(), wanted), format!("backend: {name} is {value:?} instead of {wanted:?}"));
    }
    if let Some(part) = &expect.body_contains {
        note(
            !answer.text().contains(part),
            format!("the body {:?} does not contain {part:?}", answer.text()),
        );
    }
    if let Some(wanted) = expect.grpc_status {
        let trailer =
            answer.trailers.iter().find(|(name, _)| name == "grpc-status").map(|(_, value)| value.as_str());
        let status = trailer.or_else(|| answer.header("grpc-status"));
        note(status != Some(&wanted.to_string()), format!("grpc-status {status:?} instead of {wanted}"));
    }
    if let Some(name) = &expect.certificate {
        let leaf = answer.certificates.first().map(Vec::as_slice).unwrap_or_default();
        note(!carries(leaf, name), format!("the certificate is not for {name:?}"));
    }
    found
}

/// Whether a certificate is for this DNS name, which stands in it as plain bytes.
fn carries(certificate: &[u8], name: &str) -> bool {
    certificate.windows(name.len()).any(|window| window == name.as_bytes())
}

/// What differs in a handshake that a TLS backend saw.
pub(super) fn handshake(seen: Option<&Handshake>, expect: &ExpectHandshake) -> Option<String> {
    let Some(seen) = seen else { return Some("the backend saw no TLS handshake".to_owned()) };
    if seen.server_name != expect.server_name {
        return Some(format!("SNI {:?} instead of {:?}", seen.server_name, expect.server_name));
    }
    match (&seen.certificate, &expect.certificate) {
        (None, None) => None,
        (Some(certificate), Some(name)) if carries(certificate, name) => None,
        (shown, wanted) => {
            Some(format!("the backend was shown a certificate: {}, instead of {wanted:?}", shown.is_some()))
        }
    }
}

fn fits(value: Option<&str>, wanted: &Wanted) -> bool {
    match wanted.as_deref() {
        None => value.is_none(),
        Some("*") => value.is_some(),
        Some(wanted) => value == Some(wanted),
    }
}
