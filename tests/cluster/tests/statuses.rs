//! Statuses in a real API server: whole, current, ours alone, and few writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;

use control::{
    Replica, api, attached, condition, controller_name, entry, gateway, get, is_accepted, patch_status,
    route, until,
};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use sluice_cluster_tests::{Space, shared};
use std::time::{Duration, Instant};

/// Every condition anywhere in a status.
fn conditions(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("lastTransitionTime") => found.push(value.clone()),
        Value::Object(fields) => fields.values().for_each(|it| conditions(it, found)),
        Value::Array(items) => items.iter().for_each(|it| conditions(it, found)),
        _ => {}
    }
}

fn all_conditions(object: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    conditions(&object["status"], &mut found);
    found
}

fn is_current(object: &Value) -> bool {
    let all = all_conditions(object);
    !all.is_empty() && all.iter().all(|it| it["observedGeneration"] == object["metadata"]["generation"])
}

#[test]
fn every_condition_carries_the_current_generation_and_keeps_its_time_while_it_holds() {
    shared(async |space| {
        let replica = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        space.apply(&route("cart")).await;
        let class = until(&space, "the class", ("GatewayClass", &space.namespace.clone()), is_current).await;
        assert_eq!(condition(&class["status"]["conditions"], "Accepted")["status"], "True");
        assert_eq!(condition(&class["status"]["conditions"], "SupportedVersion")["status"], "True");
        let features: Vec<&str> = class["status"]["supportedFeatures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        assert!(features.is_sorted() && features.contains(&"HTTPRoute"), "{features:?}");

        let web =
            until(&space, "the Gateway", ("Gateway", "web"), |it| attached(it) == 1 && is_current(it)).await;
        let before = condition(&web["status"]["conditions"], "Accepted").clone();
        assert_eq!((&before["status"], &before["reason"]), (&json!("True"), &json!("Accepted")));
        // No data plane has acknowledged anything.
        assert_eq!(condition(&web["status"]["conditions"], "Programmed")["status"], "False");
        let cart = until(&space, "the route", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;
        assert_eq!(entry(&space, &cart)["parentRef"], cart["spec"]["parentRefs"][0]);
        assert!(is_current(&cart));

        let edited =
            gateway(&space).replace("listeners: [", "listeners: [{name: more, port: 81, protocol: HTTP}, ");
        space.apply(&edited).await;
        let web = until(&space, "generation 2", ("Gateway", "web"), |it| {
            it["metadata"]["generation"] == 2 && is_current(it)
        })
        .await;
        assert_eq!(web["status"]["listeners"].as_array().unwrap().len(), 2);
        let after = condition(&web["status"]["conditions"], "Accepted");
        assert_eq!(after["lastTransitionTime"], before["lastTransitionTime"]);
        space
            .apply(
                &route("cart")
                    .replace("parentRefs: [{name: web}]", "parentRefs: [{name: web, sectionName: other}]"),
            )
            .await;
        let cart = until(&space, "the refused route", ("HTTPRoute", "cart"), |it| {
            condition(&entry(&space, it)["conditions"], "Accepted")["reason"] == "NoMatchingParent"
        })
        .await;
        assert!(is_current(&cart));
        until(&space, "no route", ("Gateway", "web"), |it| attached(it) == 0).await;
        replica.stop().await;
    });
}

#[test]
fn entries_of_other_controllers_stay_and_ours_go_with_their_reason() {
    shared(async |space| {
        space.apply(&gateway(&space)).await;
        space.apply(&route("cart")).await;
        let say = |controller: &str, parent: &str| {
            json!({"controllerName": controller, "parentRef": {"name": parent}, "conditions": [
                {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
                 "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
        };
        let (other, stale) = (say("example.com/other", "theirs"), say(&controller_name(&space), "gone"));
        patch_status(&space, "HTTPRoute", "cart", &json!({"parents": [stale, other.clone()]})).await;
        let replica = Replica::start(&space, "a");
        let parents = |it: &Value| it["status"]["parents"].as_array().cloned().unwrap_or_default();
        let theirs =
            |it: &Value| parents(it).into_iter().find(|it| it["controllerName"] == "example.com/other");
        let cart =
            until(&space, "ours beside theirs", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;
        assert_eq!(parents(&cart).len(), 2);
        let kept = theirs(&cart);

        // Another controller speaks again while we do.
        let mut changed = kept.clone().unwrap();
        changed["conditions"][0]["status"] = json!("False");
        let ours = entry(&space, &cart).clone();
        patch_status(&space, "HTTPRoute", "cart", &json!({"parents": [changed.clone(), ours]})).await;
        space.apply(&route("cart").replace("scheme: https", "scheme: http")).await;
        let cart = until(&space, "generation 2", ("HTTPRoute", "cart"), |it| {
            it["metadata"]["generation"] == 2 && is_accepted(&space, it)
        })
        .await;
        assert_eq!(theirs(&cart), Some(changed.clone()));

        // Somebody takes our entry away: it comes back.
        patch_status(&space, "HTTPRoute", "cart", &json!({"parents": [changed.clone()]})).await;
        until(&space, "ours again", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;

        // The Gateway goes: we have nothing to say any more.
        api(&space, "Gateway").delete("web", &Default::default()).await.unwrap();
        let cart = until(&space, "only theirs", ("HTTPRoute", "cart"), |it| parents(it).len() == 1).await;
        assert_eq!(theirs(&cart), Some(changed));
        replica.stop().await;
    });
}

#[test]
fn a_replica_that_starts_writes_nothing_that_is_there_already() {
    shared(async |space| {
        let first = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        space.apply(&route("cart")).await;
        until(&space, "the route", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;
        let web = until(&space, "the Gateway", ("Gateway", "web"), |it| attached(it) == 1).await;
        let cart = get(&space, "HTTPRoute", "cart").await.unwrap();
        first.stop().await;
        let second = Replica::start(&space, "b");
        // It has looked at everything when it has written this.
        space.apply(&route("later")).await;
        until(&space, "the later route", ("HTTPRoute", "later"), |it| is_accepted(&space, it)).await;
        let now = get(&space, "HTTPRoute", "cart").await.unwrap();
        assert_eq!(now["metadata"]["resourceVersion"], cart["metadata"]["resourceVersion"]);
        let now = until(&space, "two routes", ("Gateway", "web"), |it| attached(it) == 2).await;
        let time =
            |it: &Value| condition(&it["status"]["conditions"], "Accepted")["lastTransitionTime"].clone();
        assert_eq!(time(&now), time(&web));
        second.stop().await;
    });
}

/// Counts the changes of the Gateway `web` until it has so many routes.
async fn writes_until(space: &Space, routes: u64) -> (u32, Instant) {
    let mut writes = 0;
    let gateways = api(space, "Gateway");
    let web = gateways.get("web").await.unwrap();
    let mut version = web.metadata.resource_version.clone().unwrap();
    loop {
        let mut events = gateways.watch(&WatchParams::default(), &version).await.unwrap().boxed();
        while let Some(event) = events.try_next().await.unwrap() {
            let WatchEvent::Modified(web) = event else { continue };
            writes += 1;
            version = web.metadata.resource_version.clone().unwrap();
            if attached(&serde_json::to_value(&web).unwrap()) == routes {
                return (writes, Instant::now());
            }
        }
    }
}

#[test]
fn a_thousand_routes_cost_few_writes_of_their_gateway_which_are_right_within_a_second() {
    const ROUTES: u64 = 1_000;
    shared(async |space| {
        let replica = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        until(&space, "the Gateway", ("Gateway", "web"), |it| {
            condition(&it["status"]["conditions"], "Accepted")["status"] == "True"
        })
        .await;
        let (writes, last) = tokio::join!(writes_until(&space, ROUTES), async {
            let routes = api(&space, "HTTPRoute");
            let object = |index: u64| -> DynamicObject {
                serde_saphyr::from_str(&route(&format!("r{index}"))).unwrap()
            };
            futures::stream::iter(0..ROUTES)
                .map(Ok)
                .try_for_each_concurrent(4, |index| {
                    let (routes, object) = (routes.clone(), object(index));
                    async move { routes.create(&PostParams::default(), &object).await.map(drop) }
                })
                .await
                .unwrap();
            Instant::now()
        });
        let (writes, right) = writes;
        let late = right.saturating_duration_since(last);
        println!("{writes} writes of the Gateway; right {late:?} after the last create");
        assert!(writes <= 50, "{writes} writes of the Gateway");
        assert!(late <= Duration::from_secs(1), "right only {late:?} after the last create");
        until(&space, "the last route", ("HTTPRoute", "r999"), |it| is_accepted(&space, it)).await;
        replica.stop().await;
    });
}

#[test]
fn writes_of_others_meanwhile_are_neither_lost_nor_in_the_way() {
    shared(async |space| {
        let replica = Replica::start(&space, "a");
        space.apply(&gateway(&space)).await;
        for index in 0..30 {
            // A change of the spec, which asks for a status, and labels that make its version stale.
            let scheme = if index % 2 == 0 { "http" } else { "https" };
            space.apply(&route("cart").replace("scheme: https", &format!("scheme: {scheme}"))).await;
            for number in 0..3 {
                let patch = json!({"metadata": {"labels": {format!("n{number}"): index.to_string()}}});
                let routes = api(&space, "HTTPRoute");
                routes.patch("cart", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
            }
        }
        let cart =
            until(&space, "the last generation", ("HTTPRoute", "cart"), |it| is_accepted(&space, it)).await;
        assert_eq!(cart["metadata"]["labels"], json!({"n0": "29", "n1": "29", "n2": "29"}));
        replica.stop().await;
    });
}

/// The definition of a kind of Istio's, as far as a server needs it.
fn istio(kind: &str, plural: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.networking.istio.io}}
spec:
  group: networking.istio.io
  names: {{kind: {kind}, plural: {plural}, singular: {singular}, listKind: {kind}List}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
    subresources: {{status: {{}}}}
"
    )
}

fn service_entry(name: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example.com]
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP}}]
"
    )
}

#[test]
fn hosts_of_service_entries_are_given_addresses_that_stay() {
    shared(async |space| {
        for definition in [istio("ServiceEntry", "serviceentries"), istio("WorkloadEntry", "workloadentries")]
        {
            space.apply(&definition).await;
        }
        let replica = Replica::start(&space, "a");
        let given = |it: &Value| it["status"]["addresses"].as_array().cloned().unwrap_or_default();
        // The kind may not be served yet.
        sluice_cluster_tests::eventually("the kind is served", async || {
            space.try_apply(&service_entry("api")).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        let api_entry =
            until(&space, "addresses", ("ServiceEntry", "api"), |it| given(it).len() == 2 && is_current(it))
                .await;
        let accepted = condition(&api_entry["status"]["conditions"], "sluice.dev/Accepted");
        assert_eq!(accepted["status"], "True");
        assert!(given(&api_entry)[0]["value"].as_str().unwrap().starts_with("240.240."));

        // Those that somebody else has given stay, and what else he says.
        space.apply(&service_entry("other")).await;
        until(&space, "its addresses", ("ServiceEntry", "other"), |it| given(it).len() == 2).await;
        let theirs = json!({"type": "example.com/Bound", "status": "True", "reason": "Bound", "message": "",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let address = json!({"host": "other.example.com", "value": "240.240.77.7"});
        let status = json!({"conditions": [theirs], "addresses": [address]});
        patch_status(&space, "ServiceEntry", "other", &status).await;
        let other = until(&space, "ours beside theirs", ("ServiceEntry", "other"), |it| {
            it["status"]["conditions"].as_array().is_some_and(|it| it.len() == 2) && given(it).len() == 2
        })
        .await;
        assert_eq!((&other["status"]["conditions"][0], &given(&other)[0]), (&theirs, &address));
        replica.stop().await;

        // The next replica gives the same.
        let before = get(&space, "ServiceEntry", "api").await.unwrap();
        let replica = Replica::start(&space, "b");
        space.apply(&service_entry("later")).await;
        until(&space, "the later entry", ("ServiceEntry", "later"), |it| given(it).len() == 2).await;
        let after = get(&space, "ServiceEntry", "api").await.unwrap();
        assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
        replica.stop().await;
    });
}
