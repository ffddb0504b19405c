//! `sluice install` and `sluice uninstall` on a real API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;
use sluice::install::{
    Applier, GATEWAY_API_INSTALL, Key, Manifest, NAMESPACE, Outcome, Settings, Uninstaller,
    check_gateway_api, render,
};
use sluice::profile;
use sluice_cluster_tests::{Channel, DEADLINE, Space, eventually, own};

async fn install(space: &Space, settings: &Settings) -> Vec<(String, Outcome)> {
    let applier = Applier::new(space.client.clone(), false);
    applier.refuse_a_second(&settings.namespace).await.unwrap();
    let mut outcomes = Vec::new();
    for manifest in render(settings).unwrap() {
        let outcome = applier.apply(&manifest).await.unwrap();
        outcomes.push((manifest.title(), outcome));
    }
    outcomes
}

fn of(outcomes: &[(String, Outcome)], wanted: Outcome) -> Vec<&str> {
    outcomes.iter().filter(|(_, it)| *it == wanted).map(|(title, _)| title.as_str()).collect()
}

async fn exists(space: &Space, manifest: &Manifest) -> bool {
    let (api_version, kind) = (manifest.api_version(), manifest.kind());
    let resource = sluice::cluster::resource(api_version, kind).unwrap();
    let api: Api<DynamicObject> = match manifest.namespace() {
        Some(namespace) => Api::namespaced_with(space.client.clone(), namespace, &resource),
        None => Api::all_with(space.client.clone(), &resource),
    };
    api.get_opt(manifest.name()).await.unwrap().is_some()
}

#[test]
fn an_installation_is_made_changed_and_removed() {
    own(async |space| {
        let told = check_gateway_api(&space.client).await.unwrap_err().to_string();
        assert!(told.contains(GATEWAY_API_INSTALL), "{told}");
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        assert_eq!(check_gateway_api(&space.client).await.unwrap(), None);

        let default = profile::read("default").unwrap();
        let first = install(&space, &default).await;
        // The tests' own CRDs hold those of our kinds already.
        let (definitions, others): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|(title, _)| title.starts_with("CustomResourceDefinition "));
        assert_eq!(of(&definitions, Outcome::Changed).len(), 4, "{definitions:?}");
        assert_eq!(of(&others, Outcome::Created).len(), others.len(), "{others:?}");
        let again = install(&space, &default).await;
        assert_eq!(of(&again, Outcome::Unchanged).len(), again.len(), "{again:?}");
        pods_are_admitted(&space).await;
        another_controller_is_refused(&space).await;
        a_field_of_somebody_else_is_theirs(&space, &default).await;
        another_profile_takes_its_place(&space).await;
        gateways_keep_it_from_being_removed(&space).await;

        let all = render(&profile::read("minimal").unwrap()).unwrap();
        let removed = Uninstaller::new(space.client.clone()).remove(false, false, DEADLINE).await.unwrap();
        assert!(removed.iter().any(|it| it.title() == format!("Deployment {NAMESPACE}/sluice-controller")));
        for manifest in all.iter().filter(|it| !matches!(it.kind(), "Namespace" | "CustomResourceDefinition"))
        {
            let gone = async || if exists(&space, manifest).await { bail!("still there") } else { Ok(()) };
            eventually(&manifest.title(), gone).await;
        }
        let definitions: Api<CustomResourceDefinition> = Api::all(space.client.clone());
        let name = "gatewayparameters.sluice.dev";
        assert!(definitions.get_opt(name).await.unwrap().is_some());
        let purged = Uninstaller::new(space.client.clone()).remove(true, false, DEADLINE).await.unwrap();
        assert!(purged.iter().any(|it| it.name() == name), "{purged:?}");
        assert!(definitions.get_opt("gateways.gateway.networking.k8s.io").await.unwrap().is_some());
    });
}

/// The namespace enforces the restricted standard: pods that do not meet it would not be made.
async fn pods_are_admitted(space: &Space) {
    let namespace = Api::<Namespace>::all(space.client.clone()).get(NAMESPACE).await.unwrap();
    assert_eq!(namespace.metadata.labels.unwrap()["pod-security.kubernetes.io/enforce"], "restricted");
    let pods: Api<Pod> = Api::namespaced(space.client.clone(), NAMESPACE);
    eventually("two pods of the controller", async || {
        match pods.list(&ListParams::default()).await?.items.len() {
            2 => Ok(()),
            count => bail!("{count} pods"),
        }
    })
    .await;
}

