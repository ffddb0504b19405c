//! GatewayParameters: our own kind, named by `infrastructure.parametersRef` of a Gateway or `parametersRef` of a
//! GatewayClass. Every field is optional; the defaults are those of `ir::Settings`. The CRD in `yaml/` is generated
//! from this file (`UPDATE_CRDS=1 cargo test -p sluice-crds`).

use crate::deployment::{
    AddressSpec, AutoscalingSpec, DeploymentSpec, DisruptionSpec, PatchesSpec, ServiceSpec, ServiceType,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Pattern of a Gateway API duration (GEP-2257).
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Settings of the Gateways that name this object.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    singular = "gatewayparameters",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "Settings of the Gateways that name this object."
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayParametersSpec {
    /// Bounds on what clients and backends may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// Whether every connection must start with a PROXY protocol header (version 1 or 2). Default: Disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolMode>,
    /// How many proxies in front of this one append to X-Forwarded-For and are believed. Default 0: the header that
    /// a client sends is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub trusted_hops: Option<i64>,
    /// Tells backends of the certificate that a client showed, in the header `x-forwarded-client-cert`. Default: they
    /// are not told. What a client sends under that name is removed in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_header: Option<ClientCertificateHeaderSpec>,
    /// Form of the access log on standard output. Default: Disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogFormat>,
    /// How an endpoint is chosen. Default: LeastRequest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancing: Option<BalancingPolicy>,
    /// Consecutive failures (connect errors, resets, answers 502, 503, 504) after which an endpoint rests. 0 turns
    /// ejection off. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub eject_after_failures: Option<i64>,
    /// How long an endpoint rests the first time; doubles with each further ejection up to ten times. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub eject_for: Option<String>,
    /// Whether the controller makes and keeps what the Gateway runs on. False: a data plane runs already, and only its
    /// configuration is the controller's; say `serviceAccount` and `addresses`. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<bool>,
    /// ServiceAccount of the data plane, in the Gateway's namespace. Only with `managed: false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account: Option<String>,
    /// Addresses that reach the data plane. Only with `managed: false`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub addresses: Vec<AddressSpec>,
    /// The Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentSpec>,
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
    /// Scaling by load. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingSpec>,
    /// How many data planes may be away at once. Default: no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<DisruptionSpec>,
    /// Merged into the objects that the controller makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patches: Option<PatchesSpec>,
}

impl GatewayParametersSpec {
    /// These parameters above `defaults`, field by field: a Gateway's own above those of its class. Lists are taken
    /// whole; where two fields exclude each other, what is said here counts.
    #[must_use]
    pub fn over(&self, defaults: &Self) -> Self {
        let mut defaults = defaults.clone();
        if self.managed == Some(false) {
            defaults = Self {
                deployment: None,
                service: None,
                autoscaling: None,
                disruption: None,
                patches: None,
                ..defaults
            };
        }
        if self.managed == Some(true) {
            defaults = Self { service_account: None, addresses: Vec::new(), ..defaults };
        }
        if self.deployment.as_ref().is_some_and(|it| it.replicas.is_some()) {
            defaults.autoscaling = None;
        }
        if self.autoscaling.is_some()
            && let Some(deployment) = &mut defaults.deployment
        {
            deployment.replicas = None;
        }
        if self.disruption.is_some() {
            defaults.disruption = None;
        }
        // A Service of another type has no use for what its type alone has.
        let kind = |spec: &Self| spec.service.as_ref().and_then(|it| it.r#type);
        if kind(self).is_some_and(|it| it != kind(&defaults).unwrap_or(ServiceType::LoadBalancer)) {
            defaults.service = None;
        }
        let merged = match (serde_json::to_value(&defaults), serde_json::to_value(self)) {
            (Ok(mut merged), Ok(own)) => {
                put_over(&mut merged, own);
                serde_json::from_value(merged).ok()
            }
            _ => None,
        };
        merged.unwrap_or_else(|| self.clone())
    }
}

fn put_over(value: &mut Value, own: Value) {
    match (value, own) {
        (Value::Object(fields), Value::Object(own)) => {
            for (name, own) in own {
                put_over(fields.entry(name).or_insert(Value::Null), own);
            }
        }
        (value, own) => *value = own,
    }
}

/// The header `x-forwarded-client-cert`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateHeaderSpec {
    /// What it holds. Default: Hash, Subject, URI and DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 6))]
    pub fields: Option<Vec<ClientCertificateField>>,
}

/// A detail of a client's certificate.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientCertificateField {
    /// SHA-256 of the certificate (DER) in hexadecimal.
    Hash,
    /// The certificate as PEM, URL-encoded.
    Cert,
    /// The chain that the client showed, the certificate first, as PEM, URL-encoded.
    Chain,
    /// The subject as RFC 2253 writes it.
    Subject,
    /// Each alternative name that is a URI, as SPIFFE IDs are.
    #[serde(rename = "URI")]
    Uri,
    /// Each alternative name that is a DNS name.
    #[serde(rename = "DNS")]
    Dns,
}

