//! The whole way: a Gateway is provisioned, its data plane comes, acknowledges, and only then is it programmed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;

use control::{api, attached, condition, route, until};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};
use sluice_cluster_tests::{Channel, Space, eventually, own};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const GATEWAY: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web}, \
    spec: {gatewayClassName: sluice, listeners: [{name: http, port: 80, protocol: HTTP}]}}";

fn programmed(gateway: &Value) -> &Value {
    condition(&gateway["status"]["conditions"], "Programmed")
}

/// Whether the Gateway's status is of its current generation and says that it is programmed.
fn is_programmed(gateway: &Value) -> bool {
    let condition = programmed(gateway);
    condition["status"] == "True" && condition["observedGeneration"] == gateway["metadata"]["generation"]
}

/// The status line of the answer of a host at an address.
async fn answer(address: &str, host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Every status that the Gateway has from now until it is programmed in this generation.
async fn statuses_until(space: &Space, generation: i64) -> Vec<Value> {
    let gateways = api(space, "Gateway");
    let version = gateways.get("web").await.unwrap().metadata.resource_version.unwrap();
    let mut events = gateways.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        let WatchEvent::Modified(web) = event else { continue };
        let web = serde_json::to_value(&web).unwrap();
        let is_done = is_programmed(&web) && web["metadata"]["generation"] == generation;
        seen.push(web);
        if is_done {
            return seen;
        }
    }
    panic!("the watch ended")
}

#[test]
fn a_gateway_is_programmed_when_its_data_plane_has_acknowledged_and_never_flaps() {
    own(async |space| {
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        space.install_sluice(&[]).await.unwrap();
        let begun = Instant::now();
        space.apply(GATEWAY).await;
        let web = until(&space, "programmed", ("Gateway", "web"), is_programmed).await;
        println!("programmed after {:?}", begun.elapsed());
        let address = web["status"]["addresses"][0]["value"].as_str().unwrap().to_owned();
        let at = |port: u16| format!("{address}:{port}");
        // The Service finds its pod a moment later than the controller does.
        eventually("the Gateway answers", async || answer(&at(80), "cart.example.com").await).await;
        assert_eq!(answer(&at(80), "cart.example.com").await.unwrap(), "HTTP/1.1 404 Not Found");

        space.apply(&route("cart")).await;
        until(&space, "one route", ("Gateway", "web"), |it| attached(it) == 1 && is_programmed(it)).await;
        eventually("the route is served", async || {
            let line = answer(&at(80), "cart.example.com").await.unwrap();
            if line.contains(" 302 ") { Ok(line) } else { Err(line) }
        })
        .await;

        // A change of the listeners: one status, when it is acknowledged.
        let edited =
            GATEWAY.replace("listeners: [", "listeners: [{name: more, port: 8080, protocol: HTTP}, ");
        let (seen, _) = tokio::join!(statuses_until(&space, 2), space.apply(&edited));
        assert!(seen.iter().all(|it| programmed(it)["status"] == json!("True")), "{seen:?}");
        let ours = |it: &&Value| programmed(it)["observedGeneration"] == json!(2);
        assert_eq!(seen.iter().filter(ours).count(), 1, "{seen:?}");
        let line = eventually("the new port", async || answer(&at(8080), "other.example.com").await).await;
        assert_eq!(line, "HTTP/1.1 404 Not Found");
    });
}
