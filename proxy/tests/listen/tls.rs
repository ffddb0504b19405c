//! TLS: server names, ALPN, resumption, and what is refused.

use crate::support::{Server, WANTED, get, read_response, read_to_end, within};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sluice_ir::{
    Certificate, CertificateKey, CipherSuite, HostPattern, KeyExchangeGroup, Origin, SecretBytes, Tls,
    TlsVersion,
};
use sluice_proxy::listen::PortConfig;
use sluice_proxy::tls::{Certificates, Keyring, PortTls};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority and the certificates it has issued.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
    /// The authority itself, in PEM.
    pub(crate) pem: String,
    pub(crate) issued: BTreeMap<CertificateKey, Arc<Certificate>>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            roots: Arc::new(roots),
            pem: root.pem(),
            issued: BTreeMap::new(),
        }
    }

    pub(crate) fn issue(
        &mut self,
        key: &str,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> CertificateKey {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = CertificateParams::new(names.clone()).unwrap().signed_by(&pair, &self.issuer).unwrap();
        let key = CertificateKey::new(key);
        let certificate = Certificate {
            key: key.clone(),
            origin: Origin::new("Secret", "shop", "x"),
            names,
            chain: SecretBytes::new(leaf.pem().into_bytes()),
            private_key: SecretBytes::new(pair.serialize_pem().into_bytes()),
            staple: None,
            on_demand: None,
        };
        self.issued.insert(key.clone(), Arc::new(certificate));
        key
    }

    fn port(&self, listeners: &[(&str, &[&CertificateKey])], previous: Option<&PortTls>) -> Arc<PortTls> {
        let listeners: Vec<_> = listeners
            .iter()
            .map(|(host, keys)| {
                let certificates = keys.iter().map(|key| (*key).clone()).collect();
                (HostPattern::parse(host), Tls::showing(certificates))
            })
            .collect();
        let table = self.table(&listeners, previous);
        for (host, _) in &listeners {
            assert_eq!(table.refusal(host), None);
        }
        Arc::new(table)
    }

    /// As if every certificate had changed.
    pub(crate) fn table(&self, listeners: &[(HostPattern, Tls)], previous: Option<&PortTls>) -> PortTls {
        let listeners: Vec<_> = listeners.iter().map(|(host, tls)| (host, tls)).collect();
        let changed = self.issued.keys().cloned().collect();
        let certificates = Certificates { all: &self.issued, changed: &changed };
        PortTls::build(&listeners, certificates, &mut Keyring::default(), previous)
    }

    fn client(&self, alpn: &[&str], versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsConnector {
        self.client_showing(None, alpn, versions)
    }

    /// A client with a certificate.
    pub(crate) fn client_showing(
        &self,
        certificate: Option<&Certificate>,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> TlsConnector {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match certificate {
            Some(certificate) => {
                let chain = CertificateDer::pem_slice_iter(certificate.chain.expose()).map(Result::unwrap);
                let key = PrivateKeyDer::from_pem_slice(certificate.private_key.expose()).unwrap();
                builder.with_client_auth_cert(chain.collect(), key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(32);
        TlsConnector::from(Arc::new(config))
    }
}

pub(crate) fn config(tls: Arc<PortTls>) -> PortConfig {
    PortConfig { tls: Some(tls), ..PortConfig::default() }
}

pub(crate) async fn connect(
    connector: &TlsConnector,
    server: &Server,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within(connector.connect(name, server.connect().await)).await
}

/// DER of the certificate that the server showed.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(authority: &Authority, key: &CertificateKey) -> Vec<u8> {
    CertificateDer::from_pem_slice(authority.issued[key].chain.expose()).unwrap().to_vec()
}

pub(crate) const P256: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_name_chooses_exact_then_wildcard_then_default() {
    let mut authority = Authority::new();
    let exact = authority.issue("exact", &["a.example.com"], P256);
    let wildcard = authority.issue("wildcard", &["*.example.com", "*.b.example.com"], P256);
    let default = authority.issue("default", &["other.example", "127.0.0.1"], P256);
    let listeners: &[(&str, &[&CertificateKey])] =
        &[("a.example.com", &[&exact]), ("*.example.com", &[&wildcard]), ("", &[&default])];
    let server = Server::start(config(authority.port(listeners, None))).await;
    let connector = authority.client(&[], rustls::ALL_VERSIONS);
    for (name, key, sni) in [
        ("A.Example.com", &exact, "a.example.com"),
        ("x.example.com", &wildcard, "x.example.com"),
        ("y.b.example.com", &wildcard, "y.b.example.com"),
        ("other.example", &default, "other.example"),
        ("127.0.0.1", &default, "-"),
    ] {
        let mut stream = connect(&connector, &server, name).await.unwrap();
        assert_eq!(shown(&stream), der(&authority, key), "{name}");
        stream.write_all(get("/").as_bytes()).await.unwrap();
        let answer = read_response(&mut stream).await;
        assert!(answer.contains(&format!("TLSv1.3 sni={sni} h2=false resumed=false")), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_default_listener_strangers_get_an_alert() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let server = Server::start(config(authority.port(&[("a.example", &[&key])], None))).await;
    let connector = authority.client(&[], rustls::ALL_VERSIONS);
    let error = connect(&connector, &server, "b.example").await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    server.log.wait_for("tls_failed no listener for server name b.example").await;
    let error = connect(&connector, &server, "127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("MissingExtension"), "{error}");
    server.log.wait_for("tls_failed no server name, and no listener for every host").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_chooses_http2() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let server = Server::start(config(authority.port(&[("a.example", &[&key])], None))).await;

    let connector = authority.client(&["h2", "http/1.1"], rustls::ALL_VERSIONS);
    let stream = connect(&connector, &server, "a.example").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, connection) = within(h2::client::handshake(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get("https://a.example/h2").body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let mut body = within(response).await.unwrap().into_body();
    let text = within(body.data()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&text).contains("TLSv1.3 sni=a.example h2=true"), "{text:?}");
    driver.abort();

    let connector = authority.client(&["http/1.1"], rustls::ALL_VERSIONS);
    let mut stream = connect(&connector, &server, "a.example").await.unwrap();
    stream.write_all(get("/h1").as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.contains("h2=false"));
}

/// Two data planes of one Gateway; a third has secrets of another time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_resume_each_others_sessions_until_the_secret_is_rotated_out() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let secret = |byte| SecretBytes::new(vec![byte; 32]);
    let replica = async |secrets: &[SecretBytes]| {
        let table = authority.port(&[("a.example", &[&key])], None);
        table.set_ticket_secrets(secrets);
        Server::start(config(table)).await
    };
    let first = replica(&[secret(1)]).await;
    let rotated = replica(&[secret(2), secret(1)]).await;
    let later = replica(&[secret(3), secret(2)]).await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let connector = authority.client(&["http/1.1"], versions);
        let ask = async |server: &Server| {
            let mut stream = connect(&connector, server, "a.example").await.unwrap();
            stream.write_all(get("/").as_bytes()).await.unwrap();
            read_response(&mut stream).await.contains("resumed=true")
        };
        // The next step's ticket is always that of the step before.
        let mut seen = Vec::new();
        for server in [&first, &rotated, &rotated, &later, &first, &later] {
            seen.push(ask(server).await);
        }
        assert_eq!(seen, [false, true, true, true, false, false]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_resume_in_both_versions_also_after_a_reload() {
    let mut authority = Authority::new();
    let kept = authority.issue("kept", &["kept.example"], P256);
    let first = authority.port(&[("kept.example", &[&kept])], None);
    let server = Server::start(config(first.clone())).await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let connector = authority.client(&["http/1.1"], versions);
        for resumed in [false, true] {
            let mut stream = connect(&connector, &server, "kept.example").await.unwrap();
            stream.write_all(get("/").as_bytes()).await.unwrap();
            let answer = read_response(&mut stream).await;
            assert!(answer.contains(&format!("resumed={resumed}")), "{answer}");
        }
        let other = authority.issue("other", &["other.example"], P256);
        let listeners: &[(&str, &[&CertificateKey])] =
            &[("kept.example", &[&kept]), ("other.example", &[&other])];
        let reloaded = authority.port(listeners, Some(&first));
        server.ports.apply(BTreeMap::from([(WANTED, Arc::new(config(reloaded)))])).await;
        let mut stream = connect(&connector, &server, "kept.example").await.unwrap();
        stream.write_all(get("/").as_bytes()).await.unwrap();
        let answer = read_response(&mut stream).await;
        assert!(answer.contains("resumed=true"), "{answer}");
        // A session is never resumed under another name.
        let mut stream = connect(&connector, &server, "other.example").await.unwrap();
        stream.write_all(get("/").as_bytes()).await.unwrap();
        assert!(read_response(&mut stream).await.contains("sni=other.example h2=false resumed=false"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_certificates_the_one_that_names_the_server_and_can_be_verified_is_shown() {
    let mut authority = Authority::new();
    let first = authority.issue("first", &["a.example"], &PKCS_ED25519);
    let second = authority.issue("second", &["a.example"], P256);
    let third = authority.issue("third", &["b.example"], P256);
    let server = Server::start(config(authority.port(&[("", &[&first, &second, &third])], None))).await;

    let connector = authority.client(&[], rustls::ALL_VERSIONS);
    assert_eq!(shown(&connect(&connector, &server, "a.example").await.unwrap()), der(&authority, &first));
    assert_eq!(shown(&connect(&connector, &server, "b.example").await.unwrap()), der(&authority, &third));

    // A client that knows no Ed25519.
    let mut provider = aws_lc_rs::default_provider();
    let all = provider.signature_verification_algorithms;
    let without: Vec<_> = all
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme != rustls::SignatureScheme::ED25519)
        .copied()
        .collect();
    provider.signature_verification_algorithms =
        rustls::crypto::WebPkiSupportedAlgorithms { all: all.all, mapping: Vec::leak(without) };
    let plain = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots.clone())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(plain));
    assert_eq!(shown(&connect(&connector, &server, "a.example").await.unwrap()), der(&authority, &second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_for_tls_1_3_refuses_1_2() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let listener = Tls { minimum_version: TlsVersion::V1_3, ..Tls::showing(vec![key]) };
    let table = authority.table(&[(HostPattern::Any, listener)], None);
    let server = Server::start(config(Arc::new(table))).await;
    let old = authority.client(&[], &[&rustls::version::TLS12]);
    let error = connect(&old, &server, "a.example").await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let new = authority.client(&[], rustls::ALL_VERSIONS);
    connect(&new, &server, "a.example").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_suites_and_groups_that_were_named_are_spoken_in_their_order() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let listener = Tls {
        cipher_suites: vec![CipherSuite::Chacha20Poly1305Sha256, CipherSuite::Aes128GcmSha256],
        key_exchange_groups: vec![KeyExchangeGroup::Secp384r1],
        ..Tls::showing(vec![key.clone()])
    };
    let server =
        Server::start(config(Arc::new(authority.table(&[(HostPattern::Any, listener)], None)))).await;
    let stream = connect(&authority.client(&[], rustls::ALL_VERSIONS), &server, "a.example").await.unwrap();
    let session = stream.get_ref().1;
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::secp384r1);
    // No suite of TLS 1.2 was named.
    let old = authority.client(&[], &[&rustls::version::TLS12]);
    assert!(connect(&old, &server, "a.example").await.is_err());

    let only_1_2 =
        Tls { cipher_suites: vec![CipherSuite::EcdheEcdsaAes256GcmSha384], ..Tls::showing(vec![key]) };
    let server =
        Server::start(config(Arc::new(authority.table(&[(HostPattern::Any, only_1_2)], None)))).await;
    let stream = connect(&authority.client(&[], rustls::ALL_VERSIONS), &server, "a.example").await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_on_a_tls_port_is_told_so() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let server = Server::start(config(authority.port(&[("", &[&key])], None))).await;
    let answer = server.exchange(get("/")).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("client sent HTTP to an HTTPS port\n"), "{answer}");
    server.log.wait_for("refused bad_request client sent HTTP to an HTTPS port").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_slow_or_nonsense_fails() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let mut slow = config(authority.port(&[("", &[&key])], None));
    slow.limits.tls_handshake_timeout = Duration::from_millis(300);
    let server = Server::start(slow).await;
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    server.log.wait_for("tls_failed handshake timed out").await;

    let mut nonsense = server.connect().await;
    nonsense.write_all(&[0x80; 64]).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut nonsense, &mut answer)).await;
    server.log.wait_for("tls_failed received corrupt message").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let mut authority = Authority::new();
    let old = authority.issue("old", &["a.example"], P256);
    let first = authority.port(&[("a.example", &[&old])], None);
    let server = Server::start(config(first.clone())).await;
    let connector = authority.client(&[], rustls::ALL_VERSIONS);
    let mut open = connect(&connector, &server, "a.example").await.unwrap();

    let new = authority.issue("new", &["a.example"], P256);
    let second = authority.port(&[("a.example", &[&new])], Some(&first));
    server.ports.apply(BTreeMap::from([(WANTED, Arc::new(config(second)))])).await;
    open.write_all(get("/open").as_bytes()).await.unwrap();
    assert!(read_response(&mut open).await.contains("/open"));
    let fresh = authority.client(&[], rustls::ALL_VERSIONS);
    assert_eq!(shown(&connect(&fresh, &server, "a.example").await.unwrap()), der(&authority, &new));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_may_stand_before_tls() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let mut behind = config(authority.port(&[("", &[&key])], None));
    behind.proxy_protocol = sluice_ir::ProxyProtocol::Required;
    let server = Server::start(behind).await;
    let mut socket = server.connect().await;
    socket.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n").await.unwrap();
    let connector = authority.client(&[], rustls::ALL_VERSIONS);
    let name = ServerName::try_from("a.example").unwrap();
    let mut stream = within(connector.connect(name, socket)).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    let answer = read_response(&mut stream).await;
    assert!(answer.contains("peer=192.0.2.1:1000") && answer.contains("sni=a.example"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_connections_over_the_limit_are_closed_without_a_word() {
    let mut authority = Authority::new();
    let key = authority.issue("a", &["a.example"], P256);
    let mut full = config(authority.port(&[("", &[&key])], None));
    full.limits.connections = 0;
    let server = Server::start(full).await;
    let connector = authority.client(&[], rustls::ALL_VERSIONS);
    assert!(connect(&connector, &server, "a.example").await.is_err());
    server.log.wait_for("refused overloaded").await;
}
