//! The data planes of a Gateway: pods that `restricted` pod security admits, that hold no credential of the cluster but
//! a token which only the controller takes, and that are replaced one by one without a gap.

use super::{CA_KEY, Making, ca_name};
use crate::identity;
use serde_json::{Value, json};
use sluice_ir::ADMIN_PORT;
use sluice_translate::Workload;

/// Who the token is for: nobody else, the API server least of all, takes it.
const AUDIENCE: &str = "sluice-controller";
/// Lifetime of the token; the kubelet renews it in time.
const TOKEN_SECONDS: u32 = 3_600;
/// How long a data plane that ends still takes new connections, until every node knows that it ends.
const LAST_CALL_SECONDS: u32 = 5;
/// How long requests in flight may take after that.
const DRAIN_SECONDS: u32 = 30;
/// What a pod gets from the first sign to the end: the two above and something to spare.
const GRACE_SECONDS: u32 = LAST_CALL_SECONDS + DRAIN_SECONDS + 10;
/// Nobody in particular.
const USER: u32 = 65_532;
/// Room for the last good configuration.
const SNAPSHOT_SIZE: &str = "256Mi";
/// Data planes of a Gateway that says nothing of them: one may go while the other serves.
const REPLICAS: u32 = 2;

/// The Deployment. Ports of listeners are not in it: a new listener must not restart the data planes.
pub(super) fn deployment(making: &Making<'_>, workload: &Workload) -> Value {
    let mut labels = making.labels();
    labels.extend(making.selector());
    // A data plane beside a data plane would take its connections, and its port: also where the namespace wants sidecars.
    labels.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
    let mut annotations = making.plan.annotations.clone();
    annotations.insert("prometheus.io/scrape".to_owned(), "true".to_owned());
    annotations.insert("prometheus.io/port".to_owned(), ADMIN_PORT.to_string());
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": making.metadata(&making.name),
        "spec": {
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": making.selector()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": pod(making, workload),
            },
        },
    });
    if workload.autoscaling.is_none() {
        object["spec"]["replicas"] = json!(workload.replicas.unwrap_or(REPLICAS));
    }
    object
}

fn pod(making: &Making<'_>, workload: &Workload) -> Value {
    let spread = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": making.selector()},
        })
    };
    json!({
        "serviceAccountName": making.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")],
        "containers": [container(making, workload)],
        "volumes": [
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {
                "audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token",
            }}]}},
            {"name": "ca", "configMap": {"name": ca_name(&making.name)}},
            // It comes a moment after a new namespace does.
            {"name": "mesh", "configMap": {"name": identity::CONFIG_MAP, "optional": true}},
            // The snapshot holds private keys: in memory, they never reach a disk.
            {"name": "snapshot", "emptyDir": {"medium": "Memory", "sizeLimit": SNAPSHOT_SIZE}},
        ],
    })
}

fn container(making: &Making<'_>, workload: &Workload) -> Value {
    let gateway = &making.plan.reference;
    let probe = |path: &str, period_s: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "admin"},
            "periodSeconds": period_s,
            "timeoutSeconds": 3,
            "failureThreshold": failures,
        })
    };
    let from_field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    json!({
        "name": "gateway",
        "image": workload.image.as_ref().unwrap_or(&making.common.image),
        "args": [
            format!("--controller={}", making.common.controller),
            format!("--gateway={}/{}", gateway.namespace, gateway.name),
            "--token-file=/var/run/sluice/token/token",
            format!("--ca-file=/var/run/sluice/ca/{CA_KEY}"),
            "--mesh",
            format!("--mesh-roots-file=/var/run/sluice/mesh/{}", identity::ROOTS),
            "--snapshot-dir=/var/lib/sluice",
            "--cluster-ports",
            format!("--admin=[::]:{ADMIN_PORT}"),
            format!("--drain-delay={LAST_CALL_SECONDS}s"),
            format!("--drain-deadline={DRAIN_SECONDS}s"),
        ],
        "env": [
            {"name": "POD_NAME", "valueFrom": from_field("metadata.name")},
            {"name": "POD_NAMESPACE", "valueFrom": from_field("metadata.namespace")},
            {"name": "NODE_NAME", "valueFrom": from_field("spec.nodeName")},
        ],
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "startupProbe": probe("/healthz/live", 1, 60),
        "livenessProbe": probe("/healthz/live", 10, 3),
        "readinessProbe": probe("/healthz/ready", 2, 2),
        "resources": resources(workload),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "token", "mountPath": "/var/run/sluice/token", "readOnly": true},
            {"name": "ca", "mountPath": "/var/run/sluice/ca", "readOnly": true},
            {"name": "mesh", "mountPath": "/var/run/sluice/mesh", "readOnly": true},
            {"name": "snapshot", "mountPath": "/var/lib/sluice"},
        ],
    })
}

fn resources(workload: &Workload) -> Value {
    match &workload.resources {
        Some(resources) => json!(resources),
        None => json!({"requests": {"cpu": "100m", "memory": "64Mi"}}),
    }
}
