//! The README's three commands: the Gateway API, `sluice install`, an example. The controller runs as the account that
//! was installed for it, with exactly the rights of `deploy/base`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Context, bail};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_cluster_tests::{Channel, SYSTEM, Space, eventually, own};
use sluice_tests::{Ask, Wire};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpStream;

/// The files of the example.
fn example() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/kubernetes-hello");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    format!("{}\n---\n{}", read("backend.yaml"), read("gateway.yaml"))
}

async fn get(space: &Space, kind: &str, name: &str) -> kube::Result<DynamicObject> {
    let resource = sluice::cluster::resource("gateway.networking.k8s.io/v1", kind).unwrap();
    match kind {
        "GatewayClass" => Api::all_with(space.client.clone(), &resource).get(name).await,
        _ => Api::namespaced_with(space.client.clone(), &space.namespace, &resource).get(name).await,
    }
}

/// Nothing that the controller asked for was refused to it.
async fn nothing_was_forbidden(space: &Space) {
    let log = space.controller_log().await;
    let refused: Vec<_> =
        log.lines().filter(|line| line.to_ascii_lowercase().contains("forbidden")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(!log.is_empty(), "the controller wrote no log");
}

#[test]
fn three_commands_lead_to_an_answer() {
    own(async |space| {
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        space.install_sluice(&["gateway.serviceType=LoadBalancer"]).await.unwrap();
        space.apply(&example()).await;
        let address = eventually("the Gateway is programmed", async || {
            let gateway = get(&space, "Gateway", "hello").await?;
            let conditions =
                gateway.data["status"]["conditions"].as_array().context("no conditions")?.clone();
            let programmed =
                conditions.iter().find(|it| it["type"] == "Programmed").context("no Programmed")?;
            if programmed["status"] != "True" {
                bail!("{programmed}");
            }
            let address = gateway.data["status"]["addresses"][0]["value"].as_str().context("no address")?;
            anyhow::Ok(address.to_owned())
        })
        .await;
        let address = SocketAddr::new(address.parse().unwrap(), 80);
        let answer = eventually("an answer of the backend", async || {
            let mut wire = Wire::over(Box::new(TcpStream::connect(address).await?));
            wire.try_send(&Ask::get(&format!("http://{address}/greeting")).to_http1()).await?;
            let answer = wire.read(false).await.ok().context("no whole answer")?;
            if answer.status == 200 { anyhow::Ok(answer.json()) } else { bail!("{}", answer.status) }
        })
        .await;
        assert_eq!(answer["backend"], "hello");
        assert_eq!(answer["path"], "/greeting");
        status_tells(&space).await;
        nothing_was_forbidden(&space).await;

        space.delete(&example()).await;
        eventually("the Gateway's Service goes with it", async || {
            let services = space.api::<Service>();
            match services.get_opt("hello-sluice").await? {
                None => Ok(()),
                Some(_) => bail!("still there"),
            }
        })
        .await;
        nothing_was_forbidden(&space).await;
        let said = space.sluice(&["uninstall", "--wait"]).await.unwrap();
        assert!(said.contains("Deployment sluice-system/sluice-controller"), "{said}");
    });
}

/// `sluice status` shows the gateway, its route, and how far its proxies are.
async fn status_tells(space: &Space) {
    let report = eventually("sluice status finds nothing wrong", async || {
        let said = space.sluice(&["status", "-o", "json"]).await?;
        anyhow::Ok(serde_json::from_str::<Value>(&said)?)
    })
    .await;
    assert_eq!(report["notes"], serde_json::json!([]), "{report}");
    let gateway = &report["gateways"][0];
    assert_eq!(gateway["name"], "hello");
    assert_eq!(gateway["attachedRoutes"], 1);
    assert_eq!(gateway["proxies"]["inSync"], gateway["proxies"]["connected"]);
    assert_ne!(gateway["proxies"]["connected"], 0);
    let route = &report["routes"][0];
    assert_eq!(route["parents"][0]["accepted"], true, "{route}");
    let leader = report["controller"]["leader"].as_str().unwrap().to_owned();
    assert!(space.controllers().await.unwrap().iter().any(|pod| pod.name_any() == leader), "{leader}");
}

/// A Gateway with everything that the controller can make, and an object of each kind that it writes statuses of.
const EVERYTHING: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: GatewayParameters
metadata: {name: scaled}
spec:
  service: {type: ClusterIP}
  autoscaling: {minReplicas: 1, maxReplicas: 2}
  disruption: {maxUnavailable: 1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: sluice
  infrastructure: {parametersRef: {group: sluice.dev, kind: GatewayParameters, name: scaled}}
  allowedListeners: {namespaces: {from: Same}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more}
spec:
  parentRef: {name: web}
  listeners: [{name: more, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: http}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: backend, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: grpc}
spec: {parentRefs: [{name: web}], hostnames: [grpc.example.com], rules: [{backendRefs: [{name: backend, port: 80}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: backend}, spec: {ports: [{port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls}
spec:
  targetRefs: [{group: "", kind: Service, name: backend}]
  validation: {hostname: backend.example.com, wellKnownCACertificates: System}
"#;

#[test]
fn no_right_is_missing_to_whatever_the_controller_does() {
    own(async |space| {
        space.cluster.install_crds(Channel::Experimental).await.unwrap();
        // Two replicas, so that they speak with each other and one hands the lease to the other.
        let settings = ["controller.replicas=2", "controller.log=sluice_controller=debug,warn"];
        space.install_sluice(&settings).await.unwrap();
        space.apply(EVERYTHING).await;
        for (kind, name, pointer) in [
            ("GatewayClass", "sluice", "/status/conditions/0"),
            ("Gateway", "web", "/status/listeners/0"),
            ("ListenerSet", "more", "/status/listeners/0"),
            ("HTTPRoute", "http", "/status/parents/0/conditions"),
            ("GRPCRoute", "grpc", "/status/parents/0/conditions"),
            ("BackendTLSPolicy", "tls", "/status/ancestors/0/conditions"),
        ] {
            eventually(&format!("a status of {kind} {name}"), async || {
                let object = get(&space, kind, name).await?;
                object.data.pointer(pointer).map(drop).with_context(|| object.data.to_string())
            })
            .await;
        }
        made::<HorizontalPodAutoscaler>(&space).await;
        made::<PodDisruptionBudget>(&space).await;
        made::<ConfigMap>(&space).await;
        // What parameters ask for no more is deleted.
        space.apply(&EVERYTHING.replace("  autoscaling: {minReplicas: 1, maxReplicas: 2}\n", "")).await;
        let autoscalers = space.api::<HorizontalPodAutoscaler>();
        eventually("the autoscaler goes", async || {
            match autoscalers.list(&ListParams::default()).await?.items.len() {
                0 => Ok(()),
                count => bail!("{count} are left"),
            }
        })
        .await;
        another_replica_takes_over(&space).await;
        nothing_was_forbidden(&space).await;
    });
}

/// Waits until an object that belongs to the Gateway `web` is there.
async fn made<K>(space: &Space)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let api = space.api::<K>();
    eventually(&format!("a {}", K::kind(&K::DynamicType::default())), async || {
        let objects = api.list(&ListParams::default()).await?.items;
        let is_owned = |it: &K| it.owner_references().iter().any(|owner| owner.name == "web");
        if objects.iter().any(is_owned) { Ok(()) } else { bail!("{} others", objects.len()) }
    })
    .await;
}

/// Ends the replica that writes; the other one writes then.
async fn another_replica_takes_over(space: &Space) {
    let leases: Api<Lease> = Api::namespaced(space.client.clone(), SYSTEM);
    let holder = async || -> anyhow::Result<String> {
        let lease = leases.get("sluice-controller").await?;
        lease.spec.and_then(|it| it.holder_identity).filter(|it| !it.is_empty()).context("nobody leads")
    };
    let first = eventually("a replica leads", holder).await;
    let pods: Api<Pod> = Api::namespaced(space.client.clone(), SYSTEM);
    pods.delete(&first, &DeleteParams::default()).await.unwrap();
    eventually("another replica leads", async || match holder().await? {
        now if now == first => bail!("{now} still does"),
        _ => Ok(()),
    })
    .await;
    let changed = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: late}, \
                   spec: {parentRefs: [{name: web}]}}";
    space.apply(changed).await;
    eventually("the other one writes statuses", async || {
        let route = get(space, "HTTPRoute", "late").await?;
        route.data.pointer("/status/parents/0").map(drop).context("no status")
    })
    .await;
}
