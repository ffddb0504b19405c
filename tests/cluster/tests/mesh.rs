//! The mesh against a real API server: it is there when a pod has a sidecar, and with it routes whose parent is a Service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;

use control::{Replica, condition, entry, gateway, get, is_accepted, route, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use sluice_cluster_tests::{Channel, own};

const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: cart}, \
    spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 3000}]}}";

const ROUTES: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: producer}, \
    spec: {parentRefs: [{group: '', kind: Service, name: cart, port: 80}], \
    rules: [{backendRefs: [{name: cart, port: 80}]}]}}\n---\n\
    {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: lost}, \
    spec: {parentRefs: [{group: '', kind: Service, name: cart, port: 81}], \
    rules: [{backendRefs: [{name: cart, port: 80}]}]}}";

fn pod(name: &str, sidecar: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: cart, security.istio.io/tlsMode: {sidecar}}}}}, \
         spec: {{containers: [{{name: echo, image: sluice, args: [echo, --listen, '0.0.0.0:3000']}}]}}}}"
    )
}

#[test]
fn a_mesh_comes_with_the_first_pod_that_has_a_sidecar_and_goes_with_the_last() {
    own(async |space| {
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        let replica = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        space.apply(&format!("{SERVICE}\n---\n{ROUTES}\n---\n{}", pod("plain", "disabled"))).await;
        // Whatever came before is done by then.
        space.apply(&route("cart")).await;
        until(&space, "the route", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;
        let producer = get(&space, "HTTPRoute", "producer").await.unwrap();
        assert!(entry(&space, &producer).is_null(), "{producer}");

        space.apply(&pod("meshed", "istio")).await;
        let is_producer = |it: &serde_json::Value| is_accepted(&space, it);
        until(&space, "the route of a Service", ("HTTPRoute", "producer"), is_producer).await;
        until(&space, "the refusal", ("HTTPRoute", "lost"), |it| {
            condition(&entry(&space, it)["conditions"], "Accepted")["reason"] == "NoMatchingParent"
        })
        .await;

        space.api::<Pod>().delete("meshed", &DeleteParams::default().grace_period(0)).await.unwrap();
        until(&space, "nothing is said", ("HTTPRoute", "producer"), |it| entry(&space, it).is_null()).await;
        replica.stop().await;
    });
}
