//! TLSRoute: passed through, ended here, and beside HTTPS on one port; what becomes of names that nobody serves.

use super::*;
use sluice_tests::tls::{Authority, connect as shake};
use sluice_tests::{Ask, Wire, eventually};
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A backend that ends TLS itself: says its name and the server name that it was asked for, then echoes.
async fn tls_echo(authority: &Authority, name: &'static str, hosts: &[&str]) -> SocketAddr {
    let issued = authority.issue(hosts);
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let asked = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
                let _ = stream.write_all(format!("{name} for {asked}\n").as_bytes()).await;
                let (mut reads, mut writes) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
                let _ = writes.shutdown().await;
            });
        }
    });
    address
}

/// Listeners of one port: two names passed through, one ended for a TLSRoute, the others for HTTP.
const MIXED: [&str; 4] = [
    "name: passed, port: 8883, protocol: TLS, hostname: abc.example.com, tls: {mode: Passthrough}",
    "name: deep, port: 8883, protocol: TLS, hostname: '*.deep.example.com', tls: {mode: Passthrough}",
    "name: ended, port: 8883, protocol: TLS, hostname: tls.example.com, tls: {mode: Terminate, certificateRefs: [{name: web}]}",
    "name: https, port: 8883, protocol: HTTPS, hostname: '*.example.com', tls: {certificateRefs: [{name: web}]}",
];

struct Mixed {
    stand: Stand,
    authority: Authority,
    plain: Backend,
}

async fn mixed() -> Mixed {
    let authority = Authority::new();
    let plain = Backend::start().await;
    let passed = tls_echo(&authority, "passed", &["*.example.com", "*.deep.example.com"]).await;
    let mut stand = Stand::empty(Endpoints::AsWritten).await;
    let http = stand.echo("http").await;
    let yaml = [
        gateway(&MIXED, ""),
        authority.issue(&["*.example.com"]).secret("web"),
        service("passed", "TCP", &[passed]),
        service("plain", "TCP", &[plain.address]),
        service("http", "TCP", &[http]),
        route("TLSRoute", "passed", "port: 8883", "abc.example.com, '*.deep.example.com'", &[("passed", 1)]),
        route("TLSRoute", "ended", "port: 8883", "tls.example.com", &[("plain", 1)]),
        route("HTTPRoute", "http", "sectionName: https", "", &[("http", 1)]),
    ];
    stand.apply(&yaml.concat()).await;
    assert_eq!(stand.failures(), []);
    Mixed { stand, authority, plain }
}

#[tokio::test]
async fn a_port_passes_through_ends_and_serves_http_by_the_server_name() {
    let Mixed { stand, authority, mut plain } = mixed().await;
    let address = stand.address(8883);
    for name in ["abc.example.com", "x.deep.example.com", "ABC.example.com"] {
        let mut tls = shake(address, name, authority.client(&[])).await.unwrap();
        let expected = format!("passed for {}\n", name.to_ascii_lowercase());
        assert_eq!(exactly(&mut tls, expected.len()).await, expected.as_bytes());
        send(&mut tls, b"ping").await;
        assert_eq!(exactly(&mut tls, 4).await, b"ping");
        tls.shutdown().await.unwrap();
        assert_eq!(rest(&mut tls).await.unwrap(), b"");
    }
    // What is offered by ALPN is the endpoint's affair, not ours.
    let mut tls = shake(address, "tls.example.com", authority.client(&["mqtt"])).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), None);
    let mut endpoint = plain.next().await;
    send(&mut tls, b"in the clear").await;
    assert_eq!(exactly(&mut endpoint, 12).await, b"in the clear");
    let answer = pattern(1_000_000, 4);
    let sent = answer.clone();
    let sending = tokio::spawn(async move {
        endpoint.write_all(&sent).await.unwrap();
        endpoint.shutdown().await.unwrap();
        endpoint
    });
    assert!(rest(&mut tls).await.unwrap() == answer);
    let mut endpoint = sending.await.unwrap();
    // The endpoint has said all; the client has not.
    send(&mut tls, b"late").await;
    tls.shutdown().await.unwrap();
    assert_eq!(rest(&mut endpoint).await.unwrap(), b"late");
    for alpn in ["http/1.1", "h2"] {
        let stream = shake(address, "www.example.com", authority.client(&[alpn])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
        if alpn == "http/1.1" {
            let mut wire = Wire::over(Box::new(stream));
            wire.ask(&Ask::get("https://www.example.com:8883/")).await.expect_status(200);
            // A host whose connections are carried whole is nobody's here.
            let stray = Ask::get("https://abc.example.com:8883/");
            let answer = wire.ask(&stray).await;
            assert!([404, 421].contains(&answer.status), "{}", answer.status);
        }
    }
}

