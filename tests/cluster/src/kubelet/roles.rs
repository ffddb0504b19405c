//! What the containers of a pod are to each other (KEP-753): init containers run one after the other to their end, those
//! with `restartPolicy: Always` run beside everything that comes after them, then the app's containers run.

use k8s_openapi::api::core::v1::{Container, Pod};

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before anything that comes after it starts.
    Init,
    /// Starts before what comes after it, and ends after the app.
    Sidecar,
    /// One of the app.
    App,
}

/// All containers of a pod: those of `initContainers` first.
pub(crate) fn of(pod: &Pod) -> Vec<(Role, &Container)> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let role = |container: &Container| match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    };
    let inits = spec.init_containers.iter().flatten().map(|it| (role(it), it));
    inits.chain(spec.containers.iter().map(|it| (Role::App, it))).collect()
}
