//! Which certificates are believed, and everything that only looks like one of a workload.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Purpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose as KeyUse,
    NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use sluice_xds::svid::{Roots, SvidError, Usage, id_of, validity};
use std::time::Duration;

type Ca = CertifiedIssuer<'static, KeyPair>;

const ID: &str = "spiffe://cluster.local/ns/shop/sa/cart";

fn authority(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUse::KeyCertSign, KeyUse::CrlSign];
    edit(&mut params);
    (params, KeyPair::generate().unwrap())
}

fn root(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Ca {
    let (params, key) = authority(name, edit);
    Ca::self_signed(params, key).unwrap()
}

fn below(ca: &Ca, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Ca {
    let (params, key) = authority(name, edit);
    Ca::signed_by(params, key, ca).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(ID)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUse::DigitalSignature];
    params.extended_key_usages = vec![Purpose::ServerAuth, Purpose::ClientAuth];
    params
}

fn leaf(ca: &Issuer<'_, KeyPair>, edit: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = params();
    edit(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), ca).unwrap().der().clone()
}

fn now() -> UnixTime {
    UnixTime::now()
}

fn later(days: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs() + days * 86_400))
}

fn roots(all: &[&Ca]) -> Roots {
    Roots::from_pem(all.iter().map(|it| it.pem()).collect::<String>().as_bytes()).unwrap()
}

