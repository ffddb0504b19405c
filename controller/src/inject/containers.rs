//! The two containers and the volumes that a pod gets.

use super::annotations::Asked;
use super::settings::InjectSettings;
use super::workload::Owner;
use super::{INIT, PROXY, PROXY_USER};
use serde_json::{Value, json};

/// Program of the image.
const PROGRAM: &str = "/sluice-sidecar";
/// Where captured connections of the app go.
const OUTBOUND_PORT: u16 = 15_001;
/// Where captured connections to the app go.
const INBOUND_PORT: u16 = 15_006;
/// Metrics, and probes of apps.
pub(super) const AGENT_PORT: u16 = 15_020;
/// `/healthz/ready` of the sidecar.
const HEALTH_PORT: u16 = 15_021;
/// Lifetime of the token; the kubelet renews it in time. As in Istio.
const TOKEN_SECONDS: u32 = 43_200;
/// Room for the last good configuration.
const DATA_SIZE: &str = "128Mi";
/// ConfigMap that the controller puts in each namespace.
const ROOTS: &str = "istio-ca-root-cert";
/// Where the ServiceAccount admission would put a token of the API server.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the containers are made for.
pub(super) struct Making<'a> {
    pub(super) settings: &'a InjectSettings,
    pub(super) asked: &'a Asked,
    pub(super) owner: &'a Owner,
    /// What the sidecar asks apps, as JSON; empty when there is nothing.
    pub(super) probes: String,
    /// Where the app has metrics, as JSON; empty when it has none.
    pub(super) metrics: String,
}

impl Making<'_> {
    fn image(&self) -> &str {
        self.asked.image.as_deref().unwrap_or(&self.settings.image)
    }

    /// Captures the pod's traffic, once.
    pub(super) fn init(&self) -> Value {
        let mut arguments = vec![
            "capture".to_owned(),
            "apply".to_owned(),
            format!("--outbound-capture-port={OUTBOUND_PORT}"),
            format!("--inbound-capture-port={INBOUND_PORT}"),
            format!("--proxy-uid={PROXY_USER}"),
            format!("--proxy-gid={PROXY_USER}"),
            format!("--redirect-dns={}", self.asked.dns_capture),
        ];
        arguments.extend(self.asked.capture_flags.iter().cloned());
        json!({
            "name": INIT,
            "image": self.image(),
            "imagePullPolicy": self.settings.pull_policy,
            "args": arguments,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": {
                "runAsUser": 0,
                "runAsGroup": 0,
                "runAsNonRoot": false,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            // iptables keeps its lock there.
            "volumeMounts": [{"name": "sluice-run", "mountPath": "/run"}, no_api_token()],
        })
    }

    /// The sidecar.
    pub(super) fn proxy(&self) -> Value {
        let probe = |period_s: u32, failures: u32| {
            json!({
                "httpGet": {"path": "/healthz/ready", "port": HEALTH_PORT},
                "periodSeconds": period_s,
                "timeoutSeconds": 3,
                "failureThreshold": failures,
            })
        };
        json!({
            "name": PROXY,
            "image": self.image(),
            "imagePullPolicy": self.settings.pull_policy,
            "restartPolicy": "Always",
            "args": ["run"],
            "env": self.environment(),
            "ports": [{"name": "mesh-metrics", "containerPort": AGENT_PORT, "protocol": "TCP"}],
            // The app starts when the first succeeds: ten minutes for a controller that is being upgraded.
            "startupProbe": probe(1, 600),
            "readinessProbe": probe(5, 4),
            // Runs when the pod is told to end; SIGTERM comes after the app has ended.
            "lifecycle": {"preStop": {"exec": {"command": [PROGRAM, "drain"]}}},
            "resources": self.asked.resources,
            "securityContext": {
                "runAsUser": PROXY_USER,
                "runAsGroup": PROXY_USER,
                "runAsNonRoot": true,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [
                {"name": "sluice-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
                {"name": "sluice-roots", "mountPath": "/var/run/secrets/istio", "readOnly": true},
                {"name": "sluice-pod", "mountPath": "/etc/istio/pod", "readOnly": true},
                {"name": "sluice-data", "mountPath": "/var/lib/sluice"},
                no_api_token(),
            ],
        })
    }

    fn environment(&self) -> Value {
        let field =
            |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let text = |name: &str, value: &str| json!({"name": name, "value": value});
        let mut environment = vec![
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_IP", "status.podIP"),
            field("POD_IPS", "status.podIPs"),
            field("HOST_IP", "status.hostIP"),
            field("NODE_NAME", "spec.nodeName"),
            field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
            field("CANONICAL_SERVICE", "metadata.labels['service.istio.io/canonical-name']"),
            field("CANONICAL_REVISION", "metadata.labels['service.istio.io/canonical-revision']"),
            text("SLUICE_CONTROLLER", &self.settings.controller),
            text("SLUICE_CLUSTER_DOMAIN", &self.settings.cluster_domain),
            text("SLUICE_TRUST_DOMAIN", &self.settings.trust_domain),
            text("SLUICE_ROOT_NAMESPACE", &self.settings.root_namespace),
            text("SLUICE_WORKLOAD", &self.owner.name),
            text("SLUICE_WORKLOAD_KIND", &self.owner.kind),
            text("SLUICE_DNS_CAPTURE", if self.asked.dns_capture { "true" } else { "false" }),
            text("SLUICE_LOG", &self.asked.log),
        ];
        for (name, value) in [("SLUICE_APP_PROBES", &self.probes), ("SLUICE_APP_METRICS", &self.metrics)] {
            if !value.is_empty() {
                environment.push(text(name, &escaped(value)));
            }
        }
        Value::Array(environment)
    }
}

/// A kubelet replaces `$(NAME)` in values; `$$` is a `$`.
fn escaped(value: &str) -> String {
    value.replace("$(", "$$(")
}

/// Hides a token that the API server's admission would mount into every container: it mounts none where something is.
fn no_api_token() -> Value {
    json!({"name": "sluice-none", "mountPath": API_TOKEN, "readOnly": true})
}

/// The volumes of both.
pub(super) fn volumes() -> Vec<Value> {
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    vec![
        json!({"name": "sluice-token", "projected": {"sources": [{"serviceAccountToken": {
            "audience": "istio-ca", "expirationSeconds": TOKEN_SECONDS, "path": "istio-token",
        }}]}}),
        json!({"name": "sluice-roots", "configMap": {"name": ROOTS}}),
        json!({"name": "sluice-pod", "downwardAPI": {"items": [
            field("labels", "metadata.labels"), field("annotations", "metadata.annotations"),
        ]}}),
        // Keys and certificates: in memory, they never reach a disk.
        json!({"name": "sluice-data", "emptyDir": {"medium": "Memory", "sizeLimit": DATA_SIZE}}),
        json!({"name": "sluice-run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        json!({"name": "sluice-none", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
    ]
}
