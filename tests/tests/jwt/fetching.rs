//! How keys are fetched: found, rotated under load, and never from where they must not.

use crate::{bearing, claims, claims_but, count, issuer, manifests_with, rule, stand, status};
use serde_json::json;
use sluice_tests::{Endpoints, Issuer, Recorder, Stand, TokenKey, eventually, manifests, now_s};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_inline_fetched_or_where_the_issuer_says() {
    let (key, issuer) = issuer("ES256").await;
    let inline = TokenKey::new("EdDSA", "inline");
    let jwks = json!({"keys": [inline.jwk()]}).to_string();
    let rules = format!(
        "[{{issuer: inline, jwks: '{jwks}'}}, {{issuer: {url}}}, {{issuer: named, jwksUri: {url}/keys}}]",
        url = issuer.url()
    );
    let stand = stand(&rules).await;
    assert_eq!(status(&stand, &inline.token(&claims_but(json!({"iss": "inline"})))).await, 200);
    // The very first request waits for the keys.
    assert_eq!(status(&stand, &key.token(&claims_but(json!({"iss": issuer.url()})))).await, 200);
    assert_eq!(status(&stand, &key.token(&claims_but(json!({"iss": "named"})))).await, 200);
    let asked = issuer.asked();
    assert_eq!(asked.iter().filter(|it| it.contains("openid-configuration")).count(), 1, "{asked:?}");
    for result in ["result=\"fetched\"", &format!("issuer=\"{}\"", issuer.url())] {
        assert!(count(&stand, "sluice_jwks_fetches_total", result) > 0, "{result}");
    }
    assert!(count(&stand, "sluice_jwt_requests_total", "result=\"verified\"") >= 3);
}

