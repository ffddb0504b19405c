//! A pod's status, as its containers are.

use super::container::State;
use crate::network::HOST;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// The status to write.
pub(crate) fn status(pod: &Pod, address: Option<Ipv4Addr>, started: Timestamp, states: &[State]) -> Value {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).zip(states);
    let statuses: Vec<_> = containers
        .map(|(container, state)| {
            json!({
                "name": container.name, "image": container.image, "imageID": "", "restartCount": state.restarts,
                "ready": state.ready, "started": state.running.is_some(), "state": container_state(state),
            })
        })
        .collect();
    let ready = !states.is_empty() && states.iter().all(|state| state.ready);
    let condition = |kind: &str, status: bool| {
        let status = if status { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now()})
    };
    json!({"status": {
        "phase": phase(states),
        "startTime": seconds(started),
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "podIP": address,
        "podIPs": address.map(|address| json!([{"ip": address}])),
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "containerStatuses": statuses,
    }})
}

fn phase(states: &[State]) -> &'static str {
    if !states.is_empty() && states.iter().all(|state| state.over) {
        return if states.iter().all(|state| state.exit == Some(0)) { "Succeeded" } else { "Failed" };
    }
    let begun = |state: &State| state.running.is_some() || state.exit.is_some();
    if !states.is_empty() && states.iter().all(begun) { "Running" } else { "Pending" }
}

fn container_state(state: &State) -> Value {
    if let Some(since) = state.running {
        return json!({"running": {"startedAt": seconds(since)}});
    }
    if let Some((reason, message)) = &state.waiting {
        return json!({"waiting": {"reason": reason, "message": message}});
    }
    match state.exit {
        Some(code) => json!({"terminated": {"exitCode": code, "finishedAt": now()}}),
        None => json!({"waiting": {"reason": "ContainerCreating"}}),
    }
}

fn now() -> String {
    seconds(Timestamp::now())
}

/// Kubernetes times have no fractions.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
