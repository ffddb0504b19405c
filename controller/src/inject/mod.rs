//! Injection: what makes a pod a workload of the mesh.
//!
//! A pod comes in as JSON, with what is known of its namespace; out comes whether it gets a sidecar ([`decide`]) and the
//! pod with it ([`inject`]). Both are functions without I/O, which the webhook of the controller ([`webhook`]) and
//! `sluice inject` share. Labels and annotations are those of Istio, `sluice.dev/inject` beats them. A pod stays JSON all
//! the way: what a newer Kubernetes has in it, and this code doesn't know, stays as it is.
//!
//! The sidecar is native (an init container with `restartPolicy: Always`): it is ready before the app starts, ends after
//! it, and keeps no Job from completing. There is no other form.

mod annotations;
mod containers;
mod decision;
mod metadata;
mod overrides;
mod pod;
mod probes;
mod settings;
pub mod webhook;
mod workload;

pub use decision::{Decision, IGNORED_NAMESPACES, Place, Reason, decide};
pub use pod::{inject, is_injected};
pub use settings::InjectSettings;
pub use workload::Owner;

#[cfg(test)]
mod tests;

/// Name of the container that captures traffic.
pub const INIT: &str = "sluice-init";
/// Name of the sidecar's container.
pub const PROXY: &str = "sluice-proxy";
/// User and group of the sidecar: what they send is not captured.
pub const PROXY_USER: i64 = 1337;
/// Annotation that says what was injected.
pub const STATUS_ANNOTATION: &str = "sidecar.istio.io/status";

/// Why a pod can't get the sidecar that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// An annotation says what nobody understands.
    #[error("annotation {name}: {value:?} is not {wanted}")]
    Annotation {
        /// Which one.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        wanted: &'static str,
    },
    /// A probe names a port that its container does not have.
    #[error(
        "container {container}: the probe {probe} names the port {port:?}, which the container does not have"
    )]
    Port {
        /// Name of the container.
        container: String,
        /// Field of the container.
        probe: &'static str,
        /// As the probe names it.
        port: String,
    },
    /// It is no pod.
    #[error("{0} is missing")]
    Missing(&'static str),
}
