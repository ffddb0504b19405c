//! Names of handshakes.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_acme::{OnDemand, Refused, Scope, SolverKind};
use sluice_tests::acme::{ISSUER, PebbleOptions, Running, World, key_of, set};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

/// An allow endpoint that allows what begins with `good`, and counts questions.
async fn endpoint() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = counter.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                counter.fetch_add(1, Ordering::SeqCst);
                let is_good = request.uri().query().is_some_and(|it| it.starts_with("domain=good"));
                let status = if is_good { StatusCode::OK } else { StatusCode::FORBIDDEN };
                let answer = Response::builder().status(status).body(String::new()).unwrap();
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, count)
}

async fn world(change: impl FnOnce(&mut OnDemand)) -> (World, Running, Arc<AtomicUsize>) {
    let world = World::start(PebbleOptions::default()).await;
    let (address, count) = endpoint().await;
    let mut issuer = world.issuer(&[SolverKind::Http01]);
    let mut on_demand = OnDemand::new(format!("http://{address}/allow"));
    change(&mut on_demand);
    issuer.on_demand = Some(on_demand);
    let engine = world.engine(set(&issuer, Vec::new()));
    // The loop has taken the issuer in when its state is shown.
    let mut issuers = engine.handle.issuers();
    issuers.wait_for(|it| !it.is_empty()).await.unwrap();
    (world, engine, count)
}

async fn ask(engine: &Running, name: &str) -> Result<(), Refused> {
    let issuer = sluice_acme::IssuerName::new(ISSUER);
    engine.handle.on_demand(key_of(name), issuer, name.to_owned(), Scope::new("shop/gateway")).await
}

#[tokio::test]
async fn many_handshakes_for_one_allowed_name_make_one_question_and_one_order() {
    let (world, engine, questions) = world(|_| {}).await;
    let asked = (0..50).map(|_| ask(&engine, "good.example.test"));
    for outcome in futures::future::join_all(asked).await {
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!((world.pebble.orders(), questions.load(Ordering::SeqCst)), (1, 1));
    assert!(
        world
            .store()
            .read(&sluice_acme::Item::Certificate(key_of("good.example.test")))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_stream_of_unknown_names_makes_no_order_and_each_name_is_asked_for_once() {
    let (world, engine, questions) = world(|_| {}).await;
    for round in 0..3 {
        for n in 0..300 {
            let refused = ask(&engine, &format!("bad-{n}.example.test")).await.unwrap_err();
            assert!(matches!(refused, Refused::NotAllowed(_)), "{round} {refused}");
        }
    }
    assert_eq!(questions.load(Ordering::SeqCst), 300);
    for odd in ["*.example.test", "localhost", "10.0.0.1", "Good.example.test"] {
        assert!(matches!(ask(&engine, odd).await, Err(Refused::Name(_))), "{odd}");
    }
    assert_eq!(world.pebble.orders(), 0);
    assert!(engine.handle.statuses().borrow().is_empty());
}

#[tokio::test]
async fn budgets_and_the_number_of_names_hold_whoever_asks() {
    let (world, engine, _) = world(|it| it.per_window = 2).await;
    assert_eq!(ask(&engine, "good-1.example.test").await, Ok(()));
    assert_eq!(ask(&engine, "good-2.example.test").await, Ok(()));
    let refused = ask(&engine, "good-3.example.test").await.unwrap_err();
    assert!(matches!(&refused, Refused::Quota(it) if it.contains("orders on demand")), "{refused}");
    // One that is there is served all the same.
    assert_eq!(ask(&engine, "good-1.example.test").await, Ok(()));
    assert_eq!(world.pebble.orders(), 2);
}

#[tokio::test]
async fn no_more_names_are_held_than_allowed() {
    let (_world, engine, _) = world(|it| it.max_names = 1).await;
    assert_eq!(ask(&engine, "good-1.example.test").await, Ok(()));
    let refused = ask(&engine, "good-2.example.test").await.unwrap_err();
    assert!(matches!(&refused, Refused::Quota(it) if it.contains("holds 1 names")), "{refused}");
}

#[tokio::test]
async fn a_name_that_failed_is_refused_at_once_and_not_tried_in_the_background() {
    let (world, engine, questions) = world(|it| it.refused_for = Duration::from_secs(60)).await;
    let refused = ask(&engine, "good.nowhere.test").await.unwrap_err();
    assert!(matches!(&refused, Refused::Failed(it) if it.contains("good.nowhere.test")), "{refused}");
    let again = ask(&engine, "good.nowhere.test").await.unwrap_err();
    assert_eq!(again, refused);
    assert_eq!((world.pebble.orders(), questions.load(Ordering::SeqCst)), (0, 1));
    sluice_tests::eventually("nothing is kept of it", || async {
        engine.handle.statuses().borrow().is_empty()
    })
    .await;
}
