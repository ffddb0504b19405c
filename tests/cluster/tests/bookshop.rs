//! `examples/mesh-bookshop`, as its README tells it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use sluice_cluster_tests::{BACKENDS, Channel, Space, eventually, own};
use sluice_tests::{Ask, Wire};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SHOP: &str = "bookshop";
const REVIEWS: &str = "http://reviews:9080/";

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mesh-bookshop");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Status and body of what curl was answered in a pod of a Deployment; status 0: the connection failed.
async fn curl(space: &Space, app: &str, arguments: &[&str]) -> Result<(u16, String)> {
    let pods: Api<Pod> = Api::namespaced(space.client.clone(), SHOP);
    let pods = pods.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
    let pod = pods.iter().find(|it| it.metadata.deletion_timestamp.is_none()).context("no pod")?;
    let mut command = vec!["curl", "-s", "-m", "10", "-w", "\n%{http_code}"];
    command.extend(arguments);
    let (_, said) = space.cluster.exec((SHOP, &pod.name_any(), "curl"), &command).await?;
    let (body, status) = said.rsplit_once('\n').context(said.clone())?;
    Ok((status.parse().with_context(|| said.clone())?, body.to_owned()))
}

/// [`curl`] until the status is this one.
async fn answers(space: &Space, app: &str, arguments: &[&str], wanted: u16) -> String {
    eventually(&format!("{app} {arguments:?}: {wanted}"), async || {
        let (status, body) = curl(space, app, arguments).await?;
        if status == wanted { Ok(body) } else { bail!("{status} {body}") }
    })
    .await
}

async fn rolled_out(space: &Space) {
    let deployments: Api<Deployment> = Api::namespaced(space.client.clone(), SHOP);
    eventually("finished rollouts", async || {
        for deployment in deployments.list(&ListParams::default()).await?.items {
            let (spec, status) =
                (deployment.spec.clone().unwrap_or_default(), deployment.status.clone().unwrap_or_default());
            let is_done = status.observed_generation == deployment.metadata.generation
                && status.updated_replicas == spec.replicas
                && status.available_replicas == spec.replicas
                && status.replicas == spec.replicas;
            if !is_done {
                bail!("{}: {status:?}", deployment.name_any());
            }
        }
        anyhow::Ok(())
    })
    .await;
}

/// `kubectl label namespace` and `kubectl rollout restart deployment`.
async fn into_the_mesh(space: &Space) {
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let label = json!({"metadata": {"labels": {"istio-injection": "enabled"}}});
    namespaces.patch(SHOP, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(space.client.clone(), SHOP);
    for deployment in deployments.list(&ListParams::default()).await.unwrap().items {
        let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
        let name = deployment.name_any();
        deployments.patch(&name, &PatchParams::default(), &Patch::Merge(restart)).await.unwrap();
    }
    rolled_out(space).await;
}

/// How many of so many requests each version answered.
async fn shares(space: &Space, requests: usize) -> (usize, usize) {
    let (mut old, mut new) = (0, 0);
    for _ in 0..requests {
        let (status, body) = curl(space, "productpage", &[REVIEWS]).await.unwrap();
        assert_eq!(status, 200, "{body}");
        old += usize::from(body.contains("\"reviews-v1\""));
        new += usize::from(body.contains("\"reviews-v2\""));
    }
    assert_eq!(old + new, requests);
    (old, new)
}

/// Something outside of the mesh, at an address of its own.
async fn publisher() -> std::net::SocketAddr {
    let [a, b, ..] = BACKENDS.octets();
    let listener = TcpListener::bind((std::net::Ipv4Addr::new(a, b, 77, 7), 80)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 2048];
                let _ = stream.read(&mut head).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere")
                    .await;
            });
        }
    });
    address
}

