//! Requests against folders, with the places that the explanation names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Asked, Explanation, explain};
use crate::project::Project;
use std::fs;
use tempfile::TempDir;

const MANIFESTS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: sluice
  listeners:
  - name: any
    port: 80
    protocol: HTTP
  - name: shop
    port: 80
    protocol: HTTP
    hostname: '*.shop.test'
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: web, sectionName: shop}]
  rules:
  - name: cart
    matches:
    - path: {value: /cart}
      headers:
      - {name: x-version, value: '2'}
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: a, value: b}]}
    timeouts: {request: 1s}
    backendRefs:
    - name: cart
      port: 80
      weight: 3
    - name: missing
      port: 80
  - name: empty
    matches:
    - path: {type: Exact, value: /empty}
    backendRefs:
    - {name: idle, port: 80}
  - name: moved
    matches:
    - path: {value: /old}
    filters:
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
  - name: broken
    matches:
    - path: {value: /broken}
    backendRefs:
    - {name: missing, port: 80}
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec:
  ports:
  - {name: http, port: 80}
---
apiVersion: v1
kind: Service
metadata: {name: idle}
spec:
  ports:
  - {name: http, port: 80}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: cart-1
  labels: {kubernetes.io/service-name: cart}
addressType: IPv4
ports: [{name: http, port: 3000}]
endpoints:
- addresses: [10.0.0.1]
- addresses: [10.0.0.2]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart
  trafficPolicy:
    connectionPool: {http: {http2MaxRequests: 7}}
    loadBalancer: {consistentHash: {httpHeaderName: x-user}}
";

/// A folder with this one file, which explanations look into for their lines.
pub(super) fn project(manifests: &str) -> (TempDir, Project) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("all.yaml"), manifests).unwrap();
    let (project, _) = Project::load(folder.path(), "default").unwrap();
    (folder, project)
}

pub(super) fn explained(manifests: &str, asked: &Asked) -> Explanation {
    let (_folder, project) = project(manifests);
    explain(&project, asked)
}

fn of(method: &str, url: &str, headers: &[&str]) -> Asked {
    let headers: Vec<_> = headers.iter().map(|it| (*it).to_owned()).collect();
    Asked::new(method, url, &headers).unwrap()
}

fn asked(method: &str, url: &str, headers: &[&str]) -> Explanation {
    explained(MANIFESTS, &of(method, url, headers))
}

/// The number of the first line of the manifests with that text.
fn line_of(text: &str) -> u32 {
    let index = MANIFESTS.lines().position(|line| line.contains(text)).unwrap();
    u32::try_from(index + 1).unwrap()
}

fn line(part: &super::Part) -> u32 {
    part.position.as_ref().unwrap().line
}

#[test]
fn every_step_of_a_served_request_has_its_place() {
    let it = asked("GET", "http://a.shop.test/cart/items", &["x-version: 2"]);
    assert!(it.answer.is_served, "{}", it.to_text());
    assert_eq!(line(it.listener.as_ref().unwrap()), line_of("- name: shop"));
    assert_eq!(line(it.rule.as_ref().unwrap()), line_of("- name: cart"));
    assert_eq!(line(it.matched.as_ref().unwrap()), line_of("value: /cart"));
    assert_eq!(line(&it.filters[0]), line_of("- type: RequestHeaderModifier"));
    assert_eq!(line(&it.policies[0]), line_of("timeouts:"));
    assert_eq!(line(&it.backends[0].part), line_of("- name: cart\n".trim_end()) + 10);
    assert_eq!(line(it.backends[0].defined.as_ref().unwrap()), line_of("{name: http, port: 80}"));
    assert_eq!(line(&it.backends[0].endpoints[1]), line_of("10.0.0.2"));
    assert_eq!(it.backends[0].share_percent, 75.0);
    let rules: Vec<_> = it.backends[0].rules.iter().map(|it| it.text.as_str()).collect();
    let expected = [
        "the endpoint that header \"x-user\" belongs to, by a ring of at least 1024 points, by DestinationRule default/cart",
        "at most 7 requests on their way, by DestinationRule default/cart",
    ];
    assert_eq!(rules, expected);
    assert!(
        it.answer.text.starts_with("75 % of the requests are forwarded, the others get 500"),
        "{}",
        it.answer.text
    );
}

#[test]
fn a_miss_names_the_condition_that_failed() {
    let it = asked("GET", "http://a.shop.test/cart", &["x-version: 1"]);
    assert_eq!((it.answer.status, it.answer.outcome), (Some(404), Some("no_route")));
    assert!(it.near[0].text.contains("header x-version is not \"2\""), "{}", it.to_text());
    assert_eq!(line(&it.near[0]), line_of("value: /cart"));
    assert!(it.notes.iter().any(|note| note.contains("errors: sluice check")), "{:?}", it.notes);
}

