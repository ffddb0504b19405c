//! Certificates and roots change while requests are on their way.

use crate::app;
use crate::pki::Ca;
use crate::sidecar::{Service, Sidecar, strict};
use http_body_util::Full;
use sluice_ir::ListenerProtocol;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_of_certificates_and_roots_lose_no_request() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let server = Sidecar::beside(app::http().await, Some(old.issue("cart", &[&old]))).await;
    server.govern(strict).await;
    let client = Sidecar::start(Some(old.issue("web", &[&old]))).await;
    client.govern(|_| {}).await;
    let service = Service::new("10.96.0.1", ListenerProtocol::Http, server.inbound());
    client.apply(service.resources()).await;
    client.captured_from(Some(service.vip()));

    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for number in 0..8 {
        let (stop, served, to) = (stop.clone(), served.clone(), client.outbound());
        callers.push(tokio::spawn(async move {
            let mut connection = app::Http1::connect(to).await;
            while !stop.load(SeqCst) {
                let request = http::Request::post("/").header("host", "cart").body(Full::default()).unwrap();
                let (status, body, _) = connection.ask(request).await.unwrap();
                assert_eq!(status, 200, "{number}: {body}");
                if number % 2 == 0 {
                    let request = http::Request::get("http://cart/").body(Full::default()).unwrap();
                    let (status, body, _) = app::http2(to, request).await;
                    assert_eq!(status, 200, "{number}: {body}");
                }
                served.fetch_add(1, SeqCst);
            }
        }));
    }
    // Both trusted first, then new certificates, then the old root is dropped.
    let steps: [(&Ca, &[&Ca]); 4] =
        [(&old, &[&old]), (&old, &[&old, &new]), (&new, &[&old, &new]), (&new, &[&new])];
    for (issuer, roots) in steps {
        let before = served.load(SeqCst);
        server.identity.send_replace(Some(issuer.issue("cart", roots)));
        tokio::time::sleep(Duration::from_millis(30)).await;
        client.identity.send_replace(Some(issuer.issue("web", roots)));
        crate::sidecar::until("requests go on", || served.load(SeqCst) > before + 40).await;
    }
    stop.store(true, SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(server.counts("requests_total") || served.load(SeqCst) > 160);
}
