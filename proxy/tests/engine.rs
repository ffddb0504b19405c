//! Requests through a whole proxy that was configured with plain IR: no Kubernetes type in sight.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_ir::{self as ir, Resource};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A backend that answers each request on a connection with its request line, and 503 for `/flaky` the first time.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut flaky = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                seen.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&seen).into_owned();
                if !text.contains("\r\n\r\n") {
                    continue;
                }
                seen.clear();
                let line = text.lines().next().unwrap_or_default().to_owned();
                let status = if line.contains("/flaky") && flaky == 0 { "503 Busy" } else { "200 OK" };
                flaky += usize::from(line.contains("/flaky"));
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{line}", line.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    address
}

fn configuration(endpoint: SocketAddr, port: u16) -> ir::Delta {
    let origin = |kind, name: &str| ir::Origin::new(kind, "default", name);
    let gateway = ir::GatewayKey::new("default/edge");
    let listener = ir::ListenerKey::new("Gateway/default/edge/http");
    let backend = ir::BackendKey::new("Service/default/app:80");
    let endpoints = ir::EndpointSetKey::new("Service/default/app:80");
    let rule = |index, path: &str, filters: Vec<ir::Filter>| ir::Rule {
        index,
        name: None,
        matches: [ir::Match { path: ir::PathMatch::Prefix(path.into()), ..ir::Match::default() }].into(),
        filters: filters.into(),
        backends: [ir::WeightedBackend {
            target: ir::BackendTarget::Backend(backend.clone()),
            weight: 1,
            filters: Box::default(),
        }]
        .into(),
        timeouts: None,
        retry: Some(Box::new(ir::Retry {
            codes: vec![503],
            attempts: 1,
            backoff: std::time::Duration::from_millis(1),
        })),
        session_persistence: None,
    };
    let redirect = ir::Redirect {
        scheme: Some("https".to_owned()),
        hostname: None,
        path: None,
        port: None,
        status: 301,
    };
    let rewrite = ir::Rewrite { hostname: None, path: Some(ir::PathEdit::Prefix("/new".to_owned())) };
    ir::Delta {
        upserts: vec![
            Resource::Gateway(Arc::new(ir::Gateway::plain(
                gateway.clone(),
                origin("Gateway", "edge"),
                ir::Settings::standard(),
            ))),
            Resource::Listener(Arc::new(ir::Listener {
                key: listener.clone(),
                origin: origin("Gateway", "edge").section("http"),
                gateway,
                addresses: Vec::new(),
                networks: Vec::new(),
                port,
                protocol: ir::ListenerProtocol::Http,
                hostname: ir::HostPattern::Any,
                destination: None,
                traffic: None,
            })),
            Resource::EndpointSet(Arc::new(ir::EndpointSet {
                is_external: false,
                takes_first: false,
                asked: None,
                key: endpoints.clone(),
                origin: origin("Service", "app"),
                endpoints: vec![ir::Endpoint {
                    address: ir::EndpointAddress::Socket(endpoint),
                    state: ir::EndpointState::Ready,
                    weight: 1,
                    topology: None,
                    workload: None,
                }],
            })),
            Resource::Backend(Arc::new(ir::Backend {
                key: backend.clone(),
                origin: origin("Service", "app"),
                protocol: ir::BackendProtocol::Http1,
                endpoints,
                tls: None,
                policy: None,
                health: None,
                mesh: ir::MeshTls::Off,
            })),
            Resource::Route(Arc::new(ir::Route {
                key: ir::RouteKey::new("HTTPRoute/default/app"),
                origin: origin("HTTPRoute", "app"),
                kind: ir::RouteKind::Http,
                created_s: 0,
                attachments: [ir::Attachment {
                    listener,
                    hostnames: [ir::HostPattern::parse("a.example")].into(),
                }]
                .into(),
                traffic: None,
                rules: [
                    rule(0, "/app", Vec::new()),
                    rule(1, "/old", vec![ir::Filter::Rewrite(rewrite)]),
                    rule(2, "/secure", vec![ir::Filter::Redirect(redirect)]),
                    rule(3, "/flaky", Vec::new()),
                ]
                .into(),
            })),
        ],
        removals: Vec::new(),
    }
}

async fn get(stream: &mut TcpStream, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
                })
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed after {text:?}");
        seen.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_serves_what_the_ir_says() {
    let endpoint = backend().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let plan = BindPlan {
        bind: "127.0.0.1".parse().unwrap(),
        port_offset: 0,
        cluster_ports: false,
        is_captured: false,
    };
    let log = AccessLogger::to_writer(Box::new(std::io::sink()));
    let proxy =
        Proxy::new(ProxyOptions { plan, log, resolver: Resolver::system(), identity: None, mesh: None })
            .unwrap();
    let failures = proxy.apply(&configuration(endpoint, free)).await;
    assert!(failures.is_empty(), "{failures:?}");

    let mut stream = TcpStream::connect(("127.0.0.1", free)).await.unwrap();
    let answer = get(&mut stream, "a.example", "/app/x?q=1").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("GET /app/x?q=1 HTTP/1.1"), "{answer}");
    let answer = get(&mut stream, "a.example", "/old/x").await;
    assert!(answer.ends_with("GET /new/x HTTP/1.1"), "{answer}");
    let answer = get(&mut stream, "a.example", "/secure").await;
    assert!(
        answer.starts_with("HTTP/1.1 301")
            && answer.to_lowercase().contains("location: https://a.example/secure")
    );
    let answer = get(&mut stream, "a.example", "/flaky").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "the 503 was tried again: {answer}");
    let answer = get(&mut stream, "b.example", "/app").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("no_route\n"), "{answer}");
    let metrics = proxy.metrics().encode();
    assert!(metrics.contains("route=\"HTTPRoute default/app\""), "{metrics}");

    let gone = ir::Delta {
        upserts: Vec::new(),
        removals: vec![ir::ResourceKey::Route(ir::RouteKey::new("HTTPRoute/default/app"))],
    };
    proxy.apply(&gone).await;
    let answer = get(&mut stream, "a.example", "/app").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "the connection lived on, the route did not: {answer}");
    assert_eq!(proxy.drain(std::time::Duration::from_secs(2)).await, 0);
    assert!(TcpStream::connect(("127.0.0.1", free)).await.is_err());
}
