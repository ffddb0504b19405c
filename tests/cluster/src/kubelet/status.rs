//! A pod's status, as its containers are.

use super::container::State;
use super::roles::{self, Role};
use crate::network::HOST;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// The status to write; `states` are those of [`roles::of`].
pub(crate) fn status(pod: &Pod, address: Option<Ipv4Addr>, started: Timestamp, states: &[State]) -> Value {
    let all: Vec<(Role, &Container, &State)> = roles::of(pod)
        .into_iter()
        .zip(states)
        .map(|((role, container), state)| (role, container, state))
        .collect();
    let is_app = |it: &&(Role, &Container, &State)| it.0 == Role::App;
    let statuses = |app: bool| -> Vec<Value> {
        all.iter()
            .filter(|it| is_app(it) == app)
            .map(|(role, it, state)| of_container(*role, it, state))
            .collect()
    };
    let apps: Vec<&State> = all.iter().filter(is_app).map(|it| it.2).collect();
    let is_through = |it: &&(Role, &Container, &State)| match it.0 {
        Role::Init => it.2.over && it.2.exit == Some(0),
        Role::Sidecar => it.2.started || it.2.exit.is_some(),
        Role::App => true,
    };
    let is_initialized = all.iter().all(|it| is_through(&it));
    let counts = |it: &&(Role, &Container, &State)| it.0 != Role::Init;
    let ready = !apps.is_empty() && is_initialized && all.iter().filter(counts).all(|it| it.2.ready);
    let condition = |kind: &str, status: bool| {
        let status = if status { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now()})
    };
    json!({"status": {
        "phase": phase(&all, &apps),
        "startTime": seconds(started),
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "podIP": address,
        "podIPs": address.map(|address| json!([{"ip": address}])),
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", is_initialized),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "initContainerStatuses": statuses(false),
        "containerStatuses": statuses(true),
    }})
}

fn of_container(role: Role, container: &Container, state: &State) -> Value {
    let ready = if role == Role::Init { state.exit == Some(0) } else { state.ready };
    json!({
        "name": container.name, "image": container.image, "imageID": "", "restartCount": state.restarts,
        "ready": ready, "started": state.started, "state": container_state(state),
    })
}

fn phase(all: &[(Role, &Container, &State)], apps: &[&State]) -> &'static str {
    let has_failed =
        |it: &(Role, &Container, &State)| it.0 == Role::Init && it.2.over && it.2.exit != Some(0);
    if all.iter().any(has_failed) {
        return "Failed";
    }
    // A pod has ended when nothing of it runs, the sidecars among it.
    if !apps.is_empty() && all.iter().all(|it| it.2.over) {
        return if apps.iter().all(|state| state.exit == Some(0)) { "Succeeded" } else { "Failed" };
    }
    let begun = |state: &&State| state.running.is_some() || state.exit.is_some();
    if !apps.is_empty() && apps.iter().all(begun) { "Running" } else { "Pending" }
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