/// A key comes and another goes while requests run: all that bear good tokens are served, and tokens of the old key are
/// refused once the gateway knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rotation_fails_no_request() {
    let (old, issuer) = issuer("ES256").await;
    let new = TokenKey::new("ES256", "two");
    let stand = Arc::new(stand(&rule(&issuer, "")).await);
    assert_eq!(status(&stand, &old.token(&claims())).await, 200);
    // A fetch that a token asks for is not due right after another one.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let is_new = Arc::new(AtomicBool::new(false));
    let (old_token, new_token) = (old.token(&claims()), new.token(&claims()));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stand, is_over, served, is_new) =
                (stand.clone(), is_over.clone(), served.clone(), is_new.clone());
            let (old_token, new_token) = (old_token.clone(), new_token.clone());
            tokio::spawn(async move {
                let ask = bearing(&old_token);
                let mut wire = stand.wire(&ask).await;
                while !is_over.load(SeqCst) {
                    let token = if is_new.load(SeqCst) { &new_token } else { &old_token };
                    let answer = wire.ask(&bearing(token)).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    eventually("requests run", || async { served.load(SeqCst) > 50 }).await;
    // Good issuers tell a key before they use it, and take it back long after; a hasty one does not.
    issuer.set_keys(&[&old, &new]);
    is_new.store(true, SeqCst);
    let before = served.load(SeqCst);
    eventually("requests with the new key run", || async { served.load(SeqCst) > before + 50 }).await;
    is_over.store(true, SeqCst);
    for task in load {
        task.await.unwrap();
    }
    let asked = issuer.asked().len();
    assert_eq!(asked, 2, "one fetch at the start, one for the unknown key");
    assert_eq!(status(&stand, &old_token).await, 200, "both are there");
    // Unknown keys are asked for at most once in ten seconds, however many come.
    let unknown = TokenKey::new("ES256", "three").token(&claims());
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(status(&stand, &unknown).await, 401);
    }
    assert!(issuer.asked().len() <= 3, "{:?}", issuer.asked());
    assert!(began.elapsed() < Duration::from_secs(9), "nobody waits for a fetch that is not due");
    // Then the old key is taken back.
    issuer.set_keys(&[&new]);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(status(&stand, &unknown).await, 401);
    assert_eq!(status(&stand, &old_token).await, 401, "it was verified before, by keys that are no more");
    assert_eq!(status(&stand, &new_token).await, 200);
}

/// Without keys nobody is let in; when they come, everybody is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_tokens_are_refused_and_requests_without_pass() {
    let (key, issuer) = issuer("ES256").await;
    issuer.answer(Some(("503 Unwell", b"")));
    let stand = stand(&rule(&issuer, ", timeout: 1s")).await;
    let token = key.token(&claims());
    assert_eq!(status(&stand, &token).await, 401);
    stand.get("http://shop.example/").await.expect_status(200);
    assert!(count(&stand, "sluice_jwt_requests_total", "no_keys") >= 1);
    assert!(count(&stand, "sluice_jwks_fetches_total", "result=\"status\"") >= 1);
    for instead in [
        ("200 OK", &b"<html>"[..]),
        ("200 OK", br#"{"keys":{}}"#),
        ("200 OK", br#"{"keys":[],"keys":[]}"#),
        ("404 Not Found", b""),
        ("204 No Content", b""),
    ] {
        issuer.answer(Some(instead));
        assert_eq!(status(&stand, &token).await, 401, "{instead:?}");
    }
    issuer.answer(None);
    let deadline = Instant::now() + Duration::from_secs(20);
    while status(&stand, &token).await != 200 {
        assert!(Instant::now() < deadline, "keys are fetched as soon as a token asks for them");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What was fetched serves on.
    issuer.answer(Some(("500 Oops", b"")));
    assert_eq!(status(&stand, &key.token(&claims_but(json!({"sub": "b"})))).await, 200);
    // Also through an edit of the rule.
    let mut stand = stand;
    stand.apply(&manifests_with(&rule(&issuer, ", timeout: 2s, audiences: [shop]"))).await;
    assert_eq!(status(&stand, &key.token(&claims_but(json!({"sub": "c"})))).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_slow_too_large_or_elsewhere_brings_no_keys() {
    let (key, issuer) = issuer("ES256").await;
    let other = Issuer::start(&[&key]).await;
    let token = key.token(&claims());
    issuer.answer(Some((&format!("302 Found\r\nLocation: {}/keys", other.url()), b"")));
    let redirected = stand(&rule(&issuer, ", timeout: 1s")).await;
    assert_eq!(status(&redirected, &token).await, 401);
    assert_eq!(count(&redirected, "sluice_jwks_fetches_total", "result=\"redirect\""), 1);
    assert!(other.asked().is_empty(), "a redirect is not followed");
    let padding = format!("{{\"keys\":[{}],\"x\":\"{}\"}}", key.jwk(), "x".repeat(300_000));
    issuer.answer(Some(("200 OK", padding.as_bytes())));
    let large = stand(&rule(&issuer, "")).await;
    assert_eq!(status(&large, &token).await, 401);
    assert_eq!(count(&large, "sluice_jwks_fetches_total", "result=\"too_large\""), 1);
    issuer.answer(None);
    issuer.hang(true);
    let slow = stand(&rule(&issuer, ", timeout: 300ms")).await;
    let began = Instant::now();
    assert_eq!(status(&slow, &token).await, 401);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(count(&slow, "sluice_jwks_fetches_total", "result=\"timeout\""), 1);
}

/// Names and addresses that lead inside without the registry's word (SSRF).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_inside_is_asked_on_a_policys_word() {
    let (key, issuer) = issuer("ES256").await;
    let port = issuer.address().port();
    let closed = |rules: &str| manifests_with(rules).replace("MESH_INTERNAL", "MESH_EXTERNAL");
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1.2.3",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "sub.localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "localhost.",
    ] {
        for uri in [format!(", jwksUri: 'http://{host}:{port}/keys'"), String::new()] {
            let name =
                if uri.is_empty() { format!("http://{host}:{port}") } else { "https://id.test".to_owned() };
            let mut stand = Stand::empty(Endpoints::Echo).await;
            stand.apply(&closed(&format!("[{{issuer: '{name}'{uri}, timeout: 2s}}]"))).await;
            assert_eq!(status(&stand, &key.token(&claims_but(json!({"iss": name})))).await, 401, "{host}");
        }
    }
    assert!(issuer.asked().is_empty(), "{:?}", issuer.asked());
    // A Service's name may lead into the cluster, and not to this machine.
    let mut stand = Stand::empty(Endpoints::Echo).await;
    let service = format!(
        "[{{issuer: https://id.test, jwksUri: 'http://a.b.svc.cluster.local:{port}/keys', timeout: 1s}}]"
    );
    stand.apply(&closed(&service)).await;
    assert_eq!(status(&stand, &key.token(&claims())).await, 401);
    assert!(issuer.asked().is_empty());
}

/// A document of an issuer can't send the gateway elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuers_document_leads_only_to_its_own_keys() {
    let (key, issuer) = issuer("ES256").await;
    let inside = Recorder::start().await;
    let token = key.token(&claims_but(json!({"iss": issuer.url()})));
    let rules = format!("[{{issuer: {}, timeout: 1s}}]", issuer.url());
    let own = issuer.url();
    for document in [
        json!({"issuer": "https://other.example", "jwks_uri": format!("{own}/keys")}),
        json!({"issuer": own, "jwks_uri": format!("http://{}/keys", inside.address())}),
        json!({"issuer": own, "jwks_uri": "http://169.254.169.254/latest/meta-data"}),
        json!({"issuer": own, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": own, "jwks_uri": ["a"]}),
        json!({"issuer": own}),
        json!([own]),
    ] {
        issuer.answer(Some(("200 OK", document.to_string().as_bytes())));
        let stand = stand(&rules).await;
        assert_eq!(status(&stand, &token).await, 401, "{document}");
    }
    assert!(inside.requests().is_empty());
    assert!(issuer.asked().iter().all(|it| it.contains("openid-configuration")), "{:?}", issuer.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_comes_changes_and_goes() {
    let (key, issuer) = issuer("ES256").await;
    let mut stand = Stand::empty(Endpoints::Echo).await;
    let route = manifests::route("cart", &[], "main.test", 80);
    let without = [manifests::GATEWAY, &manifests::backend("main.test", 80, "HTTP"), &route].concat();
    stand.apply(&without).await;
    stand.request(&bearing("x")).await.expect_status(200);
    stand.apply(&manifests_with(&rule(&issuer, ""))).await;
    let token = key.token(&claims());
    assert_eq!((status(&stand, "x").await, status(&stand, &token).await), (401, 200));
    stand.apply(&manifests_with(&rule(&issuer, ", audiences: [other]"))).await;
    assert_eq!(status(&stand, &token).await, 401, "what was verified by other rules is not known");
    let ending = key.token(&claims_but(json!({"exp": now_s() - 57, "aud": ["other"]})));
    assert_eq!(status(&stand, &ending).await, 200);
    let deadline = Instant::now() + Duration::from_secs(10);
    while status(&stand, &ending).await == 200 {
        assert!(Instant::now() < deadline, "a known token ends as well");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stand.apply(&without).await;
    stand.request(&bearing("x")).await.expect_status(200);
}
