#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::host::{HostTls, Outcome, Served};
use super::{Certificates, Keyring, PortTls};
use sluice_ir::{Certificate, CertificateKey, HostPattern, Origin, SecretBytes, Tls};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

fn certificate(name: &str) -> Arc<Certificate> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    Arc::new(Certificate {
        key: CertificateKey::new(format!("Secret/shop/{name}")),
        origin: Origin::new("Secret", "shop", name),
        names: vec![name.to_owned()],
        chain: SecretBytes::new(made.cert.pem().into_bytes()),
        private_key: SecretBytes::new(made.signing_key.serialize_pem().into_bytes()),
        staple: None,
        on_demand: None,
    })
}

fn listener(host: &str, certificates: &[&Arc<Certificate>]) -> (HostPattern, Tls) {
    let certificates = certificates.iter().map(|it| it.key.clone()).collect();
    (HostPattern::parse(host), Tls::showing(certificates))
}

type Store = BTreeMap<CertificateKey, Arc<Certificate>>;

fn store(certificates: &[&Arc<Certificate>]) -> Store {
    certificates.iter().map(|it| (it.key.clone(), (*it).clone())).collect()
}

/// As if every certificate had changed.
fn build(
    listeners: &[(HostPattern, Tls)],
    store: &Store,
    keyring: &mut Keyring,
    before: Option<&PortTls>,
) -> PortTls {
    let listeners: Vec<_> = listeners.iter().map(|(host, tls)| (host, tls)).collect();
    let changed = store.keys().cloned().collect();
    PortTls::build(&listeners, Certificates { all: store, changed: &changed }, keyring, before)
}

fn host<'a>(table: &'a PortTls, name: &str) -> &'a Arc<HostTls> {
    table.hosts.get(&HostPattern::parse(name)).unwrap()
}