#[test]
fn the_story_of_the_bookshop_is_true() {
    own(async |space| {
        space.cluster.install_crds(Channel::Experimental).await.unwrap();
        space.install_sluice(&[]).await.unwrap();
        space.apply(&file("namespace.yaml")).await;
        space.apply(&file("apps.yaml")).await;
        rolled_out(&space).await;
        let body = answers(&space, "productpage", &[REVIEWS], 200).await;
        assert!(body.contains("reviews-v1") && !body.contains("spiffe://"), "{body}");

        into_the_mesh(&space).await;
        eventually("a call that proves who calls", async || {
            let (status, body) = curl(&space, "productpage", &[REVIEWS]).await?;
            let proven = body.contains("spiffe://cluster.local/ns/bookshop/sa/productpage");
            if status == 200 && proven { Ok(()) } else { bail!("{status} {body}") }
        })
        .await;

        space.apply(&file("strict.yaml")).await;
        answers(&space, "productpage", &[REVIEWS], 200).await;
        outsiders_are_closed_out(&space).await;

        space.apply(&file("policies.yaml")).await;
        answers(&space, "productpage", &["-X", "POST", REVIEWS], 403).await;
        answers(&space, "intruder", &[REVIEWS], 403).await;
        answers(&space, "productpage", &[REVIEWS], 200).await;

        space.apply(&file("canary.yaml")).await;
        eventually("a tenth at the new version", async || {
            let (old, new) = shares(&space, 50).await;
            if (1..=15).contains(&new) { Ok(()) } else { bail!("{old} {new}") }
        })
        .await;
        space.apply(&file("mirror.yaml")).await;
        eventually("none at the new version", async || {
            let (old, new) = shares(&space, 20).await;
            if new == 0 { Ok(()) } else { bail!("{old} {new}") }
        })
        .await;

        space.apply(&file("fault.yaml")).await;
        answers(&space, "productpage", &[REVIEWS], 503).await;
        space.delete(&file("fault.yaml")).await;
        space.apply(&file("retry.yaml")).await;
        let mut key = 0;
        eventually("a second try", async || {
            // A backend that has failed twice fails no more: each time another one, to it.
            key += 1;
            let url = format!("http://ratings:9080/fail-first?n=2&key={key}&status=503");
            let (status, body) = curl(&space, "productpage", &[&url]).await?;
            if status == 200 { Ok(()) } else { bail!("{status} {body}") }
        })
        .await;

        the_way_out(&space).await;
        metrics_tell(&space).await;

        space.apply(&file("login.yaml")).await;
        let admin = "http://reviews:9080/admin";
        answers(&space, "productpage", &[admin], 403).await;
        let token = format!("Authorization: Bearer {}", file("token.txt").trim());
        answers(&space, "productpage", &["-H", &token, admin], 200).await;
        answers(&space, "productpage", &["-H", "Authorization: Bearer nonsense", REVIEWS], 401).await;
        answers(&space, "productpage", &[REVIEWS], 200).await;
    });
}

async fn outsiders_are_closed_out(space: &Space) {
    let pods: Api<Pod> = Api::namespaced(space.client.clone(), SHOP);
    eventually("plain text is refused", async || {
        let pods = pods.list(&ListParams::default().labels("app=reviews,version=v1")).await?.items;
        let address = pods.iter().find_map(|it| it.status.as_ref()?.pod_ip.clone()).context("no pod")?;
        let mut stream = tokio::net::TcpStream::connect(format!("{address}:9080")).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        if answer.is_empty() { Ok(()) } else { bail!("{}", String::from_utf8_lossy(&answer)) }
    })
    .await;
}

async fn the_way_out(space: &Space) {
    let address = publisher().await;
    // The example's host, at the address that is outside here.
    let allowed = file("allowed.yaml").replace(
        "resolution: DNS",
        &format!("resolution: STATIC\n  endpoints: [{{address: {}}}]", address.ip()),
    );
    let outside = format!("http://{address}/");
    let named = ["-H", "Host: example.com", outside.as_str()];
    answers(space, "productpage", &named, 200).await;
    space.apply(&file("closed.yaml")).await;
    answers(space, "productpage", &named, 502).await;
    space.apply(&allowed).await;
    answers(space, "productpage", &["http://example.com/"], 200).await;
    answers(space, "productpage", &[&format!("http://{}:80/", std::net::Ipv4Addr::new(10, 98, 77, 8))], 502)
        .await;
}

async fn metrics_tell(space: &Space) {
    let pods: Api<Pod> = Api::namespaced(space.client.clone(), SHOP);
    let pods = pods.list(&ListParams::default().labels("app=productpage")).await.unwrap().items;
    let address = pods.iter().find_map(|it| it.status.as_ref()?.pod_ip.clone()).unwrap();
    // As a scraper does: from outside of the mesh.
    let stream = tokio::net::TcpStream::connect(format!("{address}:15020")).await.unwrap();
    let mut wire = Wire::over(Box::new(stream));
    let url = format!("http://{address}:15020/stats/prometheus");
    wire.try_send(&Ask::get(&url).to_http1()).await.unwrap();
    let text = wire.read(false).await.map_or_else(|_| String::new(), |it| it.text());
    let of_reviews = |line: &&str| {
        line.starts_with("istio_requests_total") && line.contains("destination_service_name=\"reviews\"")
    };
    let line = text.lines().find(of_reviews).unwrap_or_else(|| panic!("{text}"));
    for word in ["source_workload=\"productpage\"", "response_code=\"200\"", "request_protocol=\"http\""] {
        assert!(text.lines().filter(of_reviews).any(|it| it.contains(word)), "{word}: {line}");
    }
}
