//! `tls.options` of a listener: the oldest version, cipher suites and groups that are spoken.

use super::issuer::ISSUER;
use super::listener::{Judged, Refusal};
use crate::problem::{Problems, Severity};
use sluice_ir::{CertificateKey, CipherSuite, KeyExchangeGroup, Tls, TlsVersion};

const MINIMUM_VERSION: &str = "sluice.dev/minimum-tls-version";
const CIPHER_SUITES: &str = "sluice.dev/cipher-suites";
const GROUPS: &str = "sluice.dev/key-exchange-groups";
const WHILE_WAITING: &str = "sluice.dev/while-waiting";

/// Why a value can't be used, and the next step.
type Wrong = (String, String);

/// TLS with these certificates as the listener's options say; `None` when a value can't be used: then the listener is
/// refused, so that nobody is served with less than was asked for.
pub(super) fn read(
    judged: &mut Judged<'_>,
    certificates: Vec<CertificateKey>,
    problems: &mut Problems,
) -> Option<Tls> {
    let mut tls = Tls::showing(certificates);
    let mut is_good = true;
    for (name, value) in judged.model.tls.iter().flat_map(|it| &it.options) {
        let field = format!("{}.tls.options[{name}]", judged.field);
        let read = match name.as_str() {
            MINIMUM_VERSION => version(value).map(|it| tls.minimum_version = it),
            CIPHER_SUITES => names(value, "cipher suite", CipherSuite::ALL, CipherSuite::name)
                .map(|it| tls.cipher_suites = it),
            GROUPS => names(value, "key-exchange group", KeyExchangeGroup::ALL, KeyExchangeGroup::name)
                .map(|it| tls.key_exchange_groups = it),
            WHILE_WAITING => while_waiting(value).map(|it| tls.self_signed_meanwhile = it),
            // Read where certificates are.
            ISSUER => continue,
            other => {
                let message = format!("option {other:?} is not known and has no effect");
                let known =
                    format!("known: {MINIMUM_VERSION}, {CIPHER_SUITES}, {GROUPS}, {ISSUER}, {WHILE_WAITING}");
                problems.add(Severity::Note, field, message, known);
                continue;
            }
        };
        if let Err(wrong) = read {
            refuse(judged, field, wrong, problems);
            is_good = false;
        }
    }
    if let (true, Err(wrong)) = (is_good, fit(&tls)) {
        let field = format!("{}.tls.options[{CIPHER_SUITES}]", judged.field);
        refuse(judged, field, wrong, problems);
        is_good = false;
    }
    is_good.then_some(tls)
}

fn refuse(judged: &mut Judged<'_>, field: String, (message, next_step): Wrong, problems: &mut Problems) {
    problems.error(field, message.clone(), next_step);
    judged.refused.get_or_insert(Refusal { reason: "UnsupportedValue", message });
}

fn version(value: &str) -> Result<TlsVersion, Wrong> {
    match value {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        other => {
            let message = format!("{other:?} is no TLS version that can be the minimum");
            Err((message, "use \"1.2\" or \"1.3\"".to_owned()))
        }
    }
}

/// Whether a self-signed certificate is shown while there is none.
fn while_waiting(value: &str) -> Result<bool, Wrong> {
    match value {
        "Refuse" => Ok(false),
        "SelfSigned" => Ok(true),
        other => {
            let message = format!("{other:?} is nothing to do while a certificate is waited for");
            Err((message, "use \"Refuse\" or \"SelfSigned\"".to_owned()))
        }
    }
}

/// Names with commas between them, in the order of preference.
fn names<T: Copy + PartialEq>(
    value: &str,
    what: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, Wrong> {
    let mut chosen = Vec::new();
    for word in value.split(',').map(str::trim) {
        let Some(known) = all.iter().copied().find(|it| name(*it).eq_ignore_ascii_case(word)) else {
            let all: Vec<_> = all.iter().map(|it| name(*it)).collect();
            return Err((format!("{word:?} is no {what} that is spoken"), format!("use {}", all.join(", "))));
        };
        if chosen.contains(&known) {
            return Err((format!("{word:?} is named twice"), "name it once".to_owned()));
        }
        chosen.push(known);
    }
    Ok(chosen)
}

/// Whether any version can be spoken with the suites.
fn fit(tls: &Tls) -> Result<(), Wrong> {
    let only_1_2 = !tls.cipher_suites.is_empty() && !tls.cipher_suites.iter().any(|it| it.is_tls13());
    if tls.minimum_version == TlsVersion::V1_3 && only_1_2 {
        let message = "none of the cipher suites belongs to TLS 1.3, which is the oldest version".to_owned();
        return Err((message, "add a suite of TLS 1.3, or allow \"1.2\"".to_owned()));
    }
    Ok(())
}
