//! How connections are kept, shared and ended.

use crate::backend::{Backend, Habits, shop, until};
use crate::gateway::{Gateway, Wanted, policy, read};
use crate::pki::Authority;
use bytes::Bytes;
use http_body_util::Full;
use sluice_ir as ir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_need_one_handshake() {
    let (authority, backend) = shop().await;
    let wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle()));
    let gateway = Gateway::start(&wanted).await;
    // A connection's next request begins when the one before has given back what it used.
    let mut client = gateway.client().await;
    for _ in 0..100 {
        client.ok("/").await;
    }
    assert_eq!((backend.handshakes(), backend.requests()), (1, 100));
    gateway.apply(&wanted.http2()).await;
    for _ in 0..100 {
        client.ok("/").await;
    }
    assert_eq!((backend.handshakes(), backend.requests()), (2, 200));
}

/// As many connections as requests at a time, and not one more: the tenth round needs no handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_keep_their_connections() {
    let (authority, backend) = shop().await;
    let gateway =
        Gateway::start(&Wanted::new(backend.address, policy("shop.example", authority.bundle()))).await;
    for round in 0..10 {
        let mut asked: Vec<_> = Vec::new();
        for _ in 0..40 {
            let mut client = gateway.client().await;
            asked.push(tokio::spawn(async move {
                client.ask(http::Request::get("/gate").body(Bytes::new()).unwrap()).await.0
            }));
        }
        until("all requests are at the backend", || backend.requests() == 40 * (round + 1)).await;
        backend.gate.add_permits(40);
        for answer in asked {
            assert_eq!(answer.await.unwrap(), 200);
        }
    }
    assert_eq!(backend.handshakes(), 40);
}

/// HTTP/2: requests at a time share a connection, also those that come while it is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_share_a_connection() {
    let (authority, backend) = shop().await;
    let wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle())).http2();
    let gateway = Gateway::start(&wanted).await;
    let mut sender = gateway.http2().await;
    for round in 1..=3 {
        let mut asked = Vec::new();
        for _ in 0..80 {
            let request = http::Request::get("http://a.example/gate").body(Full::<Bytes>::default());
            asked.push(tokio::spawn(sender.send_request(request.unwrap())));
        }
        until("all requests are at the backend", || backend.requests() == 80 * round).await;
        assert_eq!(backend.handshakes(), 1);
        backend.gate.add_permits(80);
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap().status(), 200);
        }
    }
}

/// A backend that allows fewer streams than we would open gets them one after the other, also when it takes its time to
/// say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_bounds_the_streams() {
    let authority = Authority::new();
    let hesitates = std::time::Duration::from_millis(20);
    let habits = Habits { alpn: &["h2"], streams: Some(2), hesitates, ..Habits::default() };
    let backend = Backend::start(&authority.issue(&["shop.example"]), habits).await;
    let wanted = Wanted::new(backend.address, policy("shop.example", authority.bundle())).http2();
    let gateway = Gateway::start(&wanted).await;
    let mut sender = gateway.http2().await;
    let mut asked = Vec::new();
    for _ in 0..80 {
        let request = http::Request::get("http://a.example/").body(Full::<Bytes>::default());
        asked.push(tokio::spawn(sender.send_request(request.unwrap())));
    }
    for answer in asked {
        assert_eq!(read(answer.await.unwrap().unwrap()).await.0, 200);
    }
}

/// Nothing that was verified by the old policy serves the new one, and its connections end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_policy_opens_new_connections() {
    let (authority, backend) = shop().await;
    for wanted in [
        Wanted::new(backend.address, policy("shop.example", authority.bundle())),
        Wanted::new(backend.address, policy("shop.example", authority.bundle())).http2(),
    ] {
        let gateway = Gateway::start(&wanted).await;
        let mut client = gateway.client().await;
        client.ok("/").await;
        let before = backend.handshakes();
        // The same once more changes nothing.
        gateway.apply(&wanted).await;
        client.ok("/").await;
        assert_eq!(backend.handshakes(), before);
        let mut changed = wanted.clone();
        changed.tls.as_mut().unwrap().subject_names = vec![ir::SubjectName::Dns("shop.example".to_owned())];
        gateway.apply(&changed).await;
        client.ok("/").await;
        assert_eq!(backend.handshakes(), before + 1);
        drop(client);
        until("the old connection ends", || backend.open() == 1).await;
        assert_eq!(gateway.proxy.drain(std::time::Duration::from_secs(5)).await, 0);
        drop(gateway);
        until("the new one ends with the gateway", || backend.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_connections_resume_the_session() {
    let (authority, _) = shop().await;
    let habits = Habits { closes: true, ..Habits::default() };
    let backend = Backend::start(&authority.issue(&["shop.example"]), habits).await;
    let gateway =
        Gateway::start(&Wanted::new(backend.address, policy("shop.example", authority.bundle()))).await;
    for _ in 0..20 {
        gateway.ok("/").await;
    }
    assert_eq!(backend.handshakes(), 20);
    // Whether a ticket is there depends on when the first answer's connection was read to its end.
    assert!(backend.resumed() >= 10, "{} of 19 resumed", backend.resumed());
}

/// Two endpoints of a backend, and two backends at one endpoint, never share a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_endpoint_has_its_connections() {
    let (authority, one) = shop().await;
    let two = Backend::usual(&authority.issue(&["shop.example"])).await;
    let mut wanted = Wanted::new(one.address, policy("shop.example", authority.bundle()));
    wanted.endpoints.push(two.address);
    let gateway = Gateway::start(&wanted).await;
    let mut client = gateway.client().await;
    for _ in 0..50 {
        client.ok("/").await;
    }
    assert_eq!((one.handshakes(), two.handshakes()), (1, 1));
    assert_eq!(one.requests() + two.requests(), 50);
    // A plain backend at the same address gets plain bytes, which this server refuses.
    wanted.tls = None;
    gateway.apply(&wanted).await;
    assert_eq!(gateway.failed().await, "upstream_invalid");
}
