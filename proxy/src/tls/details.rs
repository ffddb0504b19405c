//! A certificate's details in one line of text, in the form that Envoy made common (XFCC):
//! `Hash=…;Cert="…";Chain="…";Subject="…";URI=…;DNS=…`.
//!
//! Every value is written so that it can't end early: text with a separator stands in quotes, quotes and backslashes
//! within are escaped, and what is no visible ASCII is percent-encoded.

use super::subject;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use sluice_ir::ClientCertificateField as Field;
use std::fmt::Write as _;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Longest text. One that would be longer is none at all: a backend that is told half of it could take it for whole.
const MOST_BYTES: usize = 16 * 1024;

/// The fields of a chain, its leaf first; `None` when there is nothing to tell.
pub(crate) fn of(chain: &[CertificateDer<'_>], fields: &[Field]) -> Option<String> {
    let leaf = chain.first()?;
    let parsed = X509Certificate::from_der(leaf).ok().map(|(_, parsed)| parsed);
    let mut pairs: Vec<String> = Vec::with_capacity(fields.len());
    for field in fields {
        match field {
            Field::Hash => pairs.push(format!("Hash={}", hex(&Sha256::digest(leaf)))),
            Field::Cert => pairs.push(format!("Cert=\"{}\"", encoded_pem(&chain[..1]))),
            Field::Chain => pairs.push(format!("Chain=\"{}\"", encoded_pem(chain))),
            Field::Subject => {
                let subject = parsed.as_ref().map(|it| subject::rfc2253(it.subject())).unwrap_or_default();
                pairs.push(format!("Subject={}", quoted(&subject)));
            }
            Field::Uri | Field::Dns => pairs.extend(parsed.iter().flat_map(|it| names(it, *field))),
        }
    }
    let text = pairs.join(";");
    (!text.is_empty() && text.len() <= MOST_BYTES).then_some(text)
}

/// What a workload is told of a peer of the mesh, as Istio's sidecars do: whose certificate it is, and to whom it was shown.
pub(crate) fn of_peer(chain: &[CertificateDer<'_>], own: &str, peer: &str) -> Option<String> {
    let hash = hex(&Sha256::digest(chain.first()?));
    Some(format!("By={};Hash={hash};Subject=\"\";URI={}", value(own), value(peer)))
}

/// The subject of a chain's leaf; `None` when it has none.
pub(crate) fn subject(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(subject::rfc2253(parsed.subject())).filter(|it| !it.is_empty())
}

/// The SPIFFE ID of a chain's leaf, which is its only URI; `None` when it has none, or more.
pub(crate) fn spiffe_id(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let only = uris.next().filter(|uri| uri.starts_with("spiffe://"))?;
    uris.next().is_none().then(|| only.to_owned())
}

/// Alternative names of one kind.
fn names(certificate: &X509Certificate<'_>, wanted: Field) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match (name, wanted) {
            (GeneralName::URI(uri), Field::Uri) => Some(format!("URI={}", value(uri))),
            (GeneralName::DNSName(name), Field::Dns) => Some(format!("DNS={}", value(name))),
            _ => None,
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// In quotes where a separator would end it.
fn value(text: &str) -> String {
    let needs_quotes = text.is_empty() || text.contains([',', ';', '=', '"', '\\', ' ']);
    if needs_quotes { quoted(text) } else { visible(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text).replace('\\', "\\\\").replace('"', "\\\""))
}

/// What is no visible ASCII, percent-encoded; `%` too, so that it can be undone.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// PEM, URL-encoded.
fn encoded_pem(chain: &[CertificateDer<'_>]) -> String {
    let mut out = String::new();
    for certificate in chain {
        out.push_str("-----BEGIN%20CERTIFICATE-----%0A");
        let text = BASE64_STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            for byte in line {
                match byte {
                    b'+' => out.push_str("%2B"),
                    b'/' => out.push_str("%2F"),
                    b'=' => out.push_str("%3D"),
                    byte => out.push(char::from(*byte)),
                }
            }
            out.push_str("%0A");
        }
        out.push_str("-----END%20CERTIFICATE-----%0A");
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{MOST_BYTES, of, quoted, value};
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};
    use rustls_pki_types::CertificateDer;
    use sluice_ir::ClientCertificateField as Field;

    fn certificate(common: &str, uris: &[&str], names: &[&str]) -> CertificateDer<'static> {
        let mut params =
            CertificateParams::new(names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Sluice, \"Tests\"");
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names.extend(uris.iter().map(|it| SanType::URI((*it).try_into().unwrap())));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_fields_stand_in_their_order() {
        let leaf = certificate("client", &["spiffe://a/b", "https://x/?a=1;b"], &["a.test", "b.test"]);
        let told = of(std::slice::from_ref(&leaf), &Field::ALL).unwrap();
        let hash = told.strip_prefix("Hash=").unwrap();
        assert!(hash[..64].bytes().all(|byte| byte.is_ascii_hexdigit()), "{told}");
        assert!(told.contains(";Cert=\"-----BEGIN%20CERTIFICATE-----%0AM"), "{told}");
        let end = "Subject=\"CN=client,O=Sluice\\\\, \\\\\\\"Tests\\\\\\\"\";URI=spiffe://a/b;\
                   URI=\"https://x/?a=1;b\";DNS=a.test;DNS=b.test";
        assert!(told.ends_with(end), "{told}");
    }

    #[test]
    fn no_value_can_end_early() {
        assert_eq!(value("a\";URI=b"), r#""a\";URI=b""#);
        assert_eq!(value("a\\\";URI=b"), r#""a\\\";URI=b""#);
        assert_eq!(quoted("a\r\nx: y\0\u{e4}"), "\"a%0D%0Ax: y%00%C3%A4\"");
        assert_eq!(value("100%"), "100%25");
    }

    #[test]
    fn what_would_be_too_long_is_not_told_at_all() {
        let long = format!("spiffe://{}", "a".repeat(MOST_BYTES));
        let leaf = certificate("client", &[&long], &[]);
        let told = |fields: &[Field]| of(std::slice::from_ref(&leaf), fields);
        assert!(told(&[Field::Hash, Field::Uri]).is_none());
        assert!(told(&[Field::Hash]).is_some());
        assert!(told(&[]).is_none() && of(&[], &Field::ALL).is_none());
    }
}