/// Every bound by name. Durations are total times, not times between two bytes.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Total time to receive a request head. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub request_head_timeout: Option<String>,
    /// Total time for a TLS handshake, and for the PROXY header before it. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub tls_handshake_timeout: Option<String>,
    /// How long a connection may stay without a request. Default 75s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub idle_timeout: Option<String>,
    /// How long a request or response may stall between two bytes, WebSockets included. Default 300s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub stream_idle_timeout: Option<String>,
    /// Time to connect to an endpoint. Default 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub connect_timeout: Option<String>,
    /// Bytes of a request head; 431 above. Default 65536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_024, max = 1_048_576))]
    pub request_head_bytes: Option<i64>,
    /// Header fields of a request; 431 above. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub request_headers: Option<i64>,
    /// Bytes of a request body; 413 above. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub request_body_bytes: Option<i64>,
    /// Open connections of one listener port; further ones get 503 (plain) or are closed (TLS). Default 20000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<i64>,
    /// Open connections of one client address. Default 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_client: Option<i64>,
    /// Concurrent HTTP/2 streams of one connection. Default 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub streams_per_connection: Option<i64>,
    /// Streams that a client may reset in one second on one connection before it is closed. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub resets_per_second: Option<i64>,
    /// Requests of one backend that are waiting or in flight; 503 with Retry-After above. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub pending_requests: Option<i64>,
    /// How long a session of datagrams (UDPRoute) may be silent. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub datagram_idle_timeout: Option<String>,
    /// Sessions of datagrams of one listener port. Default 20000; datagrams of further clients are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub datagram_sessions: Option<i64>,
    /// Sessions of datagrams of one client address. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub datagram_sessions_per_client: Option<i64>,
}

/// Whether connections start with a PROXY protocol header. (`Disabled`, not `Off`: YAML 1.1 reads a bare Off as false.)
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyProtocolMode {
    /// No header is expected.
    Disabled,
    /// Every connection must start with one.
    Required,
}

/// Form of the access log.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessLogFormat {
    /// None.
    Disabled,
    /// One line for people.
    Text,
    /// One JSON object a line.
    #[serde(rename = "JSON")]
    Json,
    /// One JSON object a line with the fields of Istio's default format.
    #[serde(rename = "IstioJSON")]
    IstioJson,
}

/// How an endpoint is chosen.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BalancingPolicy {
    /// The one with fewer requests in flight of two taken at random.
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
}

/// The CustomResourceDefinition of GatewayParameters, generated from the types above.
pub const PARAMETERS_CRD_YAML: &str = include_str!("../yaml/gatewayparameters.sluice.dev.yaml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{GatewayParameters, GatewayParametersSpec, PARAMETERS_CRD_YAML};
    use kube::CustomResourceExt;
    use serde_json::json;

    #[test]
    fn a_gateways_parameters_stand_above_those_of_its_class() {
        let over = |own: serde_json::Value, class: serde_json::Value| {
            let read = |it| serde_json::from_value::<GatewayParametersSpec>(it).unwrap();
            serde_json::to_value(read(own).over(&read(class))).unwrap()
        };
        let class = json!({"trustedHops": 1, "limits": {"connections": 5, "requestHeaders": 7},
            "deployment": {"image": "a", "replicas": 2}, "service": {"type": "LoadBalancer", "loadBalancerClass": "x"}});
        let merged = over(
            json!({"limits": {"connections": 9}, "service": {"annotations": {"a": "b"}}}),
            class.clone(),
        );
        let mut wanted = class.clone();
        wanted["limits"]["connections"] = json!(9);
        wanted["service"]["annotations"] = json!({"a": "b"});
        assert_eq!(merged, wanted);
        let scaled = over(json!({"autoscaling": {"maxReplicas": 3}}), class.clone());
        assert_eq!(scaled["deployment"], json!({"image": "a"}));
        let fixed = over(json!({"deployment": {"replicas": 4}}), json!({"autoscaling": {"maxReplicas": 3}}));
        assert_eq!(fixed, json!({"deployment": {"replicas": 4}}));
        assert_eq!(
            over(json!({"service": {"type": "ClusterIP"}}), class.clone())["service"],
            json!({"type": "ClusterIP"})
        );
        let unmanaged = over(json!({"managed": false, "serviceAccount": "s"}), class);
        assert_eq!(
            unmanaged,
            json!({"trustedHops": 1, "limits": {"connections": 5, "requestHeaders": 7},
            "managed": false, "serviceAccount": "s"})
        );
        let budget =
            over(json!({"disruption": {"maxUnavailable": 1}}), json!({"disruption": {"minAvailable": 1}}));
        assert_eq!(budget, json!({"disruption": {"maxUnavailable": 1}}));
    }

    /// `UPDATE_CRDS=1 cargo test -p sluice-crds` writes the file anew.
    #[test]
    fn the_crd_in_yaml_is_that_of_the_types() {
        let crd = serde_json::to_value(GatewayParameters::crd()).unwrap();
        let text = format!(
            "# Generated from crds/src/parameters.rs by UPDATE_CRDS=1 cargo test -p sluice-crds\n{}",
            serde_saphyr::to_string(&crd).unwrap()
        );
        if std::env::var_os("UPDATE_CRDS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/yaml/gatewayparameters.sluice.dev.yaml");
            std::fs::write(path, text).unwrap();
            return;
        }
        assert!(text == PARAMETERS_CRD_YAML, "stale: run UPDATE_CRDS=1 cargo test -p sluice-crds");
        let read: serde_json::Value = serde_saphyr::from_str(PARAMETERS_CRD_YAML).unwrap();
        assert_eq!(read, crd);
    }
}
