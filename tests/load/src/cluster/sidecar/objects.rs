//! What is in the cluster for a sidecar's scenarios: two workloads, a Service, and who may call what.

use serde_json::{Value, json};

use super::{CLIENT, NODE, PORT, SERVER, SERVICE_PORT, TCP_PORT, TCP_SERVICE_PORT};

/// Policies of the server; two rules of the last one let the client in.
const POLICIES: usize = 10;
/// What the client asks for, and is let in.
pub(super) const ALLOWED: &str = "/orders";
/// What nobody may ask for.
pub(super) const FORBIDDEN: &str = "/admin";

/// The label by which a Service is another proxy's than kube-proxy's to serve.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// The node of the pods, the workloads' accounts, the server's Service, mutual TLS for all.
pub(super) fn manifests() -> String {
    format!(
        "
{{apiVersion: v1, kind: Node, metadata: {{name: {NODE}}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {CLIENT}}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {SERVER}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {SERVER}}}
spec:
  selector: {{app: {SERVER}}}
  ports:
    - {{name: http, port: {SERVICE_PORT}, targetPort: {PORT}}}
    - {{name: tcp, port: {TCP_SERVICE_PORT}, targetPort: {TCP_PORT}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: strict}}
spec: {{mtls: {{mode: STRICT}}}}
"
    )
}

/// The policies of the server: three rules each, of which two of the last policy allow the client what it asks for.
pub(super) fn policies(namespace: &str) -> Vec<Value> {
    (0..POLICIES)
        .map(|number| {
            let mut rules: Vec<Value> = (0..3).map(|rule| other(namespace, number, rule)).collect();
            if number + 1 == POLICIES {
                let client = json!([{"source": {"principals": [principal(namespace, CLIENT)]}}]);
                rules[1] = json!({
                    "from": client,
                    "to": [{"operation": {"ports": [TCP_PORT.to_string()]}}],
                });
                rules[2] = json!({
                    "from": client,
                    "to": [{"operation": {"methods": ["GET", "POST"], "paths": [format!("{ALLOWED}/*")]}}],
                });
            }
            policy(&format!("callers-{number}"), "ALLOW", json!(rules))
        })
        .collect()
}

/// A policy that closes the server to the client, or to nobody.
pub(super) fn gate(namespace: &str, is_closed: bool) -> Value {
    let refused = principal(namespace, if is_closed { CLIENT } else { "nobody" });
    policy("gate", "DENY", json!([{"from": [{"source": {"principals": [refused]}}]}]))
}

fn policy(name: &str, action: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": SERVER}}, "action": action, "rules": rules},
    })
}

/// A rule for another caller than the client.
fn other(namespace: &str, number: usize, rule: usize) -> Value {
    json!({
        "from": [{"source": {"principals": [principal(namespace, &format!("caller-{number}-{rule}"))]}}],
        "to": [{"operation": {"methods": ["GET", "POST"], "paths": [format!("/v{rule}/p{number}/*"), "/status"]}}],
        "when": [{"key": "request.headers[x-tenant]", "values": [format!("tenant-{number}")]}],
    })
}

fn principal(namespace: &str, account: &str) -> String {
    format!("cluster.local/ns/{namespace}/sa/{account}")
}

/// One of many Services, without a selector. No kube-proxy is to serve them: sidecars don't need one.
pub(super) fn service(number: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name(number), "labels": {PROXY_NAME: "none"}},
        "spec": {"ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT}]},
    })
}

/// Its one endpoint.
pub(super) fn slice(number: u32, address: std::net::Ipv4Addr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name(number),
            "labels": {"kubernetes.io/service-name": name(number), PROXY_NAME: "none"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    })
}

/// The name of one of many Services.
pub(super) fn name(number: u32) -> String {
    format!("s{number:05}")
}
