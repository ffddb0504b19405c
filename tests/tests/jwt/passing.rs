//! What becomes of requests: what backends get of tokens and claims, and what they never get from clients.

use crate::{bearing, claims, claims_but, issuer, manifests_with, rule, stand};
use serde_json::json;
use sluice_tests::{Ask, part};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_gets_claims_and_not_the_token() {
    let (key, issuer) = issuer("ES256").await;
    let outputs = ", outputPayloadToHeader: X-Payload, outputClaimToHeaders: [{header: X-User, claim: sub}, \
                   {header: X-Team, claim: org.team.name}, {header: X-Level, claim: level}, {header: X-Admin, claim: admin}, \
                   {header: X-Groups, claim: groups}, {header: X-Half, claim: half}, {header: X-Evil, claim: evil}]";
    let stand = stand(&rule(&issuer, outputs)).await;
    let claims =
        claims_but(json!({"org": {"team": {"name": "blue"}}, "level": -7, "admin": false, "groups": ["a"],
                                   "half": 0.5, "evil": "a\r\nX-Admin: true"}));
    let token = key.token(&claims);
    for _ in 0..2 {
        let forged =
            bearing(&token).header("X-User", "root").header("x_user", "root").header("X-Groups", "root");
        let seen = stand.request(&forged).await;
        let get = |name: &str| seen.expect_status(200).seen_header(name);
        assert_eq!(get("x-user").as_deref(), Some("alice"));
        assert_eq!(get("x-team").as_deref(), Some("blue"));
        assert_eq!(get("x-level").as_deref(), Some("-7"));
        assert_eq!(get("x-admin").as_deref(), Some("false"));
        assert_eq!(get("x-payload"), Some(part(claims.to_string())));
        for absent in ["x_user", "x-groups", "x-half", "x-evil", "authorization"] {
            assert_eq!(get(absent), None, "{absent}");
        }
    }
    // Also without a token, for preflights, and in HTTP/2.
    for ask in [
        Ask::get("http://shop.example/"),
        Ask::new("OPTIONS", "http://shop.example/")
            .header("Origin", "http://a")
            .header("Access-Control-Request-Method", "PUT"),
    ] {
        let ask = ask.header("X-User", "root").header("X_USER", "root").header("X-Payload", "e30");
        for seen in [stand.request(&ask).await, stand.request_h2(&ask).await] {
            for absent in ["x-user", "x_user", "x-payload"] {
                assert_eq!(seen.expect_status(200).seen_header(absent), None, "{absent}");
            }
        }
    }
    let refused = stand.request(&bearing("x").header("X-User", "root")).await;
    assert_eq!((refused.status, refused.backend()), (401, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_taken_from_where_the_rule_says_and_from_nowhere_else() {
    let (key, issuer) = issuer("ES256").await;
    let token = key.token(&claims());
    let places = ", fromHeaders: [{name: X-Token, prefix: 'T '}, {name: X-Raw}], fromParams: [tok], fromCookies: [id], \
                  outputClaimToHeaders: [{header: x-user, claim: sub}]";
    let mut stand = stand(&rule(&issuer, places)).await;
    let ask = |path: &str| Ask::get(&format!("http://shop.example{path}"));
    let forms = [
        ask("/").header("X-Token", &format!("T {token}")),
        ask("/").header("x-raw", &token),
        ask(&format!("/?a=1&tok={token}&b=%202")),
        ask("/").header("Cookie", &format!("a=1; id={token}; b=2")),
    ];
    for (forwards, more) in [(false, ""), (true, ", forwardOriginalToken: true")] {
        stand.apply(&manifests_with(&rule(&issuer, &format!("{places}{more}")))).await;
        for form in &forms {
            for seen in [stand.request(form).await, stand.request_h2(form).await] {
                assert_eq!(
                    seen.expect_status(200).seen_header("x-user").as_deref(),
                    Some("alice"),
                    "{form:?}"
                );
                assert_eq!(seen.text().contains(&token), forwards, "{form:?}: {}", seen.text());
            }
        }
    }
    let seen = stand.request(&bearing("whatever")).await;
    assert_eq!(seen.expect_status(200).seen_header("authorization").as_deref(), Some("Bearer whatever"));
    assert_eq!(seen.seen_header("x-user"), None);
    // What is beside a token stays as it was.
    stand.apply(&manifests_with(&rule(&issuer, places))).await;
    let seen = stand.request(&forms[2]).await;
    assert_eq!(seen.expect_status(200).seen("query"), "a=1&b=%202", "{}", seen.text());
    assert_eq!(stand.request(&forms[3]).await.seen_header("cookie").as_deref(), Some("a=1; b=2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_clients_get_status_16_and_preflights_pass() {
    let (_, issuer) = issuer("ES256").await;
    let stand = stand(&rule(&issuer, "")).await;
    let call = Ask::new("POST", "http://shop.example/a.B/C").header("content-type", "application/grpc");
    let call = call.header("authorization", "Bearer x");
    let answer = stand.request_h2(&call).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")));
    let preflight = Ask::new("OPTIONS", "http://shop.example/").header("authorization", "Bearer x");
    assert_eq!(stand.request(&preflight).await.status, 401, "OPTIONS alone is no preflight");
    let preflight =
        preflight.header("Origin", "http://a.example").header("Access-Control-Request-Method", "PUT");
    assert_eq!(stand.request(&preflight).await.status, 200);
    // What no route takes is refused in the same way, so that a bad token learns nothing of routes.
    let nowhere = Ask::get("http://shop.example/").header("authorization", "Bearer x\"y");
    assert_eq!(stand.request(&nowhere).await.status, 401);
}

/// The script of the example: keys and signatures by openssl.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_openssl_are_believed() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/request-authentication/tokens");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(script).args(arguments).env("ISSUER", "openssl").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let keys = run(&["keys", folder]);
    let rules = format!(
        "[{{issuer: openssl, jwks: '{keys}', outputClaimToHeaders: [{{header: x-user, claim: sub}}]}}]"
    );
    let stand = stand(&rules).await;
    let token = run(&["token", r#"{"sub": "carol"}"#, folder]);
    let seen = stand.request(&bearing(&token)).await;
    assert_eq!(seen.expect_status(200).seen_header("x-user").as_deref(), Some("carol"));
    assert_eq!(stand.request(&bearing(&run(&["token", "{}", folder]))).await.status, 200);
}

/// A limit by claim counts whom the token names, not whom the client says; whoever has none is counted with all the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_claims() {
    let (key, issuer) = issuer("ES256").await;
    let limits = "
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: often}
spec:
  targetRefs: [{kind: Gateway, name: web}]
  rateLimit:
    local: {rules: [{requests: 2, per: 1h, key: [{type: Claim, name: org.team}]}]}
";
    let mut stand = stand(&rule(&issuer, "")).await;
    stand.apply(&format!("{}{limits}", manifests_with(&rule(&issuer, "")))).await;
    let of = |team: serde_json::Value, user: &str| {
        key.token(&claims_but(json!({"org": {"team": team}, "sub": user})))
    };
    for (token, status) in [
        (of(json!("red"), "a"), 200),
        (of(json!("blue"), "a"), 200),
        (of(json!("red"), "b"), 200),
        (of(json!("red"), "c"), 429),
        (of(json!("blue"), "b"), 200),
        (of(json!("blue"), "a"), 429),
        (of(json!(7), "a"), 200),
        (of(json!(["red"]), "a"), 200),
        (of(json!(null), "a"), 200),
        (of(json!(null), "b"), 429),
    ] {
        assert_eq!(crate::status(&stand, &token).await, status);
    }
    stand.get("http://shop.example/").await.expect_status(429);
    assert_eq!(crate::status(&stand, "x").await, 401, "who asks comes before how often");
}

/// AuthorizationPolicies decide by what a verified token says, and by nothing that a client says without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_decide_by_claims() {
    let (key, issuer) = issuer("ES256").await;
    let policy = "
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: who}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  action: ALLOW
  rules:
  - from: [{source: {requestPrincipals: ['https://id.test/alice']}}]
    to: [{operation: {paths: [/alice]}}]
  - to: [{operation: {paths: [/shop]}}]
    when: [{key: 'request.auth.audiences', values: [shop]}, {key: 'request.auth.claims[org][teams]', values: [blue]}]
  - to: [{operation: {paths: [/write]}}]
    when: [{key: 'request.auth.claims[scope]', values: [write]}, {key: 'request.auth.presenter', values: [web]}]
  - to: [{operation: {paths: [/any]}}]
    when: [{key: 'request.auth.principal', values: ['*']}]
  - to: [{operation: {paths: [/public]}}]
";
    let mut stand = stand(&rule(&issuer, "")).await;
    stand.apply(&format!("{}{policy}", manifests_with(&rule(&issuer, "")))).await;
    let alice = key
        .token(&claims_but(json!({"scope": "read write", "azp": "web", "org": {"teams": ["red", "blue"]}})));
    let bob = key.token(&claims_but(
        json!({"sub": "bob", "aud": "other", "scope": "readwrite", "azp": "web", "org": {"teams": "red"}}),
    ));
    let ask = |path: &str, token: Option<&str>| {
        let ask = Ask::get(&format!("http://shop.example{path}")).header("x-sub", "alice");
        token.map_or(ask.clone(), |it| ask.header("Authorization", &format!("Bearer {it}")))
    };
    for (path, of_alice, of_bob, of_nobody) in [
        ("/alice", 200, 403, 403),
        ("/shop", 200, 403, 403),
        ("/write", 200, 403, 403),
        ("/any", 200, 200, 403),
        ("/public", 200, 200, 200),
        ("/other", 403, 403, 403),
    ] {
        for (token, status) in [(Some(&alice), of_alice), (Some(&bob), of_bob), (None, of_nobody)] {
            let answer = stand.request(&ask(path, token.map(String::as_str))).await;
            assert_eq!(answer.status, status, "{path}: {token:?}");
        }
        assert_eq!(stand.request(&ask(path, Some("x"))).await.status, 401, "{path}");
    }
}