#[test]
fn a_listener_without_the_route_says_so() {
    let it = asked("GET", "http://elsewhere.test/cart", &[]);
    assert_eq!(it.answer.text, "no route is attached to Gateway default/web section \"any\"");
    let it = asked("GET", "http://a.shop.test:8080/", &[]);
    assert_eq!((it.answer.status, it.near.len()), (None, 2));
    let it = asked("GET", "https://a.shop.test:80/", &[]);
    assert!(it.answer.text.contains("use http://"), "{}", it.answer.text);
}

#[test]
fn answers_other_than_a_backends_are_told_apart() {
    for (path, status, outcome) in [
        ("/empty", Some(503), "no_endpoint"),
        ("/broken", Some(500), "invalid_backend"),
        ("/a/%zz", Some(400), "bad_request"),
        ("/old/page?a=b", Some(302), "redirected"),
    ] {
        let it = asked("GET", &format!("http://a.shop.test{path}"), &[]);
        assert_eq!(
            (it.answer.status, it.answer.outcome),
            (status, Some(outcome)),
            "{path}: {}",
            it.to_text()
        );
    }
    let moved = asked("GET", "http://a.shop.test/old/page?a=b", &[]);
    assert_eq!(moved.answer.text, "location: http://a.shop.test/page?a=b");
}

#[test]
fn a_host_field_decides_as_it_does_with_curl() {
    let it = asked("GET", "http://127.0.0.1/cart", &["Host: b.shop.test:80", "X-Version: 2"]);
    assert!(it.answer.is_served, "{}", it.to_text());
    assert!(Asked::new("GET", "shop.test/cart", &[]).is_err());
    assert!(Asked::new("GET", "http://shop.test/", &["no colon".to_owned()]).is_err());
}

const STREAMS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: names, port: 443, protocol: TLS, hostname: '*.test', tls: {mode: Passthrough}}
  - {name: tcp, port: 5432, protocol: TCP}
  - {name: udp, port: 53, protocol: UDP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: web, sectionName: names}]
  hostnames: [shop.test]
  rules:
  - backendRefs: [{name: cart, port: 80, weight: 3}, {name: missing, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: db}
spec:
  parentRefs: [{name: web, sectionName: tcp}]
  rules:
  - backendRefs: [{name: cart, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: later}
spec:
  parentRefs: [{name: web, sectionName: tcp}]
  rules:
  - backendRefs: [{name: cart, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [127.0.0.1]}]
";

fn of_streams(url: &str) -> Explanation {
    explained(STREAMS, &of("GET", url, &[]))
}

#[test]
fn what_is_carried_whole_is_explained_by_name_and_port() {
    let tls = of_streams("tls://shop.test");
    assert!(tls.answer.is_served, "{}", tls.to_text());
    let text = tls.to_text();
    for part in [
        "tls://shop.test\n",
        "names",
        "all.yaml:7",
        "TLSRoute default/shop",
        "75 %",
        "endpoint 127.0.0.1:8080",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let unknown = of_streams("tls://cart.test");
    assert_eq!(unknown.answer.outcome, Some("no_route"), "{}", unknown.to_text());
    let stranger = of_streams("tls://shop.example");
    assert!(stranger.answer.text.contains("no listener of this port answers"), "{}", stranger.to_text());
    let tcp = of_streams("tcp://any.test:5432");
    assert!(
        tcp.answer.is_served && tcp.to_text().contains("default/later is attached too"),
        "{}",
        tcp.to_text()
    );
    assert_eq!(of_streams("udp://any.test:53").answer.outcome, Some("no_route"));
    assert!(of_streams("tcp://any.test:443").answer.text.contains("use tls://"));
    assert!(of_streams("udp://any.test:54").answer.text.contains("no listener carries UDP on port 54"));
    assert!(Asked::new("GET", "tcp://any.test", &[]).is_err());
}

/// Names that are passed through, and others that bring requests, on one port; a port of the first alone; one of TCP.
const MIXED: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: mixed}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: passed, port: 443, protocol: TLS, hostname: own.test, tls: {mode: Passthrough}}
  - {name: https, port: 443, protocol: HTTPS, hostname: '*.web.test', tls: {certificateRefs: [{name: web}]}}
  - {name: alone, port: 8443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: tcp, port: 5432, protocol: TCP}
---
";

#[test]
fn a_request_to_a_port_that_carries_connections_whole_is_told_what_its_name_brings() {
    let made = rcgen::generate_simple_self_signed(vec!["*.web.test".to_owned()]).unwrap();
    let secret = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "web"},
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()}});
    let (_folder, project) = project(&format!("{MIXED}{secret}"));
    let asked = |url: &str| explain(&project, &of("GET", url, &[]));

    let passed = asked("https://own.test/");
    assert!(passed.answer.text.contains("carried whole; use tls://"), "{}", passed.to_text());
    assert!(
        passed.to_text().contains("passed") && passed.to_text().contains("all.yaml:7"),
        "{}",
        passed.to_text()
    );
    let stranger = asked("https://stranger.test/");
    let text = &stranger.answer.text;
    assert!(
        text.contains("\"stranger.test\": the connection is closed") && !text.contains("alert"),
        "{text}"
    );
    assert!(stranger.to_text().contains("passed"), "{}", stranger.to_text());
    // Its name brings requests, for which no route is here.
    let web = asked("https://a.web.test/");
    assert_eq!(web.answer.outcome, Some("no_route"), "{}", web.to_text());
    assert!(asked("https://own.test:8443/").answer.text.contains("carries connections whole; use tls://"));
    assert!(asked("http://own.test:5432/").answer.text.contains("carries connections whole; use tcp://"));
    assert!(asked("http://own.test:81/").answer.text.contains("no listener has port 81"));
}

