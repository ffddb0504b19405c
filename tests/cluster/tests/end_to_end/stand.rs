//! What these tests share: an installed Sluice, a gateway, a backend.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, ResourceExt};
use serde_json::Value;
use sluice_cluster_tests::{Channel, Space, eventually, own, shared};
use sluice_tests::{Answer, Ask, Wire};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

/// A test in a namespace of the shared cluster, where Sluice is installed.
pub(crate) fn installed(test: impl AsyncFnOnce(Space)) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    shared(async |space: Space| {
        INSTALLED.get_or_init(async || space.install_sluice(&[]).await.expect("an installed Sluice")).await;
        test(space).await;
    });
}

/// A test with a cluster of its own, where Sluice is installed.
pub(crate) fn alone(settings: &[&str], test: impl AsyncFnOnce(Space)) {
    own(async |space: Space| {
        space.cluster.install_crds(Channel::Experimental).await.expect("CRDs");
        space.install_sluice(settings).await.expect("an installed Sluice");
        test(space).await;
    });
}

/// A Deployment of `sluice echo` and its Service, both of this name.
pub(crate) fn echo(name: &str, replicas: usize) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: echo
        image: sluice
        args: [echo, --listen, '0.0.0.0:3000=$(NAME)']
        env: [{{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
        readinessProbe: {{httpGet: {{path: /status/200, port: 3000}}}}
        lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 3000}}]}}
---
"
    )
}

/// A Gateway with one plain listener.
pub(crate) const GATEWAY: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: sluice, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
";

/// A route of one host to a Service on the Gateway `edge`.
pub(crate) fn route(name: &str, host: &str, service: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}}}, spec: {{parentRefs: \
         [{{name: edge}}], hostnames: [{host}], rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]}}}}\n---\n"
    )
}

/// Waits until a Gateway is programmed, and returns the address of its first one with a port.
pub(crate) async fn programmed(space: &Space, name: &str, port: u16) -> SocketAddr {
    let api = kind(space, "Gateway");
    let said = eventually("the Gateway is programmed", async || {
        let gateway = api.get(name).await?;
        let status = &gateway.data["status"];
        let of_now = condition(status, "Programmed").is_some_and(|condition| {
            condition["status"] == "True"
                && condition["observedGeneration"].as_i64() == gateway.metadata.generation
        });
        match status["addresses"][0]["value"].as_str() {
            Some(address) if of_now => Ok(address.to_owned()),
            _ => bail!("{status:#}"),
        }
    });
    SocketAddr::new(said.await.parse().unwrap(), port)
}

/// Objects of a Gateway API kind in the test's namespace.
pub(crate) fn kind(space: &Space, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind);
    Api::namespaced_with(space.client.clone(), &space.namespace, &ApiResource::from_gvk(&kind))
}

/// A condition of a status.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Asks over a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
    let mut wire = Wire::over(Box::new(TcpStream::connect(address).await?));
    wire.try_send(&Ask::get(&format!("http://{host}{path}")).to_http1()).await?;
    wire.read(false).await.ok().context("no whole answer")
}

/// Asks until the status is this one.
pub(crate) async fn answers(address: SocketAddr, host: &str, status: u16) -> Answer {
    eventually(&format!("{host} answers {status}"), async || {
        let answer = get(address, host, "/").await?;
        if answer.status == status { Ok(answer) } else { bail!("{} {}", answer.status, answer.text()) }
    })
    .await
}

/// Waits until as many pods of a Deployment are ready as it wants, none of an older template among them.
pub(crate) async fn rolled_out(space: &Space, name: &str) {
    space
        .until("a finished rollout", name, |deployment: &Deployment| {
            let (spec, status) =
                (deployment.spec.as_ref().unwrap(), deployment.status.clone().unwrap_or_default());
            status.observed_generation == deployment.metadata.generation
                && status.updated_replicas == spec.replicas
                && status.available_replicas == spec.replicas
                && status.replicas == spec.replicas
        })
        .await;
}

/// The pods of a Gateway.
pub(crate) async fn gateway_pods(space: &Space, gateway: &str) -> Vec<Pod> {
    let selector = format!("gateway.networking.k8s.io/gateway-name={gateway}");
    space.api::<Pod>().list(&ListParams::default().labels(&selector)).await.unwrap().items
}

/// What the pods of a Gateway wrote.
pub(crate) async fn gateway_log(space: &Space, gateway: &str) -> String {
    let pods = gateway_pods(space, gateway).await;
    pods.iter().map(|pod| space.cluster.log(&space.namespace, &pod.name_any())).collect()
}
