//! Backends are replaced while they are used.

use super::stand::{GATEWAY, answers, echo, installed, programmed, rolled_out, route};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice_tests::load::Load;

#[test]
fn a_rollout_of_all_pods_loses_no_request() {
    installed(async |space| {
        space.apply(&format!("{GATEWAY}{}{}", echo("web", 6), route("web", "web.example", "web"))).await;
        let address = programmed(&space, "edge", 80).await;
        rolled_out(&space, "web").await;
        answers(address, "web.example", 200).await;

        let load =
            Load::start(address, 8, b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n".to_vec(), |_| Ok(()));
        load.more(200).await;
        let template = json!({"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}});
        let api = space.api::<Deployment>();
        api.patch("web", &PatchParams::default(), &Patch::Merge(&template)).await.unwrap();
        rolled_out(&space, "web").await;
        load.more(200).await;

        // A selector that fits nobody and then everybody again: no endpoint, then all.
        let account = load.finish().await;
        account.expect_all_200();
        let selects = |version: &str| json!({"spec": {"selector": {"version": version}}});
        let services = space.api::<Service>();
        services.patch("web", &PatchParams::default(), &Patch::Merge(&selects("none"))).await.unwrap();
        answers(address, "web.example", 503).await;
        services.patch("web", &PatchParams::default(), &Patch::Merge(&selects("2"))).await.unwrap();
        answers(address, "web.example", 200).await;
    });
}