fn verdict(roots: &Roots, chain: &[CertificateDer<'_>]) -> Result<String, SvidError> {
    let as_server = roots.verify(chain, Usage::Server, now());
    let as_client = roots.verify(chain, Usage::Client, now());
    assert_eq!(as_server, as_client);
    as_client.map(|id| id.to_string())
}

#[test]
fn a_certificate_of_a_workload_is_believed_whatever_its_key_and_its_chain() {
    let ca = root("root", |_| {});
    let roots = roots(&[&ca]);
    assert_eq!(verdict(&roots, &[leaf(&ca, |_| {})]).unwrap(), ID);
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params().signed_by(&key, &ca).unwrap().der().clone();
        assert_eq!(id_of(&certificate).unwrap().as_str(), ID);
        assert_eq!(verdict(&roots, &[certificate]).unwrap(), ID);
    }
    let middle = below(&ca, "middle", |_| {});
    let last = below(&middle, "last", |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let chain = [leaf(&last, |_| {}), last.der().clone(), middle.der().clone()];
    assert_eq!(verdict(&roots, &chain).unwrap(), ID);
    // Also with names that say nothing here.
    let named = leaf(&ca, |it| {
        it.subject_alt_names.push(SanType::DnsName(Ia5String::try_from("cart.shop.svc").unwrap()));
        it.distinguished_name.push(DnType::CommonName, "whatever");
    });
    assert_eq!(verdict(&roots, &[named]).unwrap(), ID);
}

#[test]
fn a_name_that_is_no_identity_is_never_let_through() {
    let ca = root("root", |_| {});
    let roots = roots(&[&ca]);
    for name in [
        "SPIFFE://cluster.local/ns/shop/sa/cart",
        "spiffe://Cluster.local/ns/shop/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/cart/",
        "spiffe://cluster.local//ns/shop/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/cart/extra",
        "spiffe://cluster.local/ns/shop/sa/../cart",
        "spiffe://cluster.local/ns/shop/../shop/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/*",
        "spiffe://*.local/ns/shop/sa/cart",
        "spiffe://user@cluster.local/ns/shop/sa/cart",
        "spiffe://cluster.local:8443/ns/shop/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/cart?x=y",
        "spiffe://cluster.local/ns/shop/sa/cart#x",
        "spiffe://cluster.local/ns/shop/sa/c%61rt",
        "spiffe://cluster.local/ns/shop/sa/cart\0",
        "spiffe://cluster.local\0.evil/ns/shop/sa/cart",
        "spiffe://cluster.local",
        "spiffe:///ns/shop/sa/cart",
        "https://cluster.local/ns/shop/sa/cart",
        "cluster.local/ns/shop/sa/cart",
        "",
    ] {
        let forged = leaf(&ca, |it| it.subject_alt_names = vec![uri(name)]);
        assert!(verdict(&roots, &[forged]).is_err(), "{name:?}");
    }
}

#[test]
fn one_identity_is_named_and_nothing_stands_for_it() {
    let ca = root("root", |_| {});
    let roots = roots(&[&ca]);
    let dns = |name: &str| SanType::DnsName(Ia5String::try_from(name).unwrap());
    let names: [(&str, Vec<SanType>); 6] = [
        ("two", vec![uri(ID), uri("spiffe://cluster.local/ns/shop/sa/admin")]),
        ("the same twice", vec![uri(ID), uri(ID)]),
        ("another URI before it", vec![uri("https://example.com"), uri(ID)]),
        ("DNS alone", vec![dns("cart.shop.svc")]),
        ("a DNS name that looks like it", vec![dns(ID)]),
        ("mail", vec![SanType::Rfc822Name(Ia5String::try_from(ID).unwrap())]),
    ];
    for (what, names) in names {
        let forged = leaf(&ca, |it| it.subject_alt_names = names);
        assert!(verdict(&roots, &[forged]).is_err(), "{what}");
    }
    let none = leaf(&ca, |it| {
        it.subject_alt_names.clear();
        it.distinguished_name.push(DnType::CommonName, ID);
    });
    assert!(verdict(&roots, &[none]).is_err(), "the common name is no name");
    // A second extension of names, which some readers would take instead of the first.
    let mut names = vec![0x30, 40, 0x86, 38];
    names.extend(b"spiffe://cluster.local/ns/shop/sa/root");
    let twice = leaf(&ca, |it| {
        it.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
    });
    assert!(verdict(&roots, &[twice]).is_err(), "two extensions");
    // Bytes that are no text.
    let mut names = vec![0x30, 4, 0x86, 2];
    names.extend([0xff, 0xfe]);
    let binary = leaf(&ca, |it| {
        it.subject_alt_names.clear();
        it.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
    });
    assert!(verdict(&roots, &[binary]).is_err(), "no text");
}

#[test]
fn what_a_certificate_is_for_and_who_signed_it_must_fit() {
    let ca = root("root", |_| {});
    let roots = roots(&[&ca]);
    type Edit = fn(&mut CertificateParams);
    let edits: [(&str, Edit); 9] = [
        ("an authority", |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ("an authority without saying so", |it| {
            it.key_usages = vec![KeyUse::DigitalSignature, KeyUse::KeyCertSign]
        }),
        ("no signatures", |it| it.key_usages = vec![KeyUse::KeyEncipherment]),
        ("no key usage", |it| it.key_usages.clear()),
        ("code", |it| it.extended_key_usages = vec![Purpose::CodeSigning]),
        ("anything", |it| it.extended_key_usages = vec![Purpose::Any]),
        ("nothing said", |it| it.extended_key_usages.clear()),
        ("ended", |it| {
            it.not_before = date_time_ymd(2020, 1, 1);
            it.not_after = date_time_ymd(2020, 1, 2);
        }),
        ("not begun", |it| it.not_before = date_time_ymd(2090, 1, 1)),
    ];
    for (what, edit) in edits {
        assert!(verdict(&roots, &[leaf(&ca, edit)]).is_err(), "{what}");
    }
    // For one side only.
    let client = leaf(&ca, |it| it.extended_key_usages = vec![Purpose::ClientAuth]);
    assert!(roots.verify(std::slice::from_ref(&client), Usage::Client, now()).is_ok());
    assert!(roots.verify(&[client], Usage::Server, now()).is_err());

    let own = params().self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    assert!(verdict(&roots, &[own]).is_err(), "signed by itself");
    let other = root("root", |_| {});
    assert!(verdict(&roots, &[leaf(&other, |_| {})]).is_err(), "an authority of the same name");
    assert!(verdict(&roots, &[leaf(&other, |_| {}), other.der().clone()]).is_err(), "that comes along");
    assert!(verdict(&roots, &[]).is_err(), "none");
    let mut torn = leaf(&ca, |_| {}).to_vec();
    torn.push(0);
    assert!(verdict(&roots, &[torn.clone().into()]).is_err(), "more bytes than it has");
    torn.truncate(100);
    assert!(verdict(&roots, &[torn.into()]).is_err(), "fewer");
    // A workload signs for another.
    let mut workload = params();
    workload.key_usages.push(KeyUse::KeyCertSign);
    let workload = Ca::signed_by(workload, KeyPair::generate().unwrap(), &ca).unwrap();
    let forged = leaf(&workload, |it| {
        it.subject_alt_names = vec![uri("spiffe://cluster.local/ns/kube-system/sa/admin")]
    });
    assert!(verdict(&roots, &[forged, workload.der().clone()]).is_err(), "a workload signs");
    let flood: Vec<_> = std::iter::once(leaf(&ca, |_| {})).chain((0..40).map(|_| ca.der().clone())).collect();
    assert!(verdict(&roots, &flood).is_err(), "many certificates");
}

#[test]
fn an_authority_for_other_names_does_not_sign_this_one() {
    let ca = root("root", |_| {});
    let roots = roots(&[&ca]);
    // uniformResourceIdentifier, [6]: this verifier knows no constraints on URIs and refuses them all.
    let constrained = |host: &str, is_permitted: bool| {
        let tag = if is_permitted { 0xa0 } else { 0xa1 };
        let length = u8::try_from(host.len()).unwrap();
        let mut der = vec![0x30, length + 6, tag, length + 4, 0x30, length + 2, 0x86, length];
        der.extend(host.as_bytes());
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], der);
        extension.set_criticality(true);
        extension
    };
    for (host, is_permitted) in [("other.example", true), ("cluster.local", false)] {
        let middle = below(&ca, "middle", |it| it.custom_extensions.push(constrained(host, is_permitted)));
        let chain = [leaf(&middle, |_| {}), middle.der().clone()];
        assert!(verdict(&roots, &chain).is_err(), "{host}");
    }
    let dns = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("shop.svc".to_owned())],
        excluded_subtrees: vec![],
    };
    let middle = below(&ca, "middle", |it| it.name_constraints = Some(dns));
    let named = |name: &str| {
        let leaf = leaf(&middle, |it| {
            it.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name).unwrap()));
        });
        verdict(&roots, &[leaf, middle.der().clone()])
    };
    assert!(named("cart.shop.svc").is_ok());
    assert!(named("cart.other.svc").is_err());
    // An authority that may have none below it.
    let narrow = below(&ca, "narrow", |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let further = below(&narrow, "further", |_| {});
    let chain = [leaf(&further, |_| {}), further.der().clone(), narrow.der().clone()];
    assert!(verdict(&roots, &chain).is_err(), "too long a path");
}

