//! Istio's kinds and health checks in a real API server: watched, followed by gateways, and told what came of them.

use super::stand::{GATEWAY, answers, condition, echo, get, installed, programmed, rolled_out, route};
use anyhow::bail;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::Value;
use sluice_cluster_tests::{Space, eventually};

/// Waits until an object's status has what is wanted.
async fn told(
    space: &Space,
    (group, version, name_of_kind): (&str, &str, &str),
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, name_of_kind));
    let api: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.namespace, &kind);
    eventually(&format!("status of {name_of_kind} {name}"), async || {
        let status = api.get(name).await?.data["status"].clone();
        if wanted(&status) { Ok(()) } else { bail!("{status:#}") }
    })
    .await;
}

#[test]
fn service_entries_destination_rules_and_health_checks_are_followed_and_told() {
    installed(async |space| {
        space.apply(&format!("{GATEWAY}{}{}", echo("web", 1), route("web", "web.example", "web"))).await;
        let address = programmed(&space, "edge", 80).await;
        rolled_out(&space, "web").await;
        let pods = space.api::<Pod>().list(&ListParams::default().labels("app=web")).await.unwrap();
        let ip = pods.items[0].status.as_ref().unwrap().pod_ip.clone().unwrap();

        // A host outside of the cluster, by a route.
        let entry = format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: api}}, spec: {{hosts: \
             [api.example], ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 3000}}], resolution: STATIC, \
             endpoints: [{{address: {ip}}}]}}}}\n"
        );
        let to_host = route("api", "api.example", "api.example").replace(
            "{name: api.example, port: 80}",
            "{group: networking.istio.io, kind: Hostname, name: api.example, port: 80}",
        );
        space.apply(&to_host).await;
        answers(address, "api.example", 500).await;
        space.apply(&entry).await;
        let answer = answers(address, "api.example", 200).await;
        assert!(answer.backend().is_some_and(|pod| pod.starts_with("web-")), "{}", answer.text());
        told(&space, ("gateway.networking.k8s.io", "v1", "HTTPRoute"), "api", |status| {
            condition(&status["parents"][0], "ResolvedRefs").is_some_and(|it| it["status"] == "True")
        })
        .await;
        told(&space, ("networking.istio.io", "v1", "ServiceEntry"), "api", |status| {
            condition(status, "sluice.dev/Accepted").is_some_and(|it| it["status"] == "True")
        })
        .await;

        // A rule of a Service, with what can be done and what can't.
        let rule = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web}, spec: {host: web, \
                    trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}, connectionPool: {http: {http2MaxRequests: 100}}}}}";
        let of_rule = ("networking.istio.io", "v1", "DestinationRule");
        space.apply(rule).await;
        told(&space, of_rule, "web", |status| {
            let is = |name: &str| condition(status, name).is_some_and(|it| it["status"] == "True");
            is("sluice.dev/Accepted") && is("sluice.dev/PartiallyInvalid")
        })
        .await;
        assert_eq!(get(address, "web.example", "/").await.unwrap().status, 200);
        // The backend speaks no TLS: the rule is followed.
        space.apply(&rule.replace("{loadBalancer:", "{tls: {mode: SIMPLE}, loadBalancer:")).await;
        answers(address, "web.example", 502).await;
        space.delete(rule).await;
        answers(address, "web.example", 200).await;

        // Tokens: nobody needs one, and a bad one does not pass.
        let policy = "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: tokens}, spec: \
                      {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}], jwtRules: [{issuer: me, \
                      jwks: '{\"keys\": []}'}]}}";
        space.apply(policy).await;
        told(&space, ("security.istio.io", "v1", "RequestAuthentication"), "tokens", |status| {
            condition(status, "sluice.dev/Accepted").is_some_and(|it| it["status"] == "True")
        })
        .await;
        eventually("a bad token is refused", async || {
            let status = get(address, "web.example", "/?access_token=x").await?.status;
            if status == 401 { Ok(()) } else { bail!("{status}") }
        })
        .await;
        assert_eq!(get(address, "web.example", "/").await.unwrap().status, 200);
        space.delete(policy).await;

        // Checks that no endpoint passes, and that say so.
        let policy = "{apiVersion: sluice.dev/v1alpha1, kind: HealthCheckPolicy, metadata: {name: web}, spec: {targetRefs: \
                      [{kind: Service, name: web}], type: HTTP, http: {path: /status/500}, interval: 1s, \
                      minHealthyPercent: 0}}";
        space.apply(policy).await;
        told(&space, ("sluice.dev", "v1alpha1", "HealthCheckPolicy"), "web", |status| {
            condition(&status["ancestors"][0], "Accepted").is_some_and(|it| it["status"] == "True")
        })
        .await;
        answers(address, "web.example", 503).await;
        space.apply(&policy.replace("/status/500", "/status/200")).await;
        answers(address, "web.example", 200).await;

        space.delete(&entry).await;
        answers(address, "api.example", 500).await;
    });
}
