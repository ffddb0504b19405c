//! External authorisation through a real gateway: real authorisers in gRPC and HTTP, those that are slow, dead or talk
//! nonsense, and clients that leave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;
mod http;
mod server;

use sluice_tests::{Stand, manifests};
use std::net::SocketAddr;

/// A route to the echo `main.test`, whose requests are asked about as `extAuth` says: below `/hasty` the authoriser has
/// a tenth of a second, else 20 s. It is at `authorizer`.
pub(crate) async fn stand(ext_auth: &str, authorizer: SocketAddr) -> Stand {
    let mut stand = Stand::empty(sluice_tests::Endpoints::Echo).await;
    stand.fix("auth.test", authorizer);
    stand.apply(&manifests_with(ext_auth)).await;
    stand
}

/// The manifests of [`stand`]; `disabled: true` stands alone.
pub(crate) fn manifests_with(ext_auth: &str) -> String {
    let protocol = if ext_auth.contains("GRPC") { "GRPC" } else { "HTTP" };
    let backend =
        |name: &str| format!("{{group: networking.istio.io, kind: Hostname, name: {name}, port: 80}}");
    let asked = |timeout: &str| match ext_auth.contains("disabled") {
        true => format!("{{{ext_auth}}}"),
        false => format!("{{backendRef: {}, timeout: {timeout}, {ext_auth}}}", backend("auth.test")),
    };
    let main = backend("main.test");
    let rest = format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: cart}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - backendRefs: [{main}]
  - {{name: hasty, matches: [{{path: {{value: /hasty}}}}], backendRefs: [{main}]}}
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: all}}
spec:
  targetRefs: [{{kind: Gateway, name: web}}]
  extAuth: {}
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: hasty}}
spec:
  targetRefs: [{{kind: HTTPRoute, name: cart, sectionName: hasty}}]
  extAuth: {}
",
        asked("20s"),
        asked("100ms"),
    );
    let (main, auth) =
        (manifests::backend("main.test", 80, "HTTP"), manifests::backend("auth.test", 80, protocol));
    [manifests::GATEWAY, &main, &auth, &rest].concat()
}

/// A count of `sluice_ext_auth_checks_total`.
pub(crate) fn checks(stand: &Stand, result: &str) -> u64 {
    let metrics = stand.gateway().proxy().metrics().encode();
    let wanted = format!("result=\"{result}\"");
    let is_meant = |it: &&str| it.starts_with("sluice_ext_auth_checks_total{") && it.contains(&wanted);
    let counts = metrics.lines().filter(is_meant).filter_map(|it| it.rsplit_once(' ')?.1.parse::<u64>().ok());
    counts.sum()
}