fn served<'a>(table: &'a PortTls, name: &str) -> &'a Served {
    match &host(table, name).outcome {
        Outcome::Served(served) => served,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn five_thousand_listeners_with_one_certificate_share_all_but_their_names() {
    let shared = certificate("shop.example");
    let listeners: Vec<_> = (0..5000).map(|n| listener(&format!("h{n}.example"), &[&shared])).collect();
    let store = store(&[&shared]);
    let table = build(&listeners, &store, &mut Keyring::default(), None);
    assert_eq!(table.terms.len(), 1);
    let (first, last) = (served(&table, "h0.example"), served(&table, "h4999.example"));
    assert!(first.shares_terms_with(last));
    assert!(Arc::ptr_eq(&first.keys()[0], &last.keys()[0]));
    assert!(table.choose(Some("h5000.example")).is_none());
}

#[test]
fn a_rebuild_shares_what_did_not_change_even_when_the_secret_was_read_again() {
    let kept = certificate("kept.example");
    let old = certificate("changed.example");
    let listeners = [listener("kept.example", &[&kept]), listener("changed.example", &[&old])];
    let mut keyring = Keyring::default();
    let before = build(&listeners, &store(&[&kept, &old]), &mut keyring, None);

    let read_again = Arc::new(Certificate::clone(&kept));
    let new = certificate("changed.example");
    let after = build(&listeners, &store(&[&read_again, &new]), &mut keyring, Some(&before));
    let same = |host| Arc::ptr_eq(&served(&before, host).keys()[0], &served(&after, host).keys()[0]);
    assert!(same("kept.example"));
    assert!(!same("changed.example"));
    assert!(served(&before, "changed.example").shares_terms_with(served(&after, "changed.example")));
}

#[test]
fn hosts_come_and_go_and_others_stay_as_they_are() {
    let one = certificate("example.com");
    let store = store(&[&one]);
    let mut keyring = Keyring::default();
    let listeners: Vec<_> =
        ["a.example", "b.example", "*.example", "*"].map(|it| listener(it, &[&one])).into();
    let unchanged = Default::default();
    let certificates = Certificates { all: &store, changed: &unchanged };
    let refs = |range: std::ops::Range<usize>| {
        listeners[range].iter().map(|(host, tls)| (host, tls)).collect::<Vec<_>>()
    };
    let before = PortTls::build(&refs(0..3), certificates, &mut keyring, None);
    let after = PortTls::build(&refs(1..4), certificates, &mut keyring, Some(&before));
    assert!(Arc::ptr_eq(host(&before, "b.example"), host(&after, "b.example")));
    assert!(before.choose(Some("other.test")).is_none() && after.choose(Some("other.test")).is_some());
    assert!(after.hosts.get(&HostPattern::parse("a.example")).is_none());
    assert_eq!(after.hosts.len(), 3);
}

/// The figure of a change among many: what it must not grow with is the number of hosts.
#[test]
fn a_renewed_certificate_touches_only_its_host() {
    const HOSTS: usize = 10_000;
    let certificates: Vec<_> = (0..20).map(|n| certificate(&format!("c{n}.example"))).collect();
    // Many hosts and few keys: only the pointers count here.
    let named = |n: usize, certificate: &Arc<Certificate>| {
        Arc::new(Certificate {
            key: CertificateKey::new(format!("Secret/shop/{n}")),
            ..Certificate::clone(certificate)
        })
    };
    let all: Vec<_> = (0..HOSTS).map(|n| named(n, &certificates[n % 20])).collect();
    let listeners: Vec<_> = (0..HOSTS).map(|n| listener(&format!("h{n}.example"), &[&all[n]])).collect();
    let mut store = store(&all.iter().collect::<Vec<_>>());
    let mut keyring = Keyring::default();
    let started = Instant::now();
    let before = build(&listeners, &store, &mut keyring, None);
    let built = started.elapsed();

    let new = named(77, &certificate("c-new.example"));
    store.insert(new.key.clone(), new.clone());
    let changed = [new.key.clone()].into_iter().collect();
    let host_77 = HostPattern::parse("h77.example");
    let started = Instant::now();
    let after = before
        .with_certificates_of(&[&host_77], Certificates { all: &store, changed: &changed }, &mut keyring)
        .unwrap();
    println!("{HOSTS} hosts built in {built:?}, one renewed in {:?}", started.elapsed());
    let differ = (0..HOSTS).filter(|n| {
        let name = format!("h{n}.example");
        !Arc::ptr_eq(host(&before, &name), host(&after, &name))
    });
    assert_eq!(differ.collect::<Vec<_>>(), [77]);
    assert!(served(&before, "h77.example").shares_terms_with(served(&after, "h77.example")));
    drop(before);
    assert!(keyring.len() <= 2 * HOSTS);
}

#[test]
fn a_host_that_loses_its_only_certificate_asks_for_a_new_plan() {
    let good = certificate("good.example");
    let mut store = store(&[&good]);
    let mut keyring = Keyring::default();
    let before = build(&[listener("good.example", &[&good])], &store, &mut keyring, None);
    store.clear();
    let changed = [good.key.clone()].into_iter().collect();
    let certificates = Certificates { all: &store, changed: &changed };
    let host = HostPattern::parse("good.example");
    assert!(before.with_certificates_of(&[&host], certificates, &mut keyring).is_none());
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
    let store = store(&[&good, &crossed, &empty, &no_key]);
    let table = build(&listeners, &store, &mut Keyring::default(), None);
    assert!(table.choose(Some("good.example")).is_some());
    assert!(table.choose(Some("both.example")).is_some());
    assert!(table.choose(Some("bad.example")).is_none());
    assert_eq!(table.refusal(&HostPattern::parse("both.example")), None);
    let reasons = table.refusal(&HostPattern::parse("bad.example")).unwrap();
    let reasons: Vec<_> = reasons.split("; ").collect();
    assert_eq!(reasons[0], "Secret/shop/empty: tls.crt: holds no certificate");
    assert!(reasons[1].starts_with("Secret/shop/no-key: tls.key: "), "{reasons:?}");
    assert_eq!(reasons[2], "Secret/shop/missing.example: no such certificate");
    assert_eq!(reasons[3], "listener for bad.example: none of its certificates can be used");
}

#[test]
fn debug_shows_no_key() {
    let good = certificate("good.example");
    let table = build(&[listener("good.example", &[&good])], &store(&[&good]), &mut Keyring::default(), None);
    let shown = format!(
        "{table:?} {:?} {:?}",
        host(&table, "good.example"),
        table.choose(Some("good.example")).unwrap()
    );
    assert!(!shown.contains("PRIVATE"), "{shown}");
    let pem = String::from_utf8(good.private_key.expose().to_vec()).unwrap();
    let line = pem.lines().nth(1).unwrap();
    assert!(!shown.contains(line), "{shown}");
}
