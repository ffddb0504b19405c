//! Certificates of clients (GEP-91).

use crate::support::{Server, WANTED, get, read_response};
use crate::tls::{Authority, P256, config, connect};
use ClientValidationMode::{AllowInsecureFallback, AllowValidOnly};
use sluice_ir::{
    Certificate, CertificateKey, ClientValidation, ClientValidationMode, HostPattern, SecretBytes, Tls,
};
use sluice_proxy::tls::PortTls;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

const BOTH: [&[&rustls::SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

fn listener(
    host: &str,
    key: &CertificateKey,
    validation: Option<(&str, ClientValidationMode)>,
) -> (HostPattern, Tls) {
    let client_validation = validation.map(|(pem, mode)| {
        let authorities = SecretBytes::new(pem.as_bytes().to_vec());
        Box::new(ClientValidation { authorities, mode })
    });
    (HostPattern::parse(host), Tls { client_validation, ..Tls::showing(vec![key.clone()]) })
}

fn table(
    authority: &Authority,
    listeners: &[(HostPattern, Tls)],
    previous: Option<&PortTls>,
) -> Arc<PortTls> {
    Arc::new(authority.table(listeners, previous))
}

/// A server's authority and certificate, and the authority of clients with a certificate of each kind of client.
struct World {
    servers: Authority,
    key: CertificateKey,
    clients: Authority,
    good: Arc<Certificate>,
    stranger: Arc<Certificate>,
}

impl World {
    fn new() -> Self {
        let (mut servers, mut clients, mut strangers) =
            (Authority::new(), Authority::new(), Authority::new());
        let key = servers.issue("server", &["a.example", "b.example"], P256);
        let good = clients.issue("good", &["client"], P256);
        let stranger = strangers.issue("stranger", &["client"], P256);
        let (good, stranger) = (clients.issued[&good].clone(), strangers.issued[&stranger].clone());
        Self { servers, key, clients, good, stranger }
    }
}

/// What the client gets: the answer to a request, or the end.
async fn ask(connector: &TlsConnector, server: &Server, name: &str) -> Option<String> {
    let mut stream = connect(connector, server, name).await.ok()?;
    // In TLS 1.3 the client learns only after its own handshake that the server refused it.
    stream.write_all(get("/").as_bytes()).await.ok()?;
    let mut first = [0];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut first);
    match crate::support::within(read).await {
        Ok(1) => {
            let mut rest = tokio::io::AsyncReadExt::chain(&first[..], stream);
            Some(read_response(&mut rest).await)
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_valid_certificates_pass() {
    let world = World::new();
    let listeners = [listener("", &world.key, Some((&world.clients.pem, AllowValidOnly)))];
    let server = Server::start(config(table(&world.servers, &listeners, None))).await;
    for versions in BOTH {
        let client = |shown| world.servers.client_showing(shown, &["http/1.1"], versions);
        assert!(ask(&client(Some(&world.good)), &server, "a.example").await.is_some());
        assert_eq!(ask(&client(None), &server, "a.example").await, None);
        assert_eq!(ask(&client(Some(&world.stranger)), &server, "a.example").await, None);
    }
    server.log.wait_for("tls_failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fallback_everybody_passes_and_is_asked() {
    let world = World::new();
    for authorities in [world.clients.pem.as_str(), ""] {
        let listeners = [listener("", &world.key, Some((authorities, AllowInsecureFallback)))];
        let server = Server::start(config(table(&world.servers, &listeners, None))).await;
        for versions in BOTH {
            for shown in [None, Some(&*world.good), Some(&*world.stranger)] {
                let client = world.servers.client_showing(shown, &["http/1.1"], versions);
                assert!(ask(&client, &server, "a.example").await.is_some());
            }
        }
    }
}

/// Nobody to vouch for clients lets no client in, also not by the listener for every host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_authorities_refuse_every_handshake_of_the_listener() {
    let world = World::new();
    for authorities in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let listeners = [
            listener("a.example", &world.key, Some((authorities, AllowValidOnly))),
            listener("", &world.key, None),
        ];
        let table = table(&world.servers, &listeners, None);
        let refusal = table.refusal(&listeners[0].0).unwrap();
        assert!(refusal.starts_with("authorities of client certificates: "), "{refusal}");
        assert_eq!(table.refusal(&listeners[1].0), None);
        let server = Server::start(config(table)).await;
        let client = world.servers.client_showing(Some(&world.good), &["http/1.1"], rustls::ALL_VERSIONS);
        assert_eq!(ask(&client, &server, "a.example").await, None);
        assert!(ask(&client, &server, "b.example").await.is_some());
    }
}

/// A session that began without a certificate, or under other authorities, is not resumed where one is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_resumed_under_its_own_terms_only() {
    let world = World::new();
    let open = [listener("", &world.key, None)];
    let closed = [listener("", &world.key, Some((&world.clients.pem, AllowValidOnly)))];
    let fallback = [listener("", &world.key, Some((&world.clients.pem, AllowInsecureFallback)))];
    for versions in BOTH {
        for before in [&open, &fallback] {
            let first = table(&world.servers, before, None);
            let server = Server::start(config(first.clone())).await;
            let nobody = world.servers.client_showing(None, &["http/1.1"], versions);
            for resumed in [false, true] {
                let answer = ask(&nobody, &server, "a.example").await.unwrap();
                assert!(answer.contains(&format!("resumed={resumed}")), "{answer}");
            }
            let second = table(&world.servers, &closed, Some(&first));
            server.ports.apply(BTreeMap::from([(WANTED, Arc::new(config(second.clone())))])).await;
            assert_eq!(ask(&nobody, &server, "a.example").await, None);
            // Who was let in by a certificate is let in again, also after a reload that changes nothing of it.
            let somebody = world.servers.client_showing(Some(&world.good), &["http/1.1"], versions);
            for resumed in [false, true] {
                let answer = ask(&somebody, &server, "a.example").await.unwrap();
                assert!(answer.contains(&format!("resumed={resumed}")), "{answer}");
            }
            let third = table(&world.servers, &closed, Some(&second));
            server.ports.apply(BTreeMap::from([(WANTED, Arc::new(config(third.clone())))])).await;
            assert!(ask(&somebody, &server, "a.example").await.unwrap().contains("resumed=true"));
            // Other authorities: the certificate counts anew, and these do not know it.
            let others = [listener("", &world.key, Some((&world.servers.pem, AllowValidOnly)))];
            let fourth = table(&world.servers, &others, Some(&third));
            server.ports.apply(BTreeMap::from([(WANTED, Arc::new(config(fourth)))])).await;
            assert_eq!(ask(&somebody, &server, "a.example").await, None);
        }
    }
}
