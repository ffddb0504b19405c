//! Whom the proxy believes.

use crate::backend::{Backend, Habits, shop};
use crate::gateway::{Gateway, Http1, Wanted, policy};
use crate::pki::Authority;
use sluice_ir as ir;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_who_the_policy_says_serves() {
    let (authority, backend) = shop().await;
    let gateway =
        Gateway::start(&Wanted::new(backend.address, policy("shop.example", authority.bundle()))).await;
    let seen = gateway.ok("/cart").await;
    assert!(seen.starts_with("/cart HTTP/1.1") && seen.contains("sni=shop.example"), "{seen}");
    assert!(seen.contains("host=a.example"), "the Host stays the client's: {seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_name_or_another_authority_is_refused() {
    let (authority, backend) = shop().await;
    let wrong_name = policy("cart.example", authority.bundle());
    let gateway = Gateway::start(&Wanted::new(backend.address, wrong_name)).await;
    assert_eq!(gateway.failed().await, "upstream_tls");
    let stranger = policy("shop.example", Authority::new().bundle());
    gateway.apply(&Wanted::new(backend.address, stranger)).await;
    assert_eq!(gateway.failed().await, "upstream_tls");
    // The authorities of the system have not issued it either.
    gateway.apply(&Wanted::new(backend.address, policy("shop.example", ir::Trust::System))).await;
    assert_eq!(gateway.failed().await, "upstream_tls");
    assert_eq!(backend.requests(), 0);
    let metrics = gateway.proxy.metrics().encode();
    assert!(metrics.contains("outcome=\"upstream_tls\""), "{metrics}");
    let failures = metrics.lines().find(|line| {
        line.starts_with("sluice_upstream_connect_failures_total") && line.contains("Service/default/app:80")
    });
    assert!(failures.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
}

/// Nothing to verify with: no connection at all, and a Gateway without its client certificate is nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_used_fails_closed() {
    let (authority, backend) = shop().await;
    let bundle = |text: &str| ir::Trust::Bundle(ir::SecretBytes::new(text.as_bytes().to_vec()));
    let good = policy("shop.example", authority.bundle());
    let gateway = Gateway::start(&Wanted::new(backend.address, policy("shop.example", bundle("")))).await;
    assert_eq!(gateway.failed().await, "upstream_tls");
    for tls in [policy("shop.example", bundle("no pem")), policy("no name", authority.bundle())] {
        gateway.apply(&Wanted::new(backend.address, tls)).await;
        assert_eq!(gateway.failed().await, "upstream_tls");
    }
    let key = ir::CertificateKey::new("Secret/default/client");
    let mut broken = authority.issue(&["edge"]).resource(key.as_str());
    broken.private_key = ir::SecretBytes::new(b"no key".to_vec());
    for certificate in [None, Some(broken)] {
        let mut wanted = Wanted::new(backend.address, good.clone());
        wanted.certificate = Some((key.clone(), certificate));
        gateway.apply(&wanted).await;
        assert_eq!(gateway.failed().await, "upstream_tls");
    }
    assert_eq!(backend.accepted(), 0, "connections");
    gateway.apply(&Wanted::new(backend.address, good)).await;
    gateway.ok("/").await;
}

/// GEP-1897: with subject alternative names the hostname is sent as SNI and authenticates nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_names_take_the_place_of_the_hostname() {
    let authority = Authority::new();
    let names = ["shop.example", "spiffe://cluster.local/ns/shop/sa/cart"];
    let backend = Backend::usual(&authority.issue(&names)).await;
    let named = |names: &[ir::SubjectName]| {
        let mut tls = policy("shop.example", authority.bundle());
        tls.subject_names = names.to_vec();
        Wanted::new(backend.address, tls)
    };
    let dns = |name: &str| ir::SubjectName::Dns(name.to_owned());
    let uri = |name: &str| ir::SubjectName::Uri(name.to_owned());
    let gateway = Gateway::start(&named(&[uri("spiffe://cluster.local/ns/shop/sa/cart")])).await;
    assert!(gateway.ok("/").await.contains("sni=shop.example"));
    for accepted in [
        vec![dns("shop.example")],
        vec![dns("*.example")],
        vec![dns("other.example"), uri("spiffe://x"), uri("spiffe://cluster.local/ns/shop/sa/cart")],
    ] {
        gateway.apply(&named(&accepted)).await;
        gateway.ok("/").await;
    }
    for refused in [
        vec![dns("other.example")],
        vec![dns("*.shop.example")],
        vec![uri("spiffe://cluster.local/ns/shop/sa/other")],
        vec![uri("spiffe://cluster.local/ns/shop/sa")],
        vec![uri("shop.example")],
        vec![dns("spiffe://cluster.local/ns/shop/sa/cart")],
    ] {
        gateway.apply(&named(&refused)).await;
        assert_eq!(gateway.failed().await, "upstream_tls", "{refused:?}");
    }
    // The names count only on a certificate of the authority.
    let mut stranger = named(&[dns("shop.example")]);
    stranger.tls.as_mut().unwrap().trust = Authority::new().bundle();
    gateway.apply(&stranger).await;
    assert_eq!(gateway.failed().await, "upstream_tls");
}

