//! What fails does not show: the controller, the API server, its history, the lease.

use super::stand::{
    GATEWAY, alone, answers, echo, gateway_log, gateway_pods, get, kind, programmed, rolled_out, route,
};
use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use sluice_cluster_tests::{SYSTEM, Signal, Space, eventually};
use sluice_tests::load::Load;
use std::net::SocketAddr;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n";

/// A gateway that serves `web.example`, and `old.example` too.
async fn serving(space: &Space) -> SocketAddr {
    let routes = format!("{}{}", route("web", "web.example", "web"), route("old", "old.example", "web"));
    space.apply(&format!("{GATEWAY}{}{routes}", echo("web", 2))).await;
    let address = programmed(space, "edge", 80).await;
    rolled_out(space, "web").await;
    answers(address, "web.example", 200).await;
    answers(address, "old.example", 200).await;
    address
}

#[test]
fn a_controller_that_is_killed_again_and_again_costs_no_request_and_no_change() {
    alone(&[], async |space| {
        let address = serving(&space).await;
        let load = Load::start(address, 4, REQUEST.to_vec(), |_| Ok(()));
        for round in 0..5 {
            let pod = space.controllers().await.unwrap().pop().unwrap();
            let process = space.cluster.process(&pod.uid().unwrap(), "controller");
            space.signal(&pod, Signal::SIGKILL).unwrap();
            // Made while nobody looks.
            space.apply(&route(&format!("r{round}"), &format!("r{round}.example"), "web")).await;
            eventually("a new process", async || {
                let now = space.cluster.process(&pod.uid().unwrap(), "controller");
                if now.is_some() && now != process { Ok(()) } else { bail!("{now:?}") }
            })
            .await;
            answers(address, &format!("r{round}.example"), 200).await;
        }
        load.more(10).await;
        load.finish().await.expect_all_200();
    });
}

#[test]
fn without_an_api_server_gateways_serve_and_restart_and_afterwards_nothing_is_lost_or_resurrected() {
    alone(&[], async |space| {
        let address = serving(&space).await;
        let load = Load::start(address, 4, REQUEST.to_vec(), |_| Ok(()));
        space.cluster.stop_api_server(true).await.unwrap();
        load.more(100).await;
        load.finish().await.expect_all_200();

        // A gateway that starts again now has nobody to ask but its disk.
        space.cluster.start_api_server().await.unwrap();
        let pod = gateway_pods(&space, "edge").await.pop().unwrap();
        let controller = space.controllers().await.unwrap().pop().unwrap();
        space.cluster.stop_api_server(true).await.unwrap();
        space.signal(&controller, Signal::SIGSTOP).unwrap();
        space.signal(&pod, Signal::SIGKILL).unwrap();
        let gateway = format!("{}:10080", pod.status.unwrap().pod_ip.unwrap()).parse().unwrap();
        answers(gateway, "web.example", 200).await;

        // The controller sleeps while objects change and their history is forgotten.
        space.cluster.start_api_server().await.unwrap();
        kind(&space, "HTTPRoute").delete("old", &DeleteParams::default()).await.unwrap();
        space.apply(&route("new", "new.example", "web")).await;
        space.cluster.compact().await.unwrap();
        space.cluster.stop_api_server(true).await.unwrap();
        space.cluster.start_api_server().await.unwrap();
        space.signal(&controller, Signal::SIGCONT).unwrap();
        answers(gateway, "new.example", 200).await;
        answers(gateway, "old.example", 404).await;
        assert_eq!(get(gateway, "web.example", "/").await.unwrap().status, 200);
        eventually("the Gateway counts what is there", async || {
            let edge = kind(&space, "Gateway").get("edge").await?;
            let attached = &edge.data["status"]["listeners"][0]["attachedRoutes"];
            if *attached == 2 { Ok(()) } else { bail!("{attached}\n{}", gateway_log(&space, "edge").await) }
        })
        .await;
    });
}

#[test]
fn another_replica_writes_when_the_holder_of_the_lease_is_gone() {
    alone(&["controller.replicas=2"], async |space| {
        let address = serving(&space).await;
        let leases: Api<Lease> = Api::namespaced(space.client.clone(), SYSTEM);
        let holder = async || {
            let lease = leases.get("sluice-controller").await?;
            lease
                .spec
                .and_then(|spec| spec.holder_identity)
                .filter(|name| !name.is_empty())
                .context("no holder")
        };
        let first = eventually("a holder", holder).await;
        let pod = eventually("the holder's pod", async || {
            let pods = space.controllers().await?;
            pods.into_iter().find(|pod| first.contains(&pod.name_any())).with_context(|| first.clone())
        })
        .await;
        // It neither ends nor answers: only the lease's time tells that it is gone.
        space.signal(&pod, Signal::SIGSTOP).unwrap();
        eventually("another holder", async || {
            let now = holder().await?;
            if now == first { bail!("still {now}") } else { Ok(()) }
        })
        .await;
        space.apply(&route("late", "late.example", "web")).await;
        eventually("the status of a route that the new holder writes", async || {
            let late = kind(&space, "HTTPRoute").get("late").await?;
            if late.data["status"]["parents"][0].is_object() { Ok(()) } else { bail!("{:?}", late.data) }
        })
        .await;

        // The one that slept finds that it no longer holds the lease, and disturbs nothing.
        space.signal(&pod, Signal::SIGCONT).unwrap();
        let hostnames = json!({"spec": {"hostnames": ["later.example"]}});
        kind(&space, "HTTPRoute")
            .patch("late", &PatchParams::default(), &Patch::Merge(&hostnames))
            .await
            .unwrap();
        answers(address, "later.example", 200).await;
        assert_ne!(holder().await.unwrap(), first);
    });
}
