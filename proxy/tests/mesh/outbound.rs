//! What goes out of a sidecar: by the address that was dialled, by host, or past everything.

use crate::app;
use crate::sidecar::{Service, Sidecar, until};
use http_body_util::Full;
use sluice_ir::{self as ir, ListenerProtocol, MeshTls};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn registry_only(workloads: &mut ir::Workloads) {
    workloads.outbound = ir::Outbound::RegistryOnly;
}

/// In the clear.
fn plain(address: &'static str, protocol: ListenerProtocol, endpoint: SocketAddr) -> Service {
    Service { account: None, mesh: MeshTls::Off, ..Service::new(address, protocol, endpoint) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_is_found_by_the_address_that_was_dialled() {
    let (http, tcp) = (app::http().await, app::tcp("hello ").await);
    let sidecar = Sidecar::start(None).await;
    let web = plain("10.96.0.1", ListenerProtocol::Http, http);
    let raw = Service { name: "raw", ..plain("10.96.0.2", ListenerProtocol::Tcp, tcp) };
    let any = Service { name: "any", ..plain("fd00::3", ListenerProtocol::Detect, http) };
    sidecar.govern(registry_only).await;
    sidecar.apply([web.resources(), raw.resources(), any.resources()].concat()).await;
    let to = sidecar.outbound();

    sidecar.captured_from(Some(web.vip()));
    let (status, body) = app::get(to, "whatever.example", "/a").await;
    assert!(status == 200 && body.starts_with("/a HTTP/1.1 host=whatever.example"), "{body}");
    let request = http::Request::get("http://whatever.example/b").body(Full::default()).unwrap();
    let (status, body, trailers) = app::http2(to, request).await;
    assert!(status == 200 && body.contains("HTTP/2.0"), "as the client speaks: {body}");
    assert_eq!(trailers["grpc-status"], "0");

    sidecar.captured_from(Some(raw.vip()));
    assert_eq!(app::exchange(to, b"abc", 9).await, b"hello abc", "the server speaks first");

    sidecar.captured_from(Some(any.vip()));
    assert_eq!(app::get(to, "a", "/c").await.0, 200);
    assert!(sidecar.world.asked.lock().unwrap().is_empty(), "nothing had to be asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_without_a_protocol_is_carried_whole_unless_it_brings_requests() {
    let echo = app::tcp("").await;
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let service = plain("10.96.0.1", ListenerProtocol::Detect, echo);
    sidecar.apply(service.resources()).await;
    sidecar.captured_from(Some(service.vip()));
    assert_eq!(app::exchange(sidecar.outbound(), b"\x00\x01binary", 8).await, b"\x00\x01binary");
    // Silence is waited for, then the server may speak.
    let greeting = app::tcp("220 ready").await;
    let service = plain("10.96.0.1", ListenerProtocol::Detect, greeting);
    sidecar.apply(service.resources()).await;
    assert_eq!(app::exchange(sidecar.outbound(), b"", 9).await, b"220 ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_asked_for_once_and_served_at_once() {
    let http = app::http().await;
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let service = plain("10.96.0.9", ListenerProtocol::Http, http);
    sidecar.world.knows("10.96.0.9:80", service.delta());
    sidecar.captured_from(Some(service.vip()));
    assert_eq!(app::get(sidecar.outbound(), "cart", "/").await.0, 200);
    assert_eq!(app::get(sidecar.outbound(), "cart", "/").await.0, 200);
    assert_eq!(*sidecar.world.asked.lock().unwrap(), ["10.96.0.9:80".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_comes_later_gets_the_requests_of_open_connections() {
    let unknown = app::http().await;
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(|_| {}).await;
    sidecar.captured_from(Some(unknown));
    let mut client = app::Http1::connect(sidecar.outbound()).await;
    let request = || http::Request::get("/").header("host", "a").body(Full::default()).unwrap();
    assert_eq!(client.ask(request()).await.unwrap().0, 200, "passed");
    let mut service = plain("127.0.0.1", ListenerProtocol::Http, "127.0.0.1:1".parse().unwrap());
    service.port = unknown.port();
    sidecar.apply(service.resources()).await;
    let (status, body, _) = client.ask(request()).await.unwrap();
    assert_eq!((status, body.trim()), (502, "connect_failed"), "the destination's own endpoint");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_without_an_address_are_found_by_the_host_of_each_request() {
    let (one, two) = (app::http().await, app::http().await);
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let none = |name, host, endpoint| Service {
        name,
        host,
        address: None,
        ..plain("10.96.0.1", ListenerProtocol::Http, endpoint)
    };
    sidecar.apply(none("one", "one.example", one).resources()).await;
    // Of another Gateway, at the same port; the name is asked for when a request names it.
    sidecar.world.knows("two.example:80", none("two", "two.example", two).delta());
    sidecar.apply(none("db", "db.shop", one).resources()).await;
    sidecar.captured_from(Some("192.0.2.1:80".parse().unwrap()));
    let mut client = app::Http1::connect(sidecar.outbound()).await;
    for (host, status) in [
        ("one.example", 200),
        ("two.example", 200),
        ("db", 200),
        ("three.example", 502),
        ("one.example", 200),
    ] {
        let request = http::Request::get("/").header("host", host).body(Full::default()).unwrap();
        let (seen, body, _) = client.ask(request).await.unwrap();
        assert_eq!(seen, status, "{host}: {body}");
    }
    until("it is counted", || sidecar.counts("outcome=\"egress_refused\"")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_to_hosts_without_an_address_goes_by_its_server_name() {
    let echo = app::tcp("").await;
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let service = Service {
        host: "api.example",
        address: None,
        port: 443,
        ..plain("10.96.0.1", ListenerProtocol::TlsPassthrough, echo)
    };
    sidecar.apply(service.resources()).await;
    sidecar.captured_from(Some("192.0.2.1:443".parse().unwrap()));
    let hello = crate::tls::hello("api.example");
    assert_eq!(app::exchange(sidecar.outbound(), &hello, hello.len()).await, hello);
    let other = crate::tls::hello("other.example");
    assert!(app::exchange(sidecar.outbound(), &other, other.len()).await.is_empty());
    assert!(sidecar.world.asked.lock().unwrap().contains("other.example:443"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_port_without_an_address_takes_all_and_waits_for_no_word() {
    let greeting = app::tcp("220 ready").await;
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let mail = Service { address: None, port: 2525, ..plain("10.96.0.1", ListenerProtocol::Tcp, greeting) };
    sidecar.apply(mail.resources()).await;
    sidecar.captured_from(Some("192.0.2.1:2525".parse().unwrap()));
    let begun = std::time::Instant::now();
    assert_eq!(app::exchange(sidecar.outbound(), b"", 9).await, b"220 ready");
    assert!(begun.elapsed() < std::time::Duration::from_millis(90), "{:?}", begun.elapsed());
}

/// One that is found by networks and by nothing else.
fn in_network(
    name: &'static str,
    networks: &'static [&'static str],
    protocol: ListenerProtocol,
    endpoint: SocketAddr,
) -> Service {
    Service { name, address: None, networks, ..plain("10.96.0.1", protocol, endpoint) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_specific_network_has_an_address_that_nobody_has_alone() {
    let (wide, narrow, exact) = (app::tcp("wide").await, app::tcp("narrow").await, app::tcp("exact").await);
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let all = [
        in_network("wide", &["10.0.0.0/8", "fd00::/8"], ListenerProtocol::Tcp, wide),
        in_network("narrow", &["10.1.0.0/16"], ListenerProtocol::Tcp, narrow),
        Service { name: "exact", ..plain("10.1.0.1", ListenerProtocol::Tcp, exact) },
        // A name takes nothing away from those who have the address.
        Service {
            name: "named",
            host: "a.example",
            address: None,
            ..plain("10.96.0.1", ListenerProtocol::TlsPassthrough, exact)
        },
    ];
    sidecar.apply(all.iter().flat_map(Service::resources)).await;
    for (going, said) in [
        ("10.9.9.9:80", "wide"),
        ("10.1.9.9:80", "narrow"),
        ("10.1.0.1:80", "exact"),
        ("[fd00::9]:80", "wide"),
    ] {
        sidecar.captured_from(Some(going.parse().unwrap()));
        let seen = app::exchange(sidecar.outbound(), b"", said.len()).await;
        assert_eq!(String::from_utf8_lossy(&seen), said, "{going}");
        let hello = crate::tls::hello("a.example");
        let seen = app::exchange(sidecar.outbound(), &hello, said.len()).await;
        assert_eq!(String::from_utf8_lossy(&seen), said, "TLS to {going}");
    }
    for nobody in ["10.9.9.9:81", "11.0.0.1:80"] {
        sidecar.captured_from(Some(nobody.parse().unwrap()));
        assert!(app::exchange(sidecar.outbound(), b"\x01", 1).await.is_empty(), "{nobody}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_is_asked_for_by_the_address_that_was_dialled_and_takes_requests_for_any_host() {
    let http = app::http().await;
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    let service = in_network("corp", &["10.2.0.0/16"], ListenerProtocol::Http, http);
    sidecar.world.knows("10.2.3.4:80", service.delta());
    sidecar.captured_from(Some("10.2.3.4:80".parse().unwrap()));
    for host in ["whatever.example", "other.example"] {
        assert_eq!(app::get(sidecar.outbound(), host, "/").await.0, 200, "{host}");
    }
    assert_eq!(*sidecar.world.asked.lock().unwrap(), ["10.2.3.4:80".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_resolved_goes_where_it_was_going_at_the_port_of_its_entry() {
    let (http, echo) = (app::http().await, app::tcp("").await);
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(registry_only).await;
    // The address of the endpoint is another: it is not called.
    let elsewhere = |at: SocketAddr| SocketAddr::new("127.0.0.9".parse().unwrap(), at.port());
    let by_name = Service {
        name: "api",
        host: "api.example",
        address: None,
        is_original: true,
        ..plain("10.96.0.1", ListenerProtocol::Http, elsewhere(http))
    };
    let raw = in_network("raw", &["127.0.0.0/24"], ListenerProtocol::Tcp, elsewhere(echo));
    let raw = Service { is_original: true, port: 5432, ..raw };
    sidecar.apply([by_name.resources(), raw.resources()].concat()).await;
    sidecar.captured_from(Some("127.0.0.1:80".parse().unwrap()));
    let (status, body) = app::get(sidecar.outbound(), "api.example", "/x").await;
    assert!(status == 200 && body.starts_with("/x HTTP/1.1 host=api.example"), "{body}");
    sidecar.captured_from(Some("127.0.0.1:5432".parse().unwrap()));
    assert_eq!(app::exchange(sidecar.outbound(), b"\x01binary", 7).await, b"\x01binary");
    let hello = crate::tls::hello("any.example");
    assert_eq!(app::exchange(sidecar.outbound(), &hello, hello.len()).await, hello);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sidecar_of_the_workload_does_not_name_is_as_if_nobody_knew_it() {
    let (own, unknown) = (app::tcp("own").await, app::tcp("as it was dialled").await);
    let sidecar = Sidecar::start(None).await;
    let service = Service { port: unknown.port(), ..plain("127.0.0.1", ListenerProtocol::Tcp, own) };
    sidecar.apply(service.resources()).await;
    sidecar.captured_from(Some(service.vip()));
    let scope = |app: &str, host: &str, outbound| ir::Scope {
        origin: ir::Origin::new("Sidecar", "shop", "default"),
        selector: ir::Selector([("app".to_owned(), app.to_owned())].into()),
        outbound,
        egress: Some(vec![ir::Egress {
            port: None,
            hosts: vec![ir::KnownHosts {
                namespace: Some("shop".to_owned()),
                host: ir::HostPattern::parse(host),
            }],
        }]),
    };
    let (any, registry) = (ir::Outbound::AllowAny, ir::Outbound::RegistryOnly);
    for (scopes, seen) in [
        (vec![scope("cart", "cart.shop.svc.cluster.local", registry)], "own"),
        (vec![scope("cart", "other.test", any)], "as it was dialled"),
        (vec![scope("cart", "other.test", registry)], ""),
        // It is for others.
        (vec![scope("web", "other.test", registry)], "own"),
    ] {
        sidecar.govern(|it| it.scopes.clone_from(&scopes)).await;
        let back = app::exchange(sidecar.outbound(), b"", seen.len().max(1)).await;
        assert_eq!(String::from_utf8_lossy(&back), seen, "{scopes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_passes_or_is_refused() {
    let (http, echo) = (app::http().await, app::tcp("").await);
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(|_| {}).await;
    let to = sidecar.outbound();
    sidecar.captured_from(Some(http));
    let (status, body) = app::get(to, "unknown.example", "/x").await;
    assert!(status == 200 && body.starts_with("/x HTTP/1.1 host=unknown.example"), "{body}");
    sidecar.captured_from(Some(echo));
    assert_eq!(app::exchange(to, b"\x01binary", 7).await, b"\x01binary");
    let hello = crate::tls::hello("unknown.example");
    assert_eq!(app::exchange(to, &hello, hello.len()).await, hello);

    sidecar.govern(registry_only).await;
    sidecar.captured_from(Some(http));
    let (status, body) = app::get(to, "unknown.example", "/x").await;
    assert_eq!((status, body.trim()), (502, "egress_refused"));
    sidecar.captured_from(Some(echo));
    assert!(app::exchange(to, b"\x01binary", 7).await.is_empty());
    sidecar
        .govern(|it| {
            registry_only(it);
            it.always_allowed = vec!["127.0.0.0/8".parse().unwrap()];
        })
        .await;
    assert_eq!(app::exchange(to, b"\x01binary", 7).await, b"\x01binary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_captured_or_would_come_back_is_refused() {
    let sidecar = Sidecar::start(None).await;
    sidecar.govern(|_| {}).await;
    let own = sidecar.outbound();
    for original in [None, Some(own), Some(sidecar.inbound()), Some("127.0.0.6:15006".parse().unwrap())] {
        sidecar.captured_from(original);
        assert!(app::exchange(own, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1).await.is_empty(), "{original:?}");
    }
    until("it is counted", || sidecar.counts("not_captured")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_wait_for_the_first_configuration() {
    let http = app::http().await;
    let sidecar = Sidecar::start(None).await;
    sidecar.captured_from(Some(http));
    let mut socket = TcpStream::connect(sidecar.outbound()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    until("the destination is asked for", || !sidecar.world.asked.lock().unwrap().is_empty()).await;
    sidecar.govern(|_| {}).await;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
