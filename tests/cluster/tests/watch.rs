//! Watches against a real API server: what can't be read, CRDs that come and go, a server that stops.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;

use control::{Replica, api, attached, condition, entry, gateway, get, is_accepted, route, until};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_cluster_tests::{Channel, Space, eventually, own};
use std::time::{Duration, Instant};

fn definitions(space: &Space) -> Api<CustomResourceDefinition> {
    Api::all(space.client.clone())
}

/// Lets the CRD of HTTPRoutes take a kind of path match that no release has yet.
async fn teach_fuzzy(space: &Space) {
    let name = "httproutes.gateway.networking.k8s.io";
    let definition = definitions(space).get(name).await.unwrap();
    let value = serde_json::to_value(&definition.spec.versions).unwrap();
    let mut versions: Vec<Value> = serde_json::from_value(value).unwrap();
    for version in &mut versions {
        let rule = "/schema/openAPIV3Schema/properties/spec/properties/rules/items";
        let path = version.pointer_mut(&format!("{rule}/properties/matches/items/properties/path")).unwrap();
        path["properties"]["type"]["enum"].as_array_mut().unwrap().push(json!("Fuzzy"));
        path.as_object_mut().unwrap().remove("x-kubernetes-validations");
    }
    let patch = json!({"spec": {"versions": versions}});
    definitions(space).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

fn matching(name: &str, kind: &str) -> String {
    let path = format!("rules: [{{matches: [{{path: {{type: {kind}, value: /}}}}], ");
    route(name).replace("rules: [{", &path)
}

#[test]
fn an_object_that_cannot_be_read_is_refused_and_stops_nothing() {
    own(async |space| {
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        let replica = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        space.apply(&matching("odd", "Exact")).await;
        until(&space, "the good route", ("HTTPRoute", "odd"), |it| is_accepted(&space, it)).await;
        teach_fuzzy(&space).await;
        eventually("the API server takes it", async || space.try_apply(&matching("odd", "Fuzzy")).await)
            .await;
        let odd = until(&space, "the refusal", ("HTTPRoute", "odd"), |it| {
            condition(&entry(&space, it)["conditions"], "Accepted")["reason"] == "UnsupportedValue"
        })
        .await;
        let accepted = condition(&entry(&space, &odd)["conditions"], "Accepted");
        let message = accepted["message"].as_str().unwrap();
        assert!(
            message.starts_with("spec.rules[0].matches[0].path.type: unknown value \"Fuzzy\""),
            "{message}"
        );
        assert_eq!(accepted["observedGeneration"], odd["metadata"]["generation"]);
        until(&space, "no route", ("Gateway", "web"), |it| attached(it) == 0).await;

        // It is there when a replica starts, too.
        replica.stop().await;
        let replica = Replica::start(&space, "b");
        space.apply(&route("good")).await;
        until(&space, "the next route", ("HTTPRoute", "good"), |it| is_accepted(&space, it)).await;
        space.apply(&matching("odd", "PathPrefix")).await;
        until(&space, "the repaired route", ("HTTPRoute", "odd"), |it| is_accepted(&space, it)).await;
        until(&space, "two routes", ("Gateway", "web"), |it| attached(it) == 2).await;
        replica.stop().await;
    });
}

#[test]
fn crds_that_are_installed_later_are_picked_up_and_those_that_go_take_their_objects_along() {
    own(async |space| {
        let replica = Replica::start(&space, "a");
        // The replica works, with nothing to do.
        space
            .until::<k8s_openapi::api::coordination::v1::Lease>("a leads", "sluice-controller", |_| true)
            .await;
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        let installed = Instant::now();
        space.apply(&gateway(&space)).await;
        space.apply(&route("cart")).await;
        until(&space, "the route", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;
        until(&space, "one route", ("Gateway", "web"), |it| attached(it) == 1).await;
        println!("picked up {:?} after the CRDs were served", installed.elapsed());
        assert!(installed.elapsed() < Duration::from_secs(10));

        let routes = "httproutes.gateway.networking.k8s.io";
        definitions(&space).delete(routes, &DeleteParams::default()).await.unwrap();
        until(&space, "no route", ("Gateway", "web"), |it| attached(it) == 0).await;
        eventually("the CRD is gone", async || match definitions(&space).get_opt(routes).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        space.cluster.install_crds(Channel::Experimental).await.unwrap();
        space.apply(&route("again")).await;
        until(&space, "the route", ("HTTPRoute", "again"), |it| is_accepted(&space, it)).await;
        until(&space, "one route", ("Gateway", "web"), |it| attached(it) == 1).await;
        replica.stop().await;
    });
}

#[test]
fn an_api_server_that_stops_and_loses_its_history_costs_nothing_but_time() {
    own(async |space| {
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        let replica = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        for name in ["one", "two", "three"] {
            space.apply(&route(name)).await;
        }
        until(&space, "three routes", ("Gateway", "web"), |it| attached(it) == 3).await;
        for at_once in [true, false] {
            // What resumes after this gets 410.
            space.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: b}}").await;
            space.cluster.compact().await.unwrap();
            space.cluster.stop_api_server(at_once).await.unwrap();
            assert!(get(&space, "Gateway", "web").await.is_err());
            space.cluster.start_api_server().await.unwrap();
            let gone = if at_once { "one" } else { "two" };
            api(&space, "HTTPRoute").delete(gone, &DeleteParams::default()).await.unwrap();
            let new = format!("new-{at_once}");
            space.apply(&route(&new)).await;
            let back = Instant::now();
            until(&space, "the new route", ("HTTPRoute", &new), |it| is_accepted(&space, it)).await;
            until(&space, "three routes", ("Gateway", "web"), |it| attached(it) == 3).await;
            println!("all right {:?} after the return", back.elapsed());
            assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
        }
        replica.stop().await;
    });
}
