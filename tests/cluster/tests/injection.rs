//! Pods get sidecars: by the webhook of an installed Sluice, asked by a real API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Result, bail};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use sluice_cluster_tests::{Channel, SYSTEM, Space, eventually, own};

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v2}}
    spec:
      initContainers: [{name: before, image: echo-basic, command: [/bin/sh, -c, 'echo before']}]
      containers:
      - name: echo
        image: sluice
        args: [echo, --listen, '0.0.0.0:3000=web']
        ports: [{name: http, containerPort: 3000}]
        readinessProbe: {httpGet: {path: /status/200, port: http}}
        livenessProbe: {tcpSocket: {port: 3000}}
";

fn pod(name: &str, labels: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{{labels}}}, annotations: {{{annotations}}}}}, \
         spec: {{containers: [{{name: app, image: echo-basic}}]}}}}"
    )
}

/// A Sluice whose webhook the API server trusts.
async fn installed(space: &Space) {
    space.cluster.install_crds(Channel::Experimental).await.unwrap();
    space.install_sluice(&[]).await.unwrap();
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(space.client.clone());
    eventually("a webhook that is trusted", async || {
        let webhooks = webhooks.get("sluice-injector").await?.webhooks.unwrap_or_default();
        let is_trusted =
            |bundle: &Option<k8s_openapi::ByteString>| bundle.as_ref().is_some_and(|it| !it.0.is_empty());
        match !webhooks.is_empty() && webhooks.iter().all(|it| is_trusted(&it.client_config.ca_bundle)) {
            true => Ok(()),
            false => bail!("{webhooks:?}"),
        }
    })
    .await;
}

/// Sets labels of the test's namespace; an empty value takes one away.
async fn label(space: &Space, labels: &[(&str, &str)]) {
    let value = |text: &str| if text.is_empty() { json!(null) } else { json!(text) };
    let labels: serde_json::Map<_, _> =
        labels.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    namespaces.patch(&space.namespace, &PatchParams::default(), &patch).await.unwrap();
}