#[test]
fn several_roots_are_trusted_side_by_side_and_none_after_its_end() {
    let (old, new) = (
        root("old", |it| {
            it.not_before = date_time_ymd(2020, 1, 1);
            it.not_after = date_time_ymd(2090, 1, 1);
        }),
        root("new", |_| {}),
    );
    let both = roots(&[&old, &new]);
    assert_eq!(both, roots(&[&new, &old, &new]));
    assert_ne!(both, roots(&[&new]));
    assert_eq!(both.certificates().count(), 2);
    for ca in [&old, &new] {
        assert!(verdict(&both, &[leaf(ca, |_| {})]).is_ok());
    }
    let (from, until) = validity(old.der()).unwrap();
    assert!(from < now() && until == both.first_end());
    let after = UnixTime::since_unix_epoch(Duration::from_secs(until.as_secs() + 1));
    // The leaves would still be valid.
    assert!(both.verify(&[leaf(&old, |_| {})], Usage::Client, after).is_err());
    assert!(both.verify(&[leaf(&new, |_| {})], Usage::Client, after).is_ok());
    assert!(both.verify(&[leaf(&old, |_| {})], Usage::Client, later(1)).is_ok());
}

#[test]
fn a_bundle_of_roots_holds_authorities_and_nothing_else() {
    let ca = root("root", |_| {});
    let refused = |pem: &str| Roots::from_pem(pem.as_bytes()).unwrap_err().to_string();
    assert!(refused("").contains("there is none"));
    assert!(
        refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("no certificate")
    );
    let workload = params().self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    assert!(refused(&format!("{}{workload}", ca.pem())).contains("not the certificate of an authority"));
    let many: String = (0..65).map(|_| root("root", |_| {}).pem()).collect();
    assert!(refused(&many).contains("more than 64"));
}
