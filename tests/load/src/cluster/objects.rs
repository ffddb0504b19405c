//! The objects of the scenarios, and creating many of them.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use sluice_cluster_tests::Space;

/// Requests to the API server at a time.
const AT_ONCE: usize = 8;
/// The one Gateway.
pub(super) const GATEWAY: &str = "load";
/// The Service behind every route.
pub(super) const SERVICE: &str = "app";
/// Its port.
pub(super) const SERVICE_PORT: u16 = 8080;
/// The port that endpoints listen on.
pub(super) const ENDPOINT_PORT: u16 = 8080;

/// Objects of a kind by its plural, in a namespace.
pub(super) fn api(
    client: &Client,
    namespace: &str,
    group: &str,
    kind: &str,
    plural: &str,
) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, "v1", kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk_with_plural(&kind, plural))
}

/// HTTPRoutes.
pub(super) fn routes(client: &Client, namespace: &str) -> Api<DynamicObject> {
    api(client, namespace, "gateway.networking.k8s.io", "HTTPRoute", "httproutes")
}

/// ListenerSets.
pub(super) fn listener_sets(client: &Client, namespace: &str) -> Api<DynamicObject> {
    api(client, namespace, "gateway.networking.k8s.io", "ListenerSet", "listenersets")
}

/// EndpointSlices.
pub(super) fn slices(client: &Client, namespace: &str) -> Api<DynamicObject> {
    api(client, namespace, "discovery.k8s.io", "EndpointSlice", "endpointslices")
}

/// The host of a route.
pub(super) fn host(number: u32) -> String {
    format!("h{number:05}.load.test")
}

/// An HTTPRoute with a host of its own; `version` is told by a response header.
pub(super) fn route(number: u32, version: u32) -> Value {
    attached(number, version, json!({"name": GATEWAY}))
}

/// The same, attached to another parent.
pub(super) fn attached(number: u32, version: u32, parent: Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": format!("r{number:05}")},
        "spec": {
            "parentRefs": [parent],
            "hostnames": [host(number)],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {
                    "set": [{"name": "x-version", "value": version.to_string()}]}}],
                "backendRefs": [{"name": SERVICE, "port": SERVICE_PORT}],
            }],
        },
    })
}

/// A ListenerSet with a listener for a host name pattern of its own.
pub(super) fn listener_set(number: u32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ListenerSet",
        "metadata": {"name": format!("s{number:05}")},
        "spec": {
            "parentRef": {"name": GATEWAY},
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP",
                "hostname": format!("*.s{number:05}.load.test")}],
        },
    })
}

/// The endpoints of the Service: each ready, serving, and not on its way out.
pub(super) fn slice(name: &str, endpoints: &[SocketAddrV4]) -> Value {
    let endpoint = |address: &SocketAddrV4| {
        json!({"addresses": [address.ip().to_string()],
            "conditions": {"ready": true, "serving": true, "terminating": false}})
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": ENDPOINT_PORT, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// Creates all of them, several at a time.
pub(super) async fn create(api: &Api<DynamicObject>, objects: impl Iterator<Item = Value>) -> Result<()> {
    stream::iter(objects.map(|object| async move {
        let object: DynamicObject = serde_json::from_value(object)?;
        api.create(&PostParams::default(), &object).await.context("creating an object")?;
        anyhow::Ok(())
    }))
    .buffer_unordered(AT_ONCE)
    .try_collect()
    .await
}

/// Replaces the content of an object, or creates it.
pub(super) async fn put(api: &Api<DynamicObject>, object: Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().context("a name")?.to_owned();
    let how = kube::api::PatchParams::apply("sluice-load").force();
    api.patch(&name, &how, &kube::api::Patch::Apply(&object)).await.with_context(|| name.clone())?;
    Ok(())
}

/// A token of a service account for a day, as the kubelet mounts it; of a pod, if there is one.
pub(super) async fn token(space: &Space, account: &str, audience: &str, pod: Option<&Pod>) -> Result<String> {
    let bound = pod.map(
        |pod| json!({"apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.metadata.uid}),
    );
    let request: TokenRequest = serde_json::from_value(json!({"apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest", "metadata": {},
        "spec": {"audiences": [audience], "expirationSeconds": 86_400, "boundObjectRef": bound}}))?;
    let accounts: Api<ServiceAccount> = space.api();
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(answer.status.context("a token")?.token)
}
