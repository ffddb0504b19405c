//! The way in: a Gateway of the edge has an identity of its own, and workloads that are STRICT know it by that.

use super::stand::{REVIEWS, Shop, meshed};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use sluice_cluster_tests::eventually;
use sluice_tests::{Answer, Ask, Wire};
use std::net::SocketAddr;
use tokio::net::TcpStream;

const HOST: &str = "reviews.example";

const EDGE: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: sluice, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge}
spec:
  parentRefs: [{name: edge}]
  hostnames: [reviews.example]
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]
"#;

/// Where the Gateway is, once it serves.
async fn programmed(shop: &Shop) -> SocketAddr {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let api: Api<DynamicObject> =
        Api::namespaced_with(shop.space.client.clone(), &shop.namespace, &ApiResource::from_gvk(&kind));
    eventually("the Gateway is programmed", async || {
        let status = api.get("edge").await?.data["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let is_programmed = conditions.iter().any(|it| it["type"] == "Programmed" && it["status"] == "True");
        match status["addresses"][0]["value"].as_str() {
            Some(address) if is_programmed => Ok(SocketAddr::new(address.parse()?, 80)),
            _ => bail!("{status:#}"),
        }
    })
    .await
}

/// One request from outside of the cluster.
async fn ask(edge: SocketAddr, method: &str) -> Result<Answer> {
    let mut wire = Wire::over(Box::new(TcpStream::connect(edge).await?));
    wire.try_send(&Ask::new(method, &format!("http://{HOST}/")).to_http1()).await?;
    wire.read(false).await.ok().context("no whole answer")
}

async fn answers(edge: SocketAddr, method: &str, wanted: u16) -> String {
    eventually(&format!("{method} from outside: {wanted}"), async || {
        let answer = ask(edge, method).await?;
        if answer.status == wanted { Ok(answer.text()) } else { bail!("{} {}", answer.status, answer.text()) }
    })
    .await
}

#[test]
fn a_gateway_reaches_a_strict_workload_and_a_policy_knows_it_by_its_principal() {
    meshed(async |shop| {
        shop.apply("strict.yaml").await;
        shop.space.apply(EDGE).await;
        let edge = programmed(&shop).await;
        let body = answers(edge, "GET", 200).await;
        let selector = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
        let pods = shop.api::<Pod>().list(&selector).await.unwrap().items;
        let account = pods[0].spec.as_ref().unwrap().service_account_name.clone().unwrap();
        let principal = format!("cluster.local/ns/{}/sa/{account}", shop.namespace);
        assert!(body.contains(&format!("spiffe://{principal}")), "the workload is told who asks: {body}");

        shop.space
            .apply(&format!(
                "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: edge}}, spec: {{selector: \
                 {{matchLabels: {{app: reviews}}}}, rules: [{{from: [{{source: {{principals: ['{principal}']}}}}], \
                 to: [{{operation: {{methods: [GET]}}}}]}}]}}}}"
            ))
            .await;
        shop.answers("productpage", &[REVIEWS], 403).await;
        answers(edge, "POST", 403).await;
        answers(edge, "GET", 200).await;
    });
}