/// RFC 5280 §6.3, whether the hostname or listed names are compared. An authority without a list vouches for nobody
/// once there are lists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_taken_back_is_refused() {
    let authority = Authority::new();
    let backend = Backend::usual(&authority.issue(&["shop.example"])).await;
    let wanted = |names: &[&str], lists: Option<ir::SecretBytes>| {
        let mut tls = policy("shop.example", authority.bundle());
        tls.subject_names = names.iter().map(|it| ir::SubjectName::Dns((*it).to_owned())).collect();
        tls.revocations = lists;
        Wanted::new(backend.address, tls)
    };
    let (own, other) = (authority.take_back(1), authority.take_back(7));
    let foreign = Authority::new().take_back(7);
    let gateway = Gateway::start(&wanted(&[], None)).await;
    gateway.ok("/").await;
    for names in [&[][..], &["shop.example"], &["*.example", "cart.example"]] {
        gateway.apply(&wanted(names, Some(other.clone()))).await;
        gateway.ok("/").await;
        for refused in [own.clone(), foreign.clone(), ir::SecretBytes::new(b"no list".to_vec())] {
            gateway.apply(&wanted(names, Some(refused))).await;
            assert_eq!(gateway.failed().await, "upstream_tls", "{names:?}");
        }
    }
    gateway.apply(&wanted(&["other.example"], Some(other))).await;
    assert_eq!(gateway.failed().await, "upstream_tls", "another name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anyone_is_believed_only_where_that_is_said() {
    let (_, backend) = shop().await;
    let gateway = Gateway::start(&Wanted::new(backend.address, policy("x.example", ir::Trust::Anyone))).await;
    assert!(gateway.ok("/").await.contains("sni=x.example"));
    gateway.apply(&Wanted::new(backend.address, policy("x.example", Authority::new().bundle()))).await;
    assert_eq!(gateway.failed().await, "upstream_tls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_shows_its_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let habits = Habits { clients: Some(clients.roots()), ..Habits::default() };
    let backend = Backend::start(&authority.issue(&["shop.example"]), habits).await;
    let mut wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle()));
    let gateway = Gateway::start(&wanted).await;
    assert_eq!(gateway.get("/").await.0, 502, "without a certificate");
    let key = ir::CertificateKey::new("Secret/default/client");
    let mut show = async |certificate: ir::Certificate| {
        wanted.certificate = Some((key.clone(), Some(certificate)));
        gateway.apply(&wanted).await;
    };
    show(clients.issue(&["edge"]).resource("Secret/default/client")).await;
    let mut client = gateway.client().await;
    assert!(client.ok("/").await.contains("connection=0 sni=shop.example certificate=true"));
    assert!(client.ok("/").await.contains("connection=0"));
    // Who comes with a new certificate comes over a new connection.
    show(clients.issue(&["edge"]).resource("Secret/default/client")).await;
    assert!(client.ok("/").await.contains("connection=1"));
    show(authority.issue(&["edge"]).resource("Secret/default/client")).await;
    assert_eq!(gateway.get("/").await.0, 502, "a certificate of another authority");
    // A certificate of the policy itself is shown in its place.
    wanted.tls.as_mut().unwrap().certificate =
        Some(Box::new(clients.issue(&["edge"]).resource("Secret/default/own")));
    gateway.apply(&wanted).await;
    assert!(gateway.ok("/").await.contains("certificate=true"));
}

/// An endpoint that speaks no TLS gets no request in clear text, and another that does gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_tls_is_passed_over() {
    let (authority, backend) = shop().await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle()));
    wanted.endpoints.push(plain.local_addr().unwrap());
    let gateway = Gateway::start(&wanted).await;
    let spoken = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut all, mut connections) = (Vec::new(), 0);
        while let Ok((mut socket, _)) = plain.accept().await {
            let mut first = [0; 3];
            if socket.read_exact(&mut first).await.is_err() {
                break;
            }
            all.extend(first);
            connections += 1;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
        (all, connections)
    });
    for _ in 0..20 {
        gateway.ok("/").await;
    }
    // The end of the listening.
    drop(tokio::net::TcpStream::connect(wanted.endpoints[1]).await.unwrap());
    let (bytes, connections) = spoken.await.unwrap();
    assert!(connections > 0 && bytes.chunks(3).all(|bytes| bytes == [22, 3, 1]), "{bytes:?}");
}

/// A wildcard host with TLS of ours: each host that a client names is asked for by its own name, and must be it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_below_a_wildcard_is_verified_by_its_own_name() {
    let authority = Authority::new();
    let backend = Backend::usual(&authority.issue(&["a.shop.localhost"])).await;
    let mut wanted = Wanted::new(backend.address, policy("*.shop.localhost", authority.bundle()));
    wanted.endpoints.clear();
    wanted.asked = Some(ir::AskedHosts {
        names: Some(ir::HostPattern::parse("*.shop.localhost")),
        networks: Vec::new(),
        port: backend.address.port(),
        original: false,
    });
    let gateway = Gateway::start(&wanted).await;
    let ask = async |client: &mut Http1, host: &str| {
        let request = http::Request::get("/").header("host", host).body(bytes::Bytes::new()).unwrap();
        let (status, body, _) = client.ask(request).await;
        (status, body.trim().to_owned())
    };
    let get = async |host: &str| ask(&mut gateway.client().await, host).await;
    // A connection's next request begins when the one before has given back what it used.
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let (status, seen) = ask(&mut client, "A.shop.localhost:80").await;
        assert!(status == 200 && seen.contains("sni=a.shop.localhost"), "{status} {seen}");
    }
    assert_eq!(backend.accepted(), 1, "the name's connection is used again");
    // The name is ::1 as well, where nobody listens: the answer tells of whichever address was tried last.
    let (status, word) = get("b.shop.localhost").await;
    assert!(status == 502 && ["upstream_tls", "connect_failed"].contains(&word.as_str()), "{status} {word}");
    assert_eq!(get("shop.localhost").await, (502, "egress_refused".to_owned()));
    assert_eq!(backend.requests(), 2);
}
