#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{PortTls, TlsError};
use sluice_ir::{Certificate, CertificateKey, HostPattern, Origin, SecretBytes, Tls, TlsVersion};
use std::collections::BTreeMap;
use std::sync::Arc;

fn certificate(name: &str) -> Arc<Certificate> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    Arc::new(Certificate {
        key: CertificateKey::new(format!("Secret/shop/{name}")),
        origin: Origin::new("Secret", "shop", name),
        names: vec![name.to_owned()],
        chain: SecretBytes::new(made.cert.pem().into_bytes()),
        private_key: SecretBytes::new(made.signing_key.serialize_pem().into_bytes()),
    })
}

fn listener(host: &str, certificates: &[&Arc<Certificate>]) -> (HostPattern, Tls) {
    let certificates = certificates.iter().map(|it| it.key.clone()).collect();
    (
        HostPattern::parse(host),
        Tls {
            certificates,
            minimum_version: TlsVersion::V1_2,
            self_signed_meanwhile: false,
            client_validation: None,
        },
    )
}

type Store = BTreeMap<CertificateKey, Arc<Certificate>>;

fn store(certificates: &[&Arc<Certificate>]) -> Store {
    certificates.iter().map(|it| (it.key.clone(), (*it).clone())).collect()
}

fn build(listeners: &[(HostPattern, Tls)], store: &Store, previous: Option<&PortTls>) -> PortTls {
    PortTls::build(listeners, |key| store.get(key).cloned(), previous).unwrap()
}

#[test]
fn five_thousand_listeners_with_one_certificate_share_one_configuration() {
    let shared = certificate("shop.example");
    let listeners: Vec<_> = (0..5000).map(|n| listener(&format!("h{n}.example"), &[&shared])).collect();
    let store = store(&[&shared]);
    let table = build(&listeners, &store, None);
    assert_eq!(table.configs.len(), 1);
    let first = table.choose(Some("h0.example")).unwrap();
    assert!(Arc::ptr_eq(first, table.choose(Some("h4999.example")).unwrap()));
    assert!(table.choose(Some("h5000.example")).is_none());
}

#[test]
fn a_rebuild_shares_what_did_not_change_even_when_the_secret_was_read_again() {
    let kept = certificate("kept.example");
    let old = certificate("changed.example");
    let listeners = [listener("kept.example", &[&kept]), listener("changed.example", &[&old])];
    let before = build(&listeners, &store(&[&kept, &old]), None);

    let read_again = Arc::new(Certificate::clone(&kept));
    let new = certificate("changed.example");
    let after = build(&listeners, &store(&[&read_again, &new]), Some(&before));
    let same = |host| Arc::ptr_eq(before.choose(Some(host)).unwrap(), after.choose(Some(host)).unwrap());
    assert!(same("kept.example"));
    assert!(!same("changed.example"));
}

#[test]
fn a_bad_certificate_spoils_only_itself() {
    let good = certificate("good.example");
    let other = certificate("other.example");
    let crossed = Arc::new(Certificate {
        key: CertificateKey::new("Secret/shop/crossed"),
        private_key: other.private_key.clone(),
        ..Certificate::clone(&good)
    });
    let empty = Arc::new(Certificate {
        key: CertificateKey::new("Secret/shop/empty"),
        chain: SecretBytes::new(b"not a certificate".to_vec()),
        ..Certificate::clone(&good)
    });
    let no_key = Arc::new(Certificate {
        key: CertificateKey::new("Secret/shop/no-key"),
        private_key: SecretBytes::new(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec(),
        ),
        ..Certificate::clone(&good)
    });
    let missing = certificate("missing.example");
    let listeners = [
        listener("good.example", &[&good]),
        listener("both.example", &[&crossed, &good]),
        listener("bad.example", &[&empty, &no_key, &missing]),
    ];
    let table = build(&listeners, &store(&[&good, &crossed, &empty, &no_key]), None);
    assert!(table.choose(Some("good.example")).is_some());
    assert!(table.choose(Some("both.example")).is_some());
    assert!(table.choose(Some("bad.example")).is_none());
    let problems: Vec<_> = table.problems().iter().map(ToString::to_string).collect();
    assert!(problems[0].starts_with("Secret/shop/crossed: tls.crt and tls.key do not fit"), "{problems:?}");
    assert_eq!(problems[1], "Secret/shop/empty: tls.crt: holds no certificate");
    assert!(problems[2].starts_with("Secret/shop/no-key: tls.key: "), "{problems:?}");
    assert_eq!(problems[3], "Secret/shop/missing.example: no such certificate");
    assert_eq!(problems[4], "listener for bad.example: none of its certificates can be used");
    assert!(matches!(table.problems()[4], TlsError::NoCertificate { .. }));
}

#[test]
fn debug_shows_no_key() {
    let good = certificate("good.example");
    let table = build(&[listener("good.example", &[&good])], &store(&[&good]), None);
    let shown = format!("{table:?} {:?}", table.choose(Some("good.example")).unwrap());
    assert!(!shown.contains("PRIVATE"), "{shown}");
    let pem = String::from_utf8(good.private_key.expose().to_vec()).unwrap();
    let line = pem.lines().nth(1).unwrap();
    assert!(!shown.contains(line), "{shown}");
}
