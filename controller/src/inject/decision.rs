//! Which pods get a sidecar.
//!
//! Istio's rules (`injectRequired` and the selectors of its four webhooks), with `sluice.dev/inject` before its labels:
//!
//! 1. never: pods on the node's network, of another system than Linux, and of the cluster's own namespaces;
//! 2. `sluice.dev/inject` of the pod, the label before the annotation;
//! 3. `sidecar.istio.io/inject: "false"` of the pod, the label before the annotation;
//! 4. the namespace's label `sluice.dev/inject`, else `istio-injection`, else `istio.io/rev`;
//! 5. when the namespace says nothing: the pod's label `istio.io/rev`, else `sidecar.istio.io/inject: "true"`.
//!
//! The selectors of `deploy/base/webhook.yaml` say the same to the API server; a test compares the two.

use super::{InjectSettings, is_injected};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Namespaces whose pods never get a sidecar, besides the controller's own.
pub const IGNORED_NAMESPACES: [&str; 4] =
    ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Our own label (pods, namespaces) and annotation (pods).
pub(super) const OWN: &str = "sluice.dev/inject";
const ISTIO_POD: &str = "sidecar.istio.io/inject";
const ISTIO_NAMESPACE: &str = "istio-injection";
pub(super) const REVISION: &str = "istio.io/rev";

/// Where a pod is to run.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the namespace; empty when nobody knows it yet, as in a manifest without one.
    pub namespace: &'a str,
    /// Its labels. `None`: somebody else has looked at them and has chosen it, be it the API server by the webhook's
    /// selectors, or who runs `sluice inject`.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// Whether a pod gets a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It does.
    Inject,
    /// It does not.
    Skip(Reason),
}

/// Why a pod gets no sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has one.
    Injected,
    /// It is on the node's network, where there is nothing to capture that is its own.
    HostNetwork,
    /// It is not for Linux.
    OperatingSystem,
    /// Its namespace is one of the cluster's own.
    SystemNamespace,
    /// It says so.
    Pod,
    /// Its namespace says so, or belongs to another mesh.
    Namespace,
    /// Neither it nor its namespace asks for one.
    NotAsked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Injected => "it has a sidecar",
            Self::HostNetwork => "it uses the node's network (hostNetwork)",
            Self::OperatingSystem => "it is not for Linux",
            Self::SystemNamespace => "its namespace never gets sidecars",
            Self::Pod => "its label or annotation says so",
            Self::Namespace => "its namespace says so",
            Self::NotAsked => "neither it nor its namespace asks for one",
        })
    }
}

/// Decides for a pod, or for the template of one.
pub fn decide(pod: &Value, place: Place<'_>, settings: &InjectSettings) -> Decision {
    match refusal(pod, place, settings) {
        None => Decision::Inject,
        Some(reason) => Decision::Skip(reason),
    }
}

fn refusal(pod: &Value, place: Place<'_>, settings: &InjectSettings) -> Option<Reason> {
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Some(Reason::HostNetwork);
    }
    if pod.pointer("/spec/os/name").and_then(Value::as_str).is_some_and(|it| it != "linux") {
        return Some(Reason::OperatingSystem);
    }
    if IGNORED_NAMESPACES.contains(&place.namespace) || place.namespace == settings.system_namespace {
        return Some(Reason::SystemNamespace);
    }
    if is_injected(pod) {
        return Some(Reason::Injected);
    }
    let own = word(pod, OWN);
    match own.or_else(|| word(pod, ISTIO_POD)) {
        Some(false) => return Some(Reason::Pod),
        Some(true) if own == Some(true) => return None,
        Some(true) | None => {}
    }
    match place.labels.map(|labels| of_namespace(labels, settings)) {
        None | Some(Some(true)) => None,
        Some(Some(false)) => Some(Reason::Namespace),
        Some(None) => match label(pod, REVISION) {
            Some(revision) => (revision != settings.revision).then_some(Reason::NotAsked),
            // An annotation is no label: the API server would not ask us.
            None => (label(pod, ISTIO_POD) != Some("true")).then_some(Reason::NotAsked),
        },
    }
}

/// What a namespace says.
fn of_namespace(labels: &BTreeMap<String, String>, settings: &InjectSettings) -> Option<bool> {
    let says = |name: &str| labels.get(name).map(String::as_str);
    match says(OWN) {
        Some("true" | "enabled") => return Some(true),
        Some(_) => return Some(false),
        None => {}
    }
    if let Some(word) = says(ISTIO_NAMESPACE) {
        return Some(word == "enabled");
    }
    says(REVISION).map(|revision| revision == settings.revision)
}

/// What a pod says of itself. A label hides the annotation, also when it says neither yes nor no.
fn word(pod: &Value, name: &str) -> Option<bool> {
    let annotation =
        || pod.pointer("/metadata/annotations").and_then(|it| it.get(name)).and_then(Value::as_str);
    match label(pod, name).or_else(annotation) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    }
}

fn label<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod.pointer("/metadata/labels")?.get(name)?.as_str()
}