async fn another_controller_is_refused(space: &Space) {
    let applier = Applier::new(space.client.clone(), false);
    let told = applier.refuse_a_second("elsewhere").await.unwrap_err().to_string();
    assert!(told.contains("installed in the namespace sluice-system"), "{told}");
}

async fn a_field_of_somebody_else_is_theirs(space: &Space, settings: &Settings) {
    let deployments: Api<Deployment> = Api::namespaced(space.client.clone(), NAMESPACE);
    let scaled = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "replicas": 3 } });
    let theirs = PatchParams::apply("autoscaler").force();
    deployments.patch("sluice-controller", &theirs, &Patch::Apply(&scaled)).await.unwrap();
    let deployment = render(settings).unwrap().into_iter().find(|it| it.kind() == "Deployment").unwrap();
    let applier = Applier::new(space.client.clone(), false);
    let told = format!("{:#}", applier.apply(&deployment).await.unwrap_err());
    assert!(told.contains("autoscaler") && told.contains("--force-conflicts"), "{told}");
    let forced = Applier::new(space.client.clone(), true).apply(&deployment).await.unwrap();
    assert_eq!(forced, Outcome::Changed);
}

async fn another_profile_takes_its_place(space: &Space) {
    let minimal = profile::read("minimal").unwrap();
    install(space, &minimal).await;
    let pruned = Applier::new(space.client.clone(), false).prune(&render(&minimal).unwrap()).await.unwrap();
    assert_eq!(pruned, [format!("PodDisruptionBudget {NAMESPACE}/sluice-controller")]);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(space.client.clone(), NAMESPACE);
    assert!(budgets.list(&ListParams::default()).await.unwrap().items.is_empty());
    let deployments: Api<Deployment> = Api::namespaced(space.client.clone(), NAMESPACE);
    assert_eq!(deployments.get("sluice-controller").await.unwrap().spec.unwrap().replicas, Some(1));
}

async fn gateways_keep_it_from_being_removed(space: &Space) {
    let gateway = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web}, \
                   spec: {gatewayClassName: sluice, listeners: [{name: http, port: 80, protocol: HTTP}]}}";
    space.apply(gateway).await;
    let uninstaller = Uninstaller::new(space.client.clone());
    let told = uninstaller.remove(false, false, DEADLINE).await.unwrap_err().to_string();
    assert!(told.contains(&format!("{}/web", space.namespace)) && told.contains("--force"), "{told}");
    let roles: Api<ClusterRole> = Api::all(space.client.clone());
    assert!(roles.get_opt("sluice-controller").await.unwrap().is_some(), "something was removed");
    space.delete(gateway).await;
}

#[test]
fn a_namespace_of_somebody_else_is_used_and_left() {
    own(async |space| {
        space.cluster.install_crds(Channel::Experimental).await.unwrap();
        let mut settings = profile::read("demo").unwrap();
        settings.namespace.clone_from(&space.namespace);
        assert!(settings.holds(Key::Demo));
        let outcomes = install(&space, &settings).await;
        assert_eq!(of(&outcomes, Outcome::Foreign), [format!("Namespace {}", space.namespace)]);
        // What the controller makes for itself.
        space.apply("{apiVersion: v1, kind: Secret, metadata: {name: sluice-ca}}").await;
        let namespaces: Api<Namespace> = Api::all(space.client.clone());
        let labels = namespaces.get(&space.namespace).await.unwrap().metadata.labels.unwrap();
        assert!(!labels.contains_key("app.kubernetes.io/managed-by"), "{labels:?}");

        // The demo's own Gateway does not count as somebody's.
        let removed = Uninstaller::new(space.client.clone()).remove(false, false, DEADLINE).await.unwrap();
        let titles: Vec<_> = removed.iter().map(Manifest::title).collect();
        for title in ["Gateway sluice-demo/demo".to_owned(), format!("Secret {}/sluice-ca", space.namespace)]
        {
            assert!(titles.contains(&title), "{title}: {titles:?}");
        }
        let namespace = namespaces.get(&space.namespace).await.unwrap();
        assert!(namespace.metadata.deletion_timestamp.is_none());
        let demo = async || match namespaces.get_opt("sluice-demo").await? {
            None => Ok(()),
            Some(_) => bail!("still there"),
        };
        eventually("the demo's namespace goes", demo).await;
        let nothing = Uninstaller::new(space.client.clone()).remove(false, false, DEADLINE).await.unwrap();
        assert!(nothing.is_empty(), "{nothing:?}");
    });
}