#[tokio::test]
async fn a_name_that_nobody_serves_meets_the_end_of_its_connection() {
    let Mixed { stand, authority, .. } = mixed().await;
    // No name at all: there is no listener for every name.
    for name in ["www.example.org", "192.0.2.1"] {
        let error = shake(stand.address(8883), name, authority.client(&[])).await.err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{name}: {error}");
    }
    // Not TLS at all, or nothing at all.
    let mut odd = connect(&stand, 8883).await;
    send(&mut odd, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _ = rest(&mut odd).await;
    let mut half = connect(&stand, 8883).await;
    send(&mut half, &[22, 3, 1]).await;
    half.shutdown().await.unwrap();
    let _ = rest(&mut half).await;
}

#[tokio::test]
async fn a_connection_without_a_name_goes_to_the_listener_for_every_name() {
    let authority = Authority::new();
    let yaml = [
        gateway(&["name: any, port: 443, protocol: TLS, tls: {mode: Passthrough}"], ""),
        service("app", "TCP", &[tls_echo(&authority, "any", &["a.test"]).await]),
        service("named", "TCP", &[tls_echo(&authority, "named", &["b.test"]).await]),
        route("TLSRoute", "app", "port: 443", "", &[("app", 1)]),
        route("TLSRoute", "named", "port: 443", "b.test", &[("named", 1)]),
    ];
    let stand = stand(&yaml.concat()).await;
    for (name, expected) in
        [("192.0.2.1", "any for nobody\n"), ("a.test", "any for a.test\n"), ("b.test", "named for b.test\n")]
    {
        let mut tls = shake(stand.address(443), name, sluice_tests::tls::trusting(&[])).await.unwrap();
        assert_eq!(exactly(&mut tls, expected.len()).await, expected.as_bytes());
    }
}

#[tokio::test]
async fn tls_that_is_cut_is_no_proper_end() {
    let Mixed { stand, authority, mut plain } = mixed().await;
    let tls = shake(stand.address(8883), "tls.example.com", authority.client(&[])).await.unwrap();
    let mut endpoint = plain.next().await;
    // Without close_notify: what the endpoint got may not be all.
    drop(tls);
    assert!(rest(&mut endpoint).await.is_err());
}

#[tokio::test]
async fn tls_is_spoken_to_an_endpoint_where_a_policy_says_so() {
    let authority = Authority::new();
    let backend = tls_echo(&authority, "app", &["app.test"]).await;
    let ca: String = authority.pem().lines().map(|line| format!("    {line}\n")).collect();
    let policy = |host: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca}}\ndata:\n  ca.crt: |\n{ca}---\napiVersion: \
             gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: app}}\nspec:\n  targetRefs: [{{group: \
             \"\", kind: Service, name: app}}]\n  validation: {{hostname: {host}, caCertificateRefs: [{{group: \"\", kind: \
             ConfigMap, name: ca}}]}}\n"
        )
    };
    let rest_of = [
        gateway(
            &[
                "name: tcp, port: 9000, protocol: TCP",
                "name: ended, port: 443, protocol: TLS, hostname: www.test, tls: {mode: Terminate, certificateRefs: [{name: web}]}",
                "name: passed, port: 443, protocol: TLS, hostname: app.test, tls: {mode: Passthrough}",
            ],
            "",
        ),
        authority.issue(&["www.test"]).secret("web"),
        service("app", "TCP", &[backend]),
        route("TCPRoute", "tcp", "port: 9000", "", &[("app", 1)]),
        route("TLSRoute", "tls", "port: 443", "www.test, app.test", &[("app", 1)]),
    ]
    .concat();
    let mut stand = stand(&[rest_of.clone(), policy("app.test")].concat()).await;
    let expected = b"app for app.test\n";
    let mut plain = connect(&stand, 9000).await;
    assert_eq!(exactly(&mut plain, expected.len()).await, expected);
    send(&mut plain, b"ping").await;
    assert_eq!(exactly(&mut plain, 4).await, b"ping");
    plain.shutdown().await.unwrap();
    assert_eq!(rest(&mut plain).await.unwrap(), b"");
    for name in ["www.test", "app.test"] {
        // Ended and begun anew, or passed through: never TLS within TLS.
        let mut tls = shake(stand.address(443), name, authority.client(&[])).await.unwrap();
        assert_eq!(exactly(&mut tls, expected.len()).await, expected);
    }
    // An endpoint that is somebody else is not spoken to.
    stand.apply(&[rest_of, policy("else.test")].concat()).await;
    assert_eq!(whole(&stand, 9000).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    eventually("its end is counted", async || {
        metric(&stand, "sluice_streams_total").await.iter().any(|it| it.contains("upstream_tls"))
    })
    .await;
}

#[tokio::test]
async fn openssl_is_served_in_every_mode() {
    let Mixed { stand, authority, mut plain } = mixed().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let client = |name: &str, version: &str| {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-connect",
            &stand.address(8883).to_string(),
        ]);
        command.args(["-servername", name, "-verify_hostname", name, version, "-CAfile"]).arg(&ca);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().expect("openssl: Debian package openssl")
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let mut passed = client("abc.example.com", version);
        let expected = b"passed for abc.example.com\n";
        assert_eq!(exactly(passed.stdout.as_mut().unwrap(), expected.len()).await, expected);
        let mut ended = client("tls.example.com", version);
        send(ended.stdin.as_mut().unwrap(), b"hello\n").await;
        assert_eq!(exactly(&mut plain.next().await, 6).await, b"hello\n");
        let mut https = client("www.example.com", version);
        let request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
        send(https.stdin.as_mut().unwrap(), request).await;
        assert_eq!(exactly(https.stdout.as_mut().unwrap(), 15).await, b"HTTP/1.1 200 OK");
    }
}