const POLICIES: &str = "\
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: everywhere}
spec:
  targetRefs: [{kind: Gateway, name: web}]
  clients: {allow: [10.0.0.0/8]}
  timeouts: {request: 9s, backendRequest: 700ms}
  extAuth: {protocol: GRPC, backendRef: {name: idle, port: 80}, forwardBody: {maxSize: 100}, failureStatus: 403}
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: cart}
spec:
  targetRefs: [{kind: HTTPRoute, name: shop, sectionName: cart}]
  rateLimit: {local: {rules: [{name: slow, requests: 3, per: 1m, key: [{type: ClientAddress}]}]}}
  faults: {abort: {percent: 5}}
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: bodies}
spec:
  targetRefs: [{kind: HTTPRoute, name: shop}]
  decompression: {otherEncodings: Refuse}
  cache: {defaultTtl: 90s}
  compression: {types: [text/*], exemptPaths: [/account]}
";

/// The server that counts, what happens without it, and what is switched off. A password shows nowhere.
#[test]
fn global_limits_are_told_with_who_counts_them() {
    let policy = |name: &str, target: &str, settings: &str| {
        format!(
            "---\napiVersion: sluice.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
             targetRefs: [{target}]\n{settings}"
        )
    };
    let limits = "  rateLimit:\n    global:\n      onFailure: Deny\n      \
                  redis: {address: \"[2001:db8::7]:6379\", credentialsRef: {name: redis}}\n      \
                  rules: [{name: all, requests: 3}]\n  faults: {abort: {status: 500}}\n";
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: redis}\nstringData: {password: open-sesame}\n";
    let off = "  rateLimit: {disabled: true}\n  faults: {disabled: true}\n";
    let of_gateway = policy("all", "{kind: Gateway, name: web}", limits);
    let of_rule = policy("free", "{kind: HTTPRoute, name: shop, sectionName: cart}", off);
    let told = |policies: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("all.yaml"), MANIFESTS).unwrap();
        fs::write(folder.path().join("policies.yaml"), policies.concat()).unwrap();
        let (project, _) = Project::load(folder.path(), "default").unwrap();
        explain(&project, &of("GET", "http://a.shop.test/cart", &["x-version: 2"])).to_text()
    };
    let rule = "global rate limit \"all\": 3 requests in 1s in all, 3 at once; others get 429 (counted by [2001:db8::7]:6379";
    let text = told(&[&of_gateway, secret]);
    assert!(text.contains(&format!("{rule}; 503 when it gives no answer)")), "{text}");
    assert!(!text.contains("sesame"), "{text}");
    let text = told(&[&of_gateway]);
    assert!(text.contains("it can't be used (Secret \"default/redis\" not found): all get 503"), "{text}");
    let text = told(&[&of_gateway, secret, &of_rule]);
    assert!(text.contains("rate limits are switched off here (TrafficPolicy default/free)"), "{text}");
    assert!(text.contains("faults are switched off here") && !text.contains("counted by"), "{text}");
}

#[test]
fn each_setting_of_a_policy_is_told_with_its_policy_and_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), MANIFESTS).unwrap();
    fs::write(folder.path().join("policies.yaml"), POLICIES).unwrap();
    let (project, _) = Project::load(folder.path(), "default").unwrap();
    let headers = ["x-version: 2".to_owned()];
    let asked = Asked::new("GET", "http://a.shop.test/cart", &headers).unwrap();
    let text = explain(&project, &asked).to_text();
    for part in [
        "only clients of 10.0.0.0/8 are let in (TrafficPolicy default/everywhere)",
        "policies.yaml:6",
        "rate limit \"slow\": 3 requests in 1m for each client address, 3 at once; others get 429 (TrafficPolicy default/cart)",
        "fault: 5 % of the requests get 503 (TrafficPolicy default/cart)",
        "timeout 1s for the request",
        "timeout 700ms for each try (TrafficPolicy default/everywhere)",
        "request bodies in zstd, br, gzip are unpacked, up to 10485760 bytes and 100 times their size; others get 415 \
         (TrafficPolicy default/bodies)",
        "answers are kept as long as they allow, 1m30s where they do not say: 67108864 bytes in all, 1048576 of one",
        "answers of text/* from 1024 bytes on are compressed by zstd, br, gzip, not below /account",
        "authoriser Service/default/idle:80+h2c is asked in gRPC, with bodies up to 100 bytes; without an answer in 1s requests get 403 (TrafficPolicy default/everywhere)",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("9s"), "the rule's own timeout stands above\n{text}");
}

const OPEN: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: any, port: 80, protocol: HTTP}
---
";

const GUARDED: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: web}]
  rules:
  - matches: [{path: {value: /orders}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /there}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  jwtRules:
  - {issuer: https://id.test, jwks: '{\"keys\":[]}'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  rules:
  - from: [{source: {namespaces: [bank]}}]
  - from: [{source: {principals: [cluster.local/ns/web/sa/front]}}]
    to: [{operation: {methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  action: DENY
  rules:
  - to: [{operation: {paths: [/orders/admin*]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tokens, annotations: {istio.io/dry-run: 'true'}}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  action: DENY
  rules:
  - from: [{source: {notRequestPrincipals: ['*']}}]
";

fn guarded(method: &str, path: &str, identity: Option<&str>, headers: &[&str]) -> Explanation {
    let asked = of(method, &format!("http://shop.test{path}"), headers);
    let asked = Asked { identity: identity.map(str::to_owned), ..asked };
    explained(&format!("{OPEN}{GUARDED}"), &asked)
}

#[test]
fn each_policy_says_which_of_its_rules_fits_and_what_comes_of_it() {
    let front = Some("cluster.local/ns/web/sa/front");
    let said = |it: &Explanation, name: &str| {
        let all: Vec<_> =
            it.policies.iter().filter(|it| it.text.contains(name)).map(|it| it.text.clone()).collect();
        all.join("; ")
    };
    let it = guarded("GET", "/orders/7", front, &[]);
    assert_eq!(it.answer.status, Some(302), "{}", it.to_text());
    assert!(said(&it, "/readers ").ends_with("default/readers (ALLOW): rule 1 fits, so that it is allowed"));
    assert!(said(&it, "/no-admin ").ends_with("(DENY): no rule fits"));
    assert!(
        said(&it, "/tokens ").ends_with("(DENY, dry run): rule 0 fits, so that it is denied in a dry run")
    );
    let of_tokens = said(&it, "/jwt");
    assert!(of_tokens.contains(": tokens of https://id.test in the usual places"), "{of_tokens}");
    assert!(of_tokens.ends_with(": the request has none"), "{of_tokens}");

    let it = guarded("POST", "/orders/7", front, &[]);
    assert_eq!((it.answer.status, it.answer.text.as_str()), (Some(403), "no AuthorizationPolicy allows it"));
    assert!(
        it.rule.is_some() && it.notes.iter().any(|it| it.contains("look at a token")),
        "{}",
        it.to_text()
    );
    // Another namespace may do all but one thing.
    let teller = Some("cluster.local/ns/bank/sa/teller");
    assert_eq!(guarded("POST", "/orders/7", teller, &[]).answer.status, Some(302));
    let it = guarded("POST", "/orders/admin", teller, &[]);
    assert_eq!(it.answer.text, "AuthorizationPolicy default/no-admin rule 0 denies it");
    // Policies speak before a route is missed, and tokens before all.
    assert_eq!(guarded("GET", "/none", None, &[]).answer.status, Some(403));
    let it = guarded("GET", "/orders/7", front, &["authorization: Bearer nonsense"]);
    assert_eq!(
        (it.answer.status, it.answer.outcome),
        (Some(401), Some("unauthenticated")),
        "{}",
        it.to_text()
    );
}

#[test]
fn a_host_of_resolution_none_is_looked_up_where_no_connection_is_captured() {
    let manifests = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: web}]
  rules:
  - backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.test, port: 80}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.test]
  resolution: NONE
  ports: [{number: 80, name: http, protocol: HTTP}]
";
    let it = explained(&format!("{OPEN}{manifests}"), &of("GET", "http://shop.test/", &[]));
    let endpoints: Vec<_> = it.backends[0].endpoints.iter().map(|it| it.text.as_str()).collect();
    assert!(
        matches!(endpoints[..], [only] if only.starts_with("api.test:80 (all its addresses)")),
        "{endpoints:?}"
    );
}
