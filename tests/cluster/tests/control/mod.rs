//! A controller in the test's own process, with a class of its own, so that tests of one cluster don't meet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub)]

use clap::Parser as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_cluster_tests::{Space, eventually};
use sluice_controller::{
    controller,
    settings::{LogFormat, Settings},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running replica.
pub struct Replica {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    /// Starts one of this name for the space's class, with its lease in the space.
    pub fn start(space: &Space, name: &str) -> Self {
        let settings = Settings::parse_from([
            "sluice-controller",
            "--namespace",
            &space.namespace,
            "--pod-name",
            name,
            "--serve=127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--webhook=127.0.0.1:0",
            "--controller-name",
            &controller_name(space),
            "--kubeconfig",
            space.cluster.kubeconfig().to_str().unwrap(),
        ]);
        if std::env::var_os("SLUICE_LOG").is_some() {
            // Only the first replica of the process can.
            let _ = sluice_controller::logging::init(LogFormat::Text);
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(controller::run(settings, stop.clone()));
        Self { stop, task }
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// `controllerName` of the space's class.
pub fn controller_name(space: &Space) -> String {
    format!("sluice.dev/{}", space.namespace)
}

/// A GatewayClass and a Gateway `web` with one HTTP listener `http` that takes routes of its namespace.
pub fn gateway(space: &Space) -> String {
    let class = &space.namespace;
    let controller = controller_name(space);
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: {class}}}, \
         spec: {{controllerName: {controller}}}}}\n---\n\
         {{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: web}}, \
         spec: {{gatewayClassName: {class}, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}}}"
    )
}

/// An HTTPRoute to the Gateway `web` that redirects.
pub fn route(name: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}}}, \
         spec: {{parentRefs: [{{name: web}}], hostnames: [{name}.example.com], \
         rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{scheme: https}}}}]}}]}}}}"
    )
}

/// Objects of a kind of the Gateway API, or Istio's ServiceEntry, in the space, as JSON.
pub fn api(space: &Space, kind: &str) -> Api<DynamicObject> {
    let group = if kind == "ServiceEntry" { "networking.istio.io" } else { "gateway.networking.k8s.io" };
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    if kind == "ServiceEntry" {
        resource.plural = "serviceentries".to_owned();
    }
    let kind = GroupVersionKind::gvk(group, "v1", kind);
    match kind.kind.as_str() {
        "GatewayClass" => Api::all_with(space.client.clone(), &resource),
        _ => Api::namespaced_with(space.client.clone(), &space.namespace, &resource),
    }
}

/// The object as JSON.
pub async fn get(space: &Space, kind: &str, name: &str) -> kube::Result<Value> {
    Ok(serde_json::to_value(api(space, kind).get(name).await?).unwrap())
}

/// Waits until the object, as JSON, is as it should be, and returns it.
pub async fn until(
    space: &Space,
    what: &str,
    (kind, name): (&str, &str),
    mut holds: impl FnMut(&Value) -> bool,
) -> Value {
    eventually(what, async || {
        let object = get(space, kind, name).await.map_err(|error| error.to_string())?;
        if holds(&object) { Ok(object) } else { Err(object["status"].to_string()) }
    })
    .await
}

/// A condition of a list of them.
pub fn condition<'a>(conditions: &'a Value, name: &str) -> &'a Value {
    let all = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|it| it["type"] == name).unwrap_or(&Value::Null)
}

/// Our entry of a route's status.
pub fn entry<'a>(space: &Space, route: &'a Value) -> &'a Value {
    let all = route["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|it| it["controllerName"] == controller_name(space)).unwrap_or(&Value::Null)
}

/// Whether we say that the route's Gateway takes the route, of its current generation.
pub fn is_accepted(space: &Space, route: &Value) -> bool {
    let accepted = condition(&entry(space, route)["conditions"], "Accepted");
    accepted["status"] == "True" && accepted["observedGeneration"] == route["metadata"]["generation"]
}

/// How many routes the first listener of a Gateway says that it has.
pub fn attached(gateway: &Value) -> u64 {
    gateway["status"]["listeners"][0]["attachedRoutes"].as_u64().unwrap_or(0)
}

/// Writes a status as another controller would.
pub async fn patch_status(space: &Space, kind: &str, name: &str, status: &Value) {
    let patch = json!({ "status": status });
    api(space, kind).patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}
