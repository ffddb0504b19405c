//! Logs in, manifests out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Observed, PolicyArgs, suggest};
use sluice_crds::{Object, Parsed};

fn args() -> PolicyArgs {
    PolicyArgs {
        namespace: "shop".to_owned(),
        selector: vec!["app=cart".to_owned()],
        gateway: None,
        name: "suggested".to_owned(),
        most_alike: 10,
        files: Vec::new(),
    }
}

fn observed(log: &str) -> Observed {
    let mut observed = Observed::default();
    observed.read(log.as_bytes()).unwrap();
    observed
}

const LOG: &str = r#"
{"method":"GET","path":"/orders/1","status":200,"outcome":"served","port":8080,"client_identity":"spiffe://td/ns/shop/sa/web"}
{"method":"GET","path":"/orders/2?x=1","status":200,"outcome":"served","port":8080,"client_identity":"spiffe://td/ns/shop/sa/web"}
{"method":"HEAD","path":"/orders/2","status":200,"outcome":"served","port":8080,"client_identity":"spiffe://td/ns/shop/sa/web"}
{"method":"GET","path":"/health","status":503,"outcome":"served","port":8080,"client_identity":"spiffe://td/ns/shop/sa/web"}
{"method":"DELETE","path":"/orders/2","status":403,"outcome":"forbidden","port":8080,"client_identity":"spiffe://td/ns/shop/sa/web"}
{"method":"GET","path":"/nothing","status":404,"outcome":"served","port":8080,"client_identity":"spiffe://td/ns/shop/sa/web"}
{"method":"GET","path":"/metrics","status":200,"outcome":"served","port":9090}
{"protocol":"TCP","outcome":"served","port":5432,"client_identity":"spiffe://td/ns/shop/sa/job"}
{"method":"POST","path":"/a.b/Call","response_code":"200","grpc_status":"OK","upstream_cluster":"inbound|9000||","downstream_peer_uri_san":"spiffe://td/ns/shop/sa/job"}
{"method":"GET","path":"/x","response_code":200,"upstream_cluster":"outbound|80||cart.shop.svc.cluster.local","authority":"cart"}
{"method":"GET","path":"/v1","response_code":200,"upstream_cluster":"PassthroughCluster","authority":"API.example.com","upstream_host":"192.0.2.1:80"}
{"protocol":"TLS","outcome":"served","route":"Outbound PassthroughCluster","tls_server_name":"pay.example.com","upstream_address":"192.0.2.2:443"}
{"protocol":"TCP","outcome":"served","route":"Outbound PassthroughCluster","upstream_address":"192.0.2.3:5432"}
not a record
"#;

#[test]
fn callers_may_do_what_they_were_seen_to_do() {
    let text = suggest(&args(), &observed(LOG)).unwrap();
    let expected = r#"# Made by sluice suggest policy from 10 calls (10 different). Read before you apply.
# 2 refused or failed; not allowed here.
# 2 in lines that are no record of a call.
# 1 without an identity, which no policy can name: GET /metrics on port 9090
"#;
    assert!(text.starts_with(expected), "{text}");
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    let documents: Vec<_> = documents.into_iter().filter(|it| !it.is_null()).collect();
    let policy = &documents[0];
    assert_eq!(policy["metadata"]["annotations"]["istio.io/dry-run"], "true");
    assert_eq!(
        policy["spec"],
        serde_json::json!({
            "action": "ALLOW",
            "selector": {"matchLabels": {"app": "cart"}},
            "rules": [
                {"from": [{"source": {"principals": ["td/ns/shop/sa/job"]}}],
                 "to": [{"operation": {"ports": ["5432"]}},
                        {"operation": {"ports": ["9000"], "methods": ["POST"], "paths": ["/a.b/Call"]}}]},
                {"from": [{"source": {"principals": ["td/ns/shop/sa/web"]}}],
                 "to": [{"operation": {"ports": ["8080"], "methods": ["GET"], "paths": ["/health"]}},
                        {"operation": {"ports": ["8080"], "methods": ["GET", "HEAD"], "paths": ["/orders/{*}"]}}]},
            ],
        })
    );
    let hosts: Vec<_> = documents[1..].iter().map(|it| it["spec"]["hosts"][0].as_str().unwrap()).collect();
    assert_eq!(hosts, ["192-0-2-3.address.internal", "api.example.com", "pay.example.com"]);
    assert_eq!(documents[1]["spec"]["addresses"][0], "192.0.2.3");
    assert_eq!(documents[3]["spec"]["ports"][0]["protocol"], "TLS");
    for document in documents {
        match Object::parse(document, "default").unwrap() {
            Parsed::Known { unknown_fields, .. } => assert!(unknown_fields.is_empty(), "{unknown_fields:?}"),
            Parsed::Ignored { kind, .. } => panic!("{kind} is not read"),
        }
    }
}

#[test]
fn nothing_seen_allows_nothing() {
    let text = suggest(&args(), &observed("")).unwrap();
    assert!(!text.contains("AuthorizationPolicy"), "{text}");
    let gateway = PolicyArgs { gateway: Some("web".to_owned()), selector: Vec::new(), ..args() };
    assert!(suggest(&gateway, &observed(LOG)).unwrap().contains("targetRefs:"));
    let wrong = PolicyArgs { selector: vec!["cart".to_owned()], ..args() };
    assert!(suggest(&wrong, &observed(LOG)).is_err());
}