/// The names of a new pod's init containers; the pod goes at once.
async fn made(space: &Space, manifest: &str) -> Result<Vec<String>> {
    let name = space.try_apply(manifest).await?[0].name_any();
    let pods = space.api::<Pod>();
    let pod = pods.get(&name).await?;
    pods.delete(&name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
    eventually("the end of the pod", async || match pods.get_opt(&name).await? {
        None => Ok(()),
        Some(_) => bail!("still there"),
    })
    .await;
    Ok(pod.spec.unwrap().init_containers.unwrap_or_default().into_iter().map(|it| it.name).collect())
}

/// [`made`] with what the API server sees of a namespace's labels, which takes a moment to be what it is.
async fn eventually_made(space: &Space, manifest: &str, is_injected: bool) {
    eventually("what the labels say", async || {
        let names = made(space, manifest).await?;
        if names.contains(&"sluice-proxy".to_owned()) == is_injected { Ok(()) } else { bail!("{names:?}") }
    })
    .await;
}

async fn scale(space: &Space, replicas: i32) {
    let deployments: Api<Deployment> = Api::namespaced(space.client.clone(), SYSTEM);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch("sluice-controller", &PatchParams::default(), &patch).await.unwrap();
    eventually("as many controllers", async || {
        let ready = deployments.get("sluice-controller").await?.status.and_then(|it| it.ready_replicas);
        let pods = space.controllers().await?.len();
        if ready.unwrap_or(0) == replicas && i32::try_from(pods)? == replicas {
            Ok(())
        } else {
            bail!("{ready:?} {pods}")
        }
    })
    .await;
}

#[test]
fn labels_of_namespaces_and_pods_decide_and_what_is_wrong_is_refused() {
    own(async |space| {
        installed(&space).await;
        let (plain, none) = (pod("plain", "", ""), "");
        eventually_made(&space, &plain, false).await;
        label(&space, &[("istio-injection", "enabled")]).await;
        eventually_made(&space, &plain, true).await;
        assert_eq!(made(&space, &plain).await.unwrap(), ["sluice-init", "sluice-proxy"]);
        assert!(
            made(&space, &pod("without", "sidecar.istio.io/inject: 'false'", none)).await.unwrap().is_empty()
        );
        assert!(
            made(&space, &pod("without", none, "sidecar.istio.io/inject: 'false'")).await.unwrap().is_empty()
        );
        assert!(made(&space, &pod("without", "sluice.dev/inject: 'false'", none)).await.unwrap().is_empty());

        let wrong = pod("wrong", none, "traffic.sidecar.istio.io/excludeOutboundPorts: http");
        let told = format!("{:#}", space.try_apply(&wrong).await.unwrap_err());
        assert!(told.contains("excludeOutboundPorts") && told.contains("a list of ports"), "{told}");

        label(&space, &[("istio-injection", "disabled")]).await;
        eventually_made(&space, &plain, false).await;
        assert!(
            made(&space, &pod("with", "sidecar.istio.io/inject: 'true'", none)).await.unwrap().is_empty()
        );
        assert_eq!(made(&space, &pod("with", "sluice.dev/inject: 'true'", none)).await.unwrap().len(), 2);

        label(&space, &[("istio-injection", ""), ("istio.io/rev", "default")]).await;
        eventually_made(&space, &plain, true).await;
        label(&space, &[("istio.io/rev", "")]).await;
        eventually_made(&space, &plain, false).await;
        assert_eq!(
            made(&space, &pod("with", "sidecar.istio.io/inject: 'true'", none)).await.unwrap().len(),
            2
        );

        // No token of the API server: the volume that the API server adds for the app is not in the sidecar.
        let name = space.apply(&pod("shown", "sluice.dev/inject: 'true'", none)).await[0].name_any();
        let spec = space.api::<Pod>().get(&name).await.unwrap().spec.unwrap();
        for container in spec.init_containers.unwrap() {
            let mounts = container.volume_mounts.unwrap_or_default();
            assert!(mounts.iter().all(|it| !it.name.starts_with("kube-api-access")), "{}", container.name);
        }
    });
}

#[test]
fn without_the_controller_unlabelled_namespaces_make_pods_and_labelled_ones_refuse_them() {
    own(async |space| {
        installed(&space).await;
        let plain = pod("plain", "", "");
        label(&space, &[("istio-injection", "enabled")]).await;
        eventually_made(&space, &plain, true).await;
        scale(&space, 0).await;
        let told = format!("{:#}", space.try_apply(&plain).await.unwrap_err());
        assert!(told.contains("namespace.injection.sluice.dev"), "{told}");
        // Who has opted out is not held up.
        assert!(
            made(&space, &pod("without", "sidecar.istio.io/inject: 'false'", "")).await.unwrap().is_empty()
        );
        label(&space, &[("istio-injection", "")]).await;
        eventually_made(&space, &plain, false).await;
        scale(&space, 1).await;
        label(&space, &[("istio-injection", "enabled")]).await;
        eventually_made(&space, &plain, true).await;
    });
}

#[test]
fn a_deployment_gets_its_sidecar_and_the_probes_of_the_app_go_to_it() {
    own(async |space| {
        installed(&space).await;
        label(&space, &[("istio-injection", "enabled")]).await;
        eventually_made(&space, &pod("plain", "", ""), true).await;
        space.apply(WEB).await;
        let pods = space.api::<Pod>();
        let pod = eventually("the pod", async || {
            let mut pods = pods.list(&ListParams::default().labels("app=web")).await?.items;
            match pods.pop() {
                Some(pod) => Ok(pod),
                None => bail!("none yet"),
            }
        })
        .await;
        assert_eq!(pod.labels()["service.istio.io/canonical-name"], "web");
        assert_eq!(pod.labels()["service.istio.io/canonical-revision"], "v2");
        assert_eq!(pod.labels()["security.istio.io/tlsMode"], "istio");
        let spec = pod.spec.unwrap();
        let inits = spec.init_containers.unwrap();
        let names: Vec<&str> = inits.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["sluice-init", "sluice-proxy", "before"]);
        let get = spec.containers[0].readiness_probe.as_ref().unwrap().http_get.as_ref().unwrap();
        assert_eq!(get.path.as_deref(), Some("/app-health/echo/readyz"));
        let environment = inits[1].env.as_ref().unwrap();
        let value =
            |name: &str| environment.iter().find(|it| it.name == name).unwrap().value.clone().unwrap();
        assert_eq!(value("SLUICE_WORKLOAD"), "web");
        let probes: serde_json::Value = serde_json::from_str(&value("SLUICE_APP_PROBES")).unwrap();
        assert_eq!(probes["/app-health/echo/readyz"]["httpGet"]["port"], 3000);
        assert_eq!(probes["/app-health/echo/livez"]["tcpSocket"]["port"], 3000);
    });
}
