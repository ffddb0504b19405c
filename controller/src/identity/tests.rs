//! The port as workloads see it: TLS, gRPC, tokens and certificates, with an authority in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::authority::Authority;
use super::pem::Certificate;
use super::signer::Signer;
use super::{Domains, Issuer};
use crate::admin::Metrics;
use crate::ca::{Root, ServingCertificate};
use crate::serve::{Authenticator, Denied, Distributor, ProxyIdentity, ServeOptions, serve};
use async_trait::async_trait;
use http::Uri;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use sluice_xds::connect::Connection;
use sluice_xds::identity::{CertificateRequest, CertificateResponse, create_certificate};
use sluice_xds::svid::{PROVIDER, Roots, Usage, id_of, validity};
use sluice_xds::{Struct, Value};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};

/// `NAMESPACE/ACCOUNT/POD` is the token of that pod.
struct Tokens;

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str) -> Result<ProxyIdentity, Denied> {
        match token.split('/').collect::<Vec<_>>().as_slice() {
            ["unavailable"] => Err(Denied::Unavailable("the API server is away".to_owned())),
            [namespace, account, pod] => Ok(ProxyIdentity {
                namespace: (*namespace).to_owned(),
                service_account: (*account).to_owned(),
                pod: Some((*pod).to_owned()),
                expires: None,
            }),
            _ => Err(Denied::Invalid("nobody knows it".to_owned())),
        }
    }
}

fn authority(root: &Root) -> Arc<Authority> {
    let certificate = Certificate::all(root.certificate.as_bytes()).unwrap().remove(0);
    let signer = Signer::new(root, Vec::new(), &certificate, root.not_after).unwrap();
    let domains = Domains { own: "td.example".to_owned(), aliases: vec!["old.example".to_owned()] };
    let roots = Roots::from_pem(certificate.pem.as_bytes()).unwrap();
    Arc::new(Authority { signer: Arc::new(signer), domains, bundle: certificate.pem, roots })
}

struct Stand {
    address: Uri,
    ca: String,
    authority: watch::Sender<Option<Arc<Authority>>>,
    metrics: Arc<Metrics>,
    _stop: DropGuard,
}

impl Stand {
    async fn start() -> Self {
        let (now, stop) = (SystemTime::now(), CancellationToken::new());
        let root = Root::generate(now).unwrap();
        let serving = ServingCertificate::new(&root, vec!["controller".to_owned()], now).unwrap();
        let (authority, seen) = watch::channel(Some(authority(&Root::generate(now).unwrap())));
        let metrics = Arc::new(Metrics::default());
        let mut options = ServeOptions::new("127.0.0.1:0".parse().unwrap(), "controller-0");
        let longest = Duration::from_secs(48 * 3600);
        options.issuer = Some(Arc::new(Issuer::new(seen, longest, metrics.clone())));
        let bound = serve(Distributor::new(), options, Arc::new(Tokens), Arc::new(serving), stop.clone())
            .await
            .unwrap();
        let address = format!("https://127.0.0.1:{}", bound.port()).parse().unwrap();
        Self { address, ca: root.certificate, authority, metrics, _stop: stop.drop_guard() }
    }

    async fn ask(
        &self,
        token: Option<&str>,
        shown: Option<Arc<CertifiedKey>>,
        request: CertificateRequest,
    ) -> Result<CertificateResponse, Status> {
        let ca = self.ca.as_bytes();
        let connection = Connection::open_as(&self.address, Some("controller"), ca, shown).await.unwrap();
        create_certificate(connection.service(), token, request).await
    }

    /// Asks for a key of its own.
    async fn get(
        &self,
        token: Option<&str>,
        shown: Option<Arc<CertifiedKey>>,
    ) -> Result<Arc<CertifiedKey>, Status> {
        let key = KeyPair::generate().unwrap();
        let answer = self.ask(token, shown, request(&key, 0)).await?;
        let leaf = Certificate::all(answer.cert_chain[0].as_bytes()).unwrap().remove(0);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = PROVIDER.key_provider.load_private_key(key).unwrap();
        Ok(Arc::new(CertifiedKey::new(vec![leaf.der], key)))
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|it| it == format!("sluice_controller_workload_{line}"))
    }
}

