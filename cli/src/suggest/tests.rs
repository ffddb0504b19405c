//! Logs in, manifests out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Found, Observed, PolicyArgs, SuggestArgs, Target, What, Workload, labels, suggest};
use clap::Parser as _;
use sluice_crds::{Object, Parsed};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    suggest: SuggestArgs,
}

fn args(more: &[&str]) -> Result<PolicyArgs, clap::Error> {
    let words = [&["suggest", "policy", "-n", "shop"], more].concat();
    Cli::try_parse_from(words).map(|it| {
        let What::Policy(args) = it.suggest.what;
        args
    })
}

fn made(target: Target, log: &str) -> String {
    let mut observed = Observed::default();
    observed.read(log.as_bytes()).unwrap();
    let workload = Workload { policy: "suggested".to_owned(), target, observed };
    suggest(&args(&[]).unwrap(), &Found { workloads: vec![workload], notes: Vec::new() }).unwrap()
}

fn cart() -> Target {
    Target::Pods(labels(&["app=cart".to_owned()]).unwrap())
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
    let text = made(cart(), LOG);
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
    let text = made(cart(), "");
    assert!(!text.contains("AuthorizationPolicy"), "{text}");
    assert!(made(Target::Gateway("web".to_owned()), LOG).contains("targetRefs:"));
}

#[test]
fn a_selector_has_pairs_and_a_gateway_needs_its_logs() {
    assert!(labels(&["cart".to_owned()]).is_err());
    assert!(args(&["--gateway", "web"]).is_err(), "who is to be asked?");
    assert!(args(&["--gateway", "web", "-"]).is_ok());
}
