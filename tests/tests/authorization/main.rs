//! AuthorizationPolicies through a real gateway: paths in every spelling, and what is only told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpus;
mod dry_run;

use sluice_tests::manifests;

/// A Gateway `default/web` that sends everything to the echo `main.test`, and this policy of it.
pub(crate) fn manifests_with(policies: &str) -> String {
    let backend = manifests::backend("main.test", 80, "HTTP");
    let route = manifests::route("all", &[], "main.test", 80);
    [manifests::GATEWAY, &backend, &route, policies].concat()
}

/// A policy of the Gateway.
pub(crate) fn policy(name: &str, annotations: &str, action: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, annotations: \
         {{{annotations}}}}}\nspec:\n  action: {action}\n  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, \
         name: web}}]\n  rules: [{rules}]\n"
    )
}