fn request(key: &KeyPair, validity_duration: i64) -> CertificateRequest {
    // What it names must not matter.
    let mut params = CertificateParams::new(vec!["kubernetes.default.svc".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::URI("spiffe://td.example/ns/kube-system/sa/admin".try_into().unwrap()));
    params.distinguished_name.push(DnType::CommonName, "spiffe://td.example/ns/kube-system/sa/admin");
    let csr = params.serialize_request(key).unwrap().pem().unwrap();
    CertificateRequest { csr, validity_duration, metadata: None }
}

#[tokio::test]
async fn a_token_gets_a_certificate_of_its_own_account_whatever_the_request_names() {
    let stand = Stand::start().await;
    let key = KeyPair::generate().unwrap();
    let answer = stand.ask(Some("shop/cart/cart-1"), None, request(&key, 3600)).await.unwrap();
    let [leaf, roots] = answer.cert_chain.as_slice() else { panic!("{answer:?}") };
    let roots = Roots::from_pem(roots.as_bytes()).unwrap();
    let leaf = Certificate::all(leaf.as_bytes()).unwrap().remove(0).der;
    for usage in [Usage::Client, Usage::Server] {
        let id = roots.verify(std::slice::from_ref(&leaf), usage, UnixTime::now()).unwrap();
        assert_eq!(id.as_str(), "spiffe://td.example/ns/shop/sa/cart");
    }
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(parsed.subject().iter().count(), 0);
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical && names.value.general_names.len() == 1);
    assert_eq!(parsed.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
    assert!(!parsed.is_ca());
    let again = stand.ask(Some("shop/cart/cart-1"), None, request(&key, 3600)).await.unwrap();
    let again = Certificate::all(again.cert_chain[0].as_bytes()).unwrap().remove(0).der;
    let (_, again) = x509_parser::parse_x509_certificate(&again).unwrap();
    assert_ne!(parsed.raw_serial(), again.raw_serial());
    assert!(stand.counted("certificates_issued_total{by=\"token\"} 2"), "{}", stand.metrics.text());
}

#[tokio::test]
async fn the_life_of_a_certificate_has_a_bound_and_begins_a_little_earlier() {
    let stand = Stand::start().await;
    for (asked_s, hours) in [(0, 24.0), (3600, 1.0), (i64::MAX, 48.0)] {
        let key = KeyPair::generate().unwrap();
        let answer = stand.ask(Some("shop/cart/a"), None, request(&key, asked_s)).await.unwrap();
        let leaf = Certificate::all(answer.cert_chain[0].as_bytes()).unwrap().remove(0).der;
        let (begin, end) = validity(&leaf).unwrap();
        let now = UnixTime::now().as_secs();
        let left_h = (end.as_secs() - now) as f64 / 3600.0;
        assert!((left_h - hours).abs() < 0.1, "{asked_s}: {left_h}");
        assert!(begin.as_secs() < now && begin.as_secs() >= now - 601);
    }
    let key = KeyPair::generate().unwrap();
    let refused = stand.ask(Some("shop/cart/a"), None, request(&key, -1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn who_has_neither_a_good_token_nor_a_certificate_gets_nothing() {
    let stand = Stand::start().await;
    for (token, code) in [
        (None, Code::Unauthenticated),
        (Some("nonsense"), Code::Unauthenticated),
        (Some("unavailable"), Code::Unavailable),
    ] {
        let refused = stand.get(token, None).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    assert!(stand.counted("certificates_refused_total{reason=\"unauthenticated\"} 2"));
    assert!(stand.counted("certificates_refused_total{reason=\"unavailable\"} 1"));
    // An account that can't be a part of an identity.
    assert_eq!(stand.get(Some("shop/a b/c"), None).await.unwrap_err().code(), Code::Internal);
    // Node agents ask for others.
    let value = Value { string_value: Some("spiffe://td.example/ns/shop/sa/other".to_owned()) };
    let metadata = Some(Struct { fields: [("ImpersonatedIdentity".to_owned(), value)].into() });
    let asked = CertificateRequest { metadata, ..request(&KeyPair::generate().unwrap(), 0) };
    assert_eq!(stand.ask(Some("a/b/c"), None, asked).await.unwrap_err().code(), Code::PermissionDenied);
    let no_csr = CertificateRequest { csr: "nonsense".to_owned(), ..CertificateRequest::default() };
    assert_eq!(stand.ask(Some("a/b/c"), None, no_csr).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_certificate_renews_itself_while_nobody_can_check_tokens() {
    let stand = Stand::start().await;
    let shown = stand.get(Some("shop/cart/cart-1"), None).await.unwrap();
    for token in [Some("unavailable"), None] {
        let renewed = stand.get(token, Some(shown.clone())).await.unwrap();
        assert_eq!(id_of(&renewed.cert[0]).unwrap().principal(), "td.example/ns/shop/sa/cart");
    }
    assert!(stand.counted("certificates_issued_total{by=\"certificate\"} 2"));
    // A bad token is not made good by a certificate, and a good one counts alone.
    let refused = stand.get(Some("nonsense"), Some(shown.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let other = stand.get(Some("shop/web/web-1"), Some(shown.clone())).await.unwrap();
    assert_eq!(id_of(&other.cert[0]).unwrap().service_account(), "web");
    // When the authority is another one, the certificate is worth nothing.
    stand.authority.send_replace(Some(authority(&Root::generate(SystemTime::now()).unwrap())));
    let refused = stand.get(None, Some(shown.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    // Nor is one that the controller itself shows, or that somebody made for himself.
    let own =
        Root::generate(SystemTime::now()).unwrap().sign(&["cart".to_owned()], SystemTime::now()).unwrap();
    assert!(stand.get(None, Some(Arc::new(own))).await.is_err());
    stand.authority.send_replace(None);
    assert_eq!(stand.get(Some("a/b/c"), None).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_identity_of_an_alias_becomes_one_of_the_mesh_and_a_stranger_none() {
    let stand = Stand::start().await;
    let signer = stand.authority.borrow().as_ref().unwrap().signer.clone();
    let signed = |id: &str| {
        let key = KeyPair::generate().unwrap();
        let csr = super::csr::read(&request(&key, 0).csr).unwrap();
        let leaf =
            signer.sign(&id.parse().unwrap(), &csr, Duration::from_secs(60), SystemTime::now()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(CertifiedKey::new(vec![leaf.der], PROVIDER.key_provider.load_private_key(key).unwrap()))
    };
    let renewed = stand.get(None, Some(signed("spiffe://old.example/ns/shop/sa/cart"))).await.unwrap();
    assert_eq!(id_of(&renewed.cert[0]).unwrap().as_str(), "spiffe://td.example/ns/shop/sa/cart");
    let refused = stand.get(None, Some(signed("spiffe://other.example/ns/shop/sa/cart"))).await.unwrap_err();
    assert!(refused.message().contains("its trust domain is other.example"), "{refused:?}");
}

#[tokio::test]
async fn a_pod_that_asks_all_the_time_is_refused_and_others_are_not() {
    let stand = Stand::start().await;
    let mut codes = Vec::new();
    for _ in 0..25 {
        codes.push(stand.get(Some("shop/cart/mad"), None).await.map_err(|it| it.code()));
    }
    assert!(codes[..20].iter().all(Result::is_ok));
    assert!(codes[22..].iter().all(|it| it.as_ref().is_err_and(|code| *code == Code::ResourceExhausted)));
    assert!(stand.get(Some("shop/cart/calm"), None).await.is_ok());
}
