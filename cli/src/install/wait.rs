//! Waiting until an installation works.

use super::apply::POLL;
use super::manifests::CONTROLLER;
use super::settings::{Key, Settings};
use crate::cluster::{self, resource};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::DynamicObject;
use kube::{Api, Client};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Waits until the controller has rolled out and accepted its class, and the demo's Gateway is programmed. Returns what
/// was missing at the deadline.
pub async fn until_ready(
    client: &Client,
    settings: &Settings,
    timeout: Duration,
) -> anyhow::Result<Option<String>> {
    let begin = Instant::now();
    loop {
        let missing = missing(client, settings).await.map_err(cluster::told)?;
        if missing.is_none() || begin.elapsed() >= timeout {
            return Ok(missing);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The first thing that is not ready yet.
async fn missing(client: &Client, settings: &Settings) -> Result<Option<String>, kube::Error> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &settings.namespace);
    if let Some(missing) = rollout(&deployments.get(CONTROLLER).await?) {
        let namespace = &settings.namespace;
        return Ok(Some(format!("{missing}; kubectl -n {namespace} describe pods tells why")));
    }
    let class = settings.get(Key::GatewayClass);
    let mut wanted = vec![("GatewayClass", None, class, "Accepted")];
    if settings.holds(Key::Demo) {
        wanted.push(("Gateway", Some("sluice-demo"), "demo", "Programmed"));
    }
    for (kind, namespace, name, condition) in wanted {
        let Ok(resource) = resource("gateway.networking.k8s.io/v1", kind) else { continue };
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let object = api.get(name).await?;
        let generation = object.metadata.generation;
        if let Some(missing) = condition_missing(&object.data, generation, condition) {
            return Ok(Some(format!("{kind} {name}: {missing}")));
        }
    }
    Ok(None)
}

/// Why a Deployment has not rolled out.
fn rollout(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Some("the Deployment is not looked at yet".to_owned());
    }
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let old = status.replicas.unwrap_or(0) - updated;
    if updated < wanted || available < wanted || old > 0 {
        return Some(format!("{available} of {wanted} replicas of the controller are available"));
    }
    None
}

/// Why a condition does not hold for the object as it is now.
fn condition_missing(object: &Value, generation: Option<i64>, wanted: &str) -> Option<String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|it| it["type"] == wanted);
    let Some(found) = found else { return Some(format!("{wanted} is not reported yet")) };
    if found["status"] == "True" && found["observedGeneration"].as_i64() == generation {
        return None;
    }
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(format!("{wanted}={} ({}) {}", text("status"), text("reason"), text("message")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{condition_missing, rollout};
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{from_value, json};

    #[test]
    fn a_rollout_is_over_when_every_replica_is_new_and_available() {
        let of = |observed: i64, updated: i32, available: i32, all: i32| -> Deployment {
            let status = json!({
                "observedGeneration": observed, "updatedReplicas": updated, "availableReplicas": available,
                "replicas": all,
            });
            from_value(json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 2, "selector": {}, "template": {} }, "status": status })).unwrap()
        };
        assert_eq!(rollout(&of(2, 2, 2, 2)), None);
        assert!(rollout(&of(1, 2, 2, 2)).unwrap().contains("not looked at"));
        assert!(rollout(&of(2, 2, 1, 2)).unwrap().contains("1 of 2"));
        assert!(rollout(&of(2, 2, 2, 3)).is_some());
    }

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        let object = |status: &str, generation: i64| {
            json!({ "status": { "conditions": [
                { "type": "Accepted", "status": status, "reason": "Pending", "message": "wait", "observedGeneration": generation },
            ] } })
        };
        assert_eq!(condition_missing(&object("True", 3), Some(3), "Accepted"), None);
        assert!(condition_missing(&object("True", 2), Some(3), "Accepted").is_some());
        let told = condition_missing(&object("False", 3), Some(3), "Accepted").unwrap();
        assert_eq!(told, "Accepted=False (Pending) wait");
        assert!(condition_missing(&json!({}), Some(1), "Accepted").unwrap().contains("not reported"));
    }
}
