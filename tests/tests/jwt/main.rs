//! RequestAuthentication through a real gateway, with real issuers whose keys are made here: what is believed, what is
//! refused, what backends get, and how keys are fetched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod fetching;
mod https;
mod passing;

use serde_json::{Value, json};
use sluice_tests::{Ask, Endpoints, Issuer, Stand, TokenKey, manifests, now_s};

/// A Gateway `web` that sends everything to the echo `main.test`, and a RequestAuthentication with these rules (YAML, a
/// list in flow style). Names of this machine may be asked for keys.
pub(crate) fn manifests_with(rules: &str) -> String {
    let main = "{group: networking.istio.io, kind: Hostname, name: main.test, port: 80}";
    let rest = format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: cart}}
spec:
  parentRefs: [{{name: web}}]
  rules: [{{backendRefs: [{main}]}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: issuers}}
spec:
  hosts: [localhost]
  location: MESH_INTERNAL
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec:
  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: web}}]
  jwtRules: {rules}
"
    );
    [manifests::GATEWAY, &manifests::backend("main.test", 80, "HTTP"), &rest].concat()
}

pub(crate) async fn stand(rules: &str) -> Stand {
    let mut stand = Stand::empty(Endpoints::Echo).await;
    stand.apply(&manifests_with(rules)).await;
    stand
}

/// A rule with the keys of this issuer.
pub(crate) fn rule(issuer: &Issuer, more: &str) -> String {
    format!("[{{issuer: https://id.test, jwksUri: {}/keys{more}}}]", issuer.url())
}

/// Good claims, for an hour.
pub(crate) fn claims() -> Value {
    json!({"iss": "https://id.test", "sub": "alice", "aud": ["shop"], "exp": now_s() + 3600, "iat": now_s(),
           "nbf": now_s()})
}

/// Good claims but for these; `null` takes one out.
pub(crate) fn claims_but(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub(crate) fn bearing(token: &str) -> Ask {
    Ask::get("http://shop.example/cart").header("Authorization", &format!("Bearer {token}"))
}

/// Sends a token; the status.
pub(crate) async fn status(stand: &Stand, token: &str) -> u16 {
    stand.request(&bearing(token)).await.status
}

/// A count of a metric with this label.
pub(crate) fn count(stand: &Stand, metric: &str, label: &str) -> u64 {
    let metrics = stand.gateway().proxy().metrics().encode();
    let is_meant = |it: &&str| it.starts_with(&format!("{metric}{{")) && it.contains(label);
    let counts = metrics.lines().filter(is_meant).filter_map(|it| it.rsplit_once(' ')?.1.parse::<u64>().ok());
    counts.sum()
}

/// An issuer with one key.
pub(crate) async fn issuer(algorithm: &'static str) -> (TokenKey, Issuer) {
    let key = TokenKey::new(algorithm, "one");
    let issuer = Issuer::start(&[&key]).await;
    (key, issuer)
}
