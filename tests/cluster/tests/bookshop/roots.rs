//! The mesh's roots are replaced, in both steps that Istio's users know, while workloads call each other.

use super::stand::{REVIEWS, Shop, prepared};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use sluice_cluster_tests::{Authority, SYSTEM, eventually, own};
use sluice_controller::inject::PROXY;
use sluice_ir::fingerprint;
use std::cell::Cell;
use tokio::process::Command;

/// Seconds that a new root is trusted before it signs, here.
const ROOT_WAIT_S: &str = "3";

/// A controller that waits less than users do.
async fn hasten(shop: &Shop) {
    let deployments: Api<Deployment> = Api::namespaced(shop.space.client.clone(), SYSTEM);
    let container =
        json!({"name": "controller", "env": [{"name": "SLUICE_ROOT_WAIT_SECONDS", "value": ROOT_WAIT_S}]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    deployments.patch("sluice-controller", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    eventually("the controller is replaced", async || {
        let deployment = deployments.get("sluice-controller").await?;
        let status = deployment.status.unwrap_or_default();
        let is_done = status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == Some(1)
            && status.available_replicas == Some(1)
            && status.replicas == Some(1);
        if is_done { Ok(()) } else { bail!("{status:?}") }
    })
    .await;
}

/// Whether the certificate that a workload shows is signed by an authority, as openssl sees it.
async fn shows(shop: &Shop, labels: &str, authority: &Authority) -> Result<bool> {
    let address = shop.pod(labels).await?.status.and_then(|it| it.pod_ip).context("no address")?;
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("{address}:9080"), "-alpn", "istio", "-showcerts"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !said.contains("BEGIN CERTIFICATE") {
        bail!("no certificate: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    // Line by line the same text, however it is broken into lines.
    let plain = |text: &str| text.split_ascii_whitespace().collect::<String>();
    Ok(plain(&said).contains(&plain(&authority.chain())))
}

/// Waits until it does.
async fn eventually_shows(shop: &Shop, labels: &str, authority: &Authority) {
    eventually("the certificate of the authority", async || match shows(shop, labels, authority).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("of another one".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await;
}

/// Waits until the sidecars of all workloads trust the root of the authority, as users do before the second step.
async fn eventually_trusted(shop: &Shop, authority: &Authority) {
    let root = fingerprint(authority.root_der());
    let ask = ["curl", "-s", "-m", "5", "http://127.0.0.1:15000/debug/identity"];
    let api = shop.api::<Pod>();
    eventually("all workloads trust the root", async || {
        let pods = api.list(&ListParams::default()).await?.items;
        let pods = pods.iter().filter(|it| it.metadata.deletion_timestamp.is_none());
        for pod in pods.map(ResourceExt::name_any) {
            let (_, page) = shop.space.cluster.exec((&shop.namespace, &pod, PROXY), &ask).await?;
            if !page.contains(&root) {
                bail!("{pod}: {root} is not in {page}");
            }
        }
        anyhow::Ok(())
    })
    .await;
}

/// Statuses of requests that productpage makes, fifty a second, until `is_done`.
async fn load(shop: &Shop, is_done: &Cell<bool>) -> Vec<String> {
    let url = format!("{REVIEWS}?[1-100]");
    let command =
        ["curl", "-s", "-m", "10", "--rate", "50/s", "-o", "/dev/null", "-w", "%{http_code}\n", &url];
    let mut statuses = Vec::new();
    while !is_done.get() {
        let said = shop.exec("productpage", &command).await.unwrap();
        statuses.extend(said.lines().map(str::to_owned));
    }
    statuses
}

#[test]
fn roots_are_replaced_in_two_steps_and_no_request_fails() {
    own(async |space| {
        prepared(&space).await;
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        space.make_namespace(SYSTEM).await.unwrap();
        space.bring(SYSTEM, &old.secret(&[&old])).await;
        space.install_sluice(&[]).await.unwrap();
        let shop = Shop::open(space).await;
        hasten(&shop).await;
        shop.join_the_mesh().await;
        shop.apply("strict.yaml").await;
        shop.answers("productpage", &[REVIEWS], 200).await;
        eventually_shows(&shop, "app=reviews,version=v1", &old).await;

        let is_done = Cell::new(false);
        let replaced = async {
            // Both are trusted, and the old one signs on.
            shop.space.bring(SYSTEM, &old.secret(&[&old, &new])).await;
            eventually_trusted(&shop, &new).await;
            // The new one signs, and the old root leaves; workloads that have no certificate of it yet are believed still.
            shop.space.bring(SYSTEM, &new.secret(&[&old, &new])).await;
            shop.space.bring(SYSTEM, &new.secret(&[&new])).await;
            for version in ["v1", "v2"] {
                eventually_shows(&shop, &format!("app=reviews,version={version}"), &new).await;
            }
            is_done.set(true);
        };
        let (statuses, ()) = tokio::join!(load(&shop, &is_done), replaced);
        let failed: Vec<_> = statuses.iter().filter(|it| *it != "200").collect();
        println!("{} requests, {} failed", statuses.len(), failed.len());
        assert!(
            failed.is_empty() && statuses.len() >= 100,
            "{} requests, failed: {failed:?}",
            statuses.len()
        );
    });
}
