//! TXT records by a service of the user.

use crate::resume::certificate;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto};
use serde_json::Value;
use sluice_acme::{Dns01, Reason, Secret, SolverKind, State, Webhook};
use sluice_tests::acme::{PebbleOptions, World, set, wanted};
use sluice_tests::pki::{Pki, Wish};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A service that changes the zone by `nsupdate`, after failing once.
struct Service {
    address: SocketAddr,
    calls: Mutex<Vec<Value>>,
    world: World,
}

impl Service {
    async fn start(world: World) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Arc::new(Self { address, calls: Mutex::default(), world });
        tokio::spawn(serve(listener, service.clone()));
        service
    }

    fn settings(&self, secret: &str) -> SolverKind {
        SolverKind::Dns01(Dns01::Webhook(Webhook {
            url: format!("https://{}/acme", self.address),
            authorities: Some(Pki::named("second").pem().to_owned()),
            header: Some(("authorization".to_owned(), Secret::new(secret))),
            zone: Some("example.test".to_owned()),
        }))
    }

    async fn answer(&self, request: Request<Incoming>) -> u16 {
        if request.headers().get("authorization").is_none_or(|it| it != "Bearer right") {
            return 401;
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let call: Value = serde_json::from_slice(&body).unwrap();
        let is_first = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            calls.len() == 1
        };
        if is_first {
            return 503;
        }
        let text = |field: &str| call[field].as_str().unwrap().to_owned();
        let verb = if call["action"] == "present" { "add" } else { "delete" };
        let ttl = if verb == "add" { "1 " } else { "" };
        let line = format!("update {verb} {}. {ttl}TXT \"{}\"", text("fqdn"), text("value"));
        self.world.named.update(&line).await;
        200
    }
}

async fn serve(listener: TcpListener, service: Arc<Service>) {
    let wish = Wish { signed_by: "second".to_owned(), names: vec!["127.0.0.1".to_owned()], uris: Vec::new() };
    let (chain, key) = wish.issue();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), service.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let service = service.clone();
                async move {
                    let status = service.answer(request).await;
                    Ok::<_, Infallible>(
                        Response::builder().status(status).body(Full::<Bytes>::default()).unwrap(),
                    )
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[tokio::test]
async fn dns_01_by_webhook_is_tried_again_and_cleaned_up_and_a_refusal_is_told_without_the_secret() {
    let service = Service::start(World::start(PebbleOptions::default()).await).await;
    let world = &service.world;
    let wishes = vec![wanted("web", &["*.hook.example.test"])];
    let engine = world.engine(set(&world.issuer(&[service.settings("Bearer wrong")]), wishes.clone()));
    let waits = |it: &sluice_acme::Status| matches!(&it.state, State::Waiting { until: Some(_), .. });
    let status = engine.status("web", "waits", waits).await;
    let State::Waiting { reason, message, .. } = status.state else { panic!() };
    assert!(reason == Reason::Dns && message.contains("is refused with 401"), "{message}");
    assert!(!message.contains("wrong"), "{message}");
    engine.wanted.send_replace(Arc::new(set(&world.issuer(&[service.settings("Bearer right")]), wishes)));
    engine.issued("web").await;
    assert!(certificate(world, "web").await.is_some());
    let calls = service.calls.lock().unwrap().clone();
    let actions: Vec<&str> = calls.iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["present", "present", "cleanup"]);
    assert_eq!(calls[0]["fqdn"], "_acme-challenge.hook.example.test");
    assert_eq!(calls[0]["zone"], "example.test");
    assert_eq!(world.named.texts("_acme-challenge.hook.example.test").await, Vec::<String>::new());
    assert_eq!(world.pebble.orders(), 1);
}
